//! The events that transitions and silences leave in the history.

use super::{Silence, maintenance_matchers};
use crate::model::unit::rfc3339;
use crate::model::{ClusterName, Event, EventKind, Incident, IncidentState, MatchOp, Severity};

/// Its beginning, its end, and what people did with it; `None` for transitions in between and for incidents that
/// belong to no cluster. Witnesses of one transition produce one event.
pub fn event_of(incident: &Incident) -> Option<Event> {
    let cluster: ClusterName = incident.cluster()?.parse().ok()?;
    let given_back = incident.reason.as_deref().and_then(|reason| reason.strip_prefix(GIVEN_BACK));
    let kind = match incident.state {
        IncidentState::Firing if incident.fired_ms == incident.changed_ms => EventKind::AlertFiring,
        IncidentState::Firing if given_back.is_some() => EventKind::AlertGivenBack,
        IncidentState::Acked => EventKind::AlertAcknowledged,
        IncidentState::Resolved => EventKind::AlertResolved,
        _ => return None,
    };
    let mut occurrence = format!("{}/{}", incident.fingerprint, incident.episode);
    if matches!(kind, EventKind::AlertAcknowledged | EventKind::AlertGivenBack) {
        // That can happen several times within an episode.
        occurrence = format!("{occurrence}/{}", incident.changed_ms);
    }
    let what = incident.summary();
    let text = match (kind, &incident.reason) {
        (EventKind::AlertResolved, None) => format!("Resolved: {what}"),
        (EventKind::AlertResolved, Some(reason)) => format!("Resolved: {what} ({reason})"),
        (EventKind::AlertAcknowledged | EventKind::AlertGivenBack, Some(reason)) => {
            format!("{what}: {reason}")
        }
        _ => what.to_owned(),
    };
    let who = incident.reason.as_deref().and_then(|reason| reason.strip_prefix(ACKNOWLEDGED)).or(given_back);
    let (actor, note) = match who {
        Some(who) => who.split_once(": ").map_or((Some(who), None), |(who, note)| (Some(who), Some(note))),
        None => (None, None),
    };
    Some(Event {
        id: Event::id_of(&cluster, kind, &incident.alert, &occurrence),
        cluster,
        ts_ms: incident.changed_ms,
        kind,
        severity: incident.severity,
        subject: incident.alert.clone(),
        actor: actor.map(str::to_owned),
        text,
        details: serde_json::json!({
            "fingerprint": incident.fingerprint,
            "episode": incident.episode,
            "instance": incident.labels.get("instance"),
            "value": incident.value,
            "note": note,
        }),
    })
}

/// How the reasons of what people do begin; the name follows, then perhaps a colon and a note.
pub(super) const ACKNOWLEDGED: &str = "acknowledged by ";
pub(super) const GIVEN_BACK: &str = "given back by ";

/// That a silence of these clusters began or ended after `from_ms` and not after `to_ms`. The ids come from the
/// silence, so whoever looks, and however often, finds the same events.
pub fn events_of_silence(
    silence: &Silence,
    clusters: &[ClusterName],
    from_ms: i64,
    to_ms: i64,
) -> Vec<Event> {
    let mut named = clusters.to_vec();
    let matchers = silence.of_label("cluster");
    // It may speak of a cluster that is not configured here.
    let exact = matchers.iter().filter(|matcher| matcher.op == MatchOp::Equal);
    named.extend(exact.filter_map(|matcher| matcher.value.parse().ok()));
    named.sort();
    named.dedup();
    named.retain(|cluster| matchers.iter().all(|matcher| matcher.matches_value(cluster.as_str())));
    let mut events = Vec::new();
    for cluster in named {
        let maintenance = silence.matchers == maintenance_matchers(&cluster);
        let (started, ended) = match maintenance {
            true => (EventKind::MaintenanceStarted, EventKind::MaintenanceEnded),
            false => (EventKind::SilenceStarted, EventKind::SilenceEnded),
        };
        let note = if silence.comment.is_empty() { String::new() } else { format!(" ({})", silence.comment) };
        let what = if maintenance {
            "Maintenance".to_owned()
        } else {
            format!("Silence of {}", silence.matchers.join(" "))
        };
        let until = format!("{what} until {}{note}", rfc3339(silence.ends_ms));
        for (kind, at_ms, text) in
            [(started, silence.starts_ms, until), (ended, silence.ends_ms, format!("{what} is over{note}"))]
        {
            if silence.starts_ms >= silence.ends_ms || !(from_ms < at_ms && at_ms <= to_ms) {
                continue;
            }
            events.push(Event {
                id: Event::id_of(&cluster, kind, &silence.id, &at_ms.to_string()),
                cluster: cluster.clone(),
                ts_ms: at_ms,
                kind,
                severity: Severity::Info,
                subject: silence.id.clone(),
                actor: Some(silence.author.clone()).filter(|author| !author.is_empty()),
                text,
                details: serde_json::json!({ "matchers": silence.matchers, "note": silence.comment }),
            });
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::super::incident::{Observation, step, tests::finding};
    use super::*;

    #[test]
    fn only_the_ends_of_an_episode_are_events() {
        let finding = finding("EtcdMemberDown", "prod-eu-1", "m1", "critical");
        let fired = step(None, &Observation::Found(&finding), 1).expect("fires");
        let unknown = step(Some(&fired), &Observation::Incomplete("no data".into()), 2).expect("unknown");
        let back = step(Some(&unknown), &Observation::Found(&finding), 3).expect("back");
        let gone = step(Some(&back), &Observation::Removed("member removed".into()), 4).expect("gone");
        let kinds: Vec<_> = [&fired, &unknown, &back, &gone].map(|i| event_of(i).map(|e| e.kind)).into();
        assert_eq!(kinds, [Some(EventKind::AlertFiring), None, None, Some(EventKind::AlertResolved)]);
        let text = event_of(&gone).expect("an event").text;
        assert_eq!(text, "Resolved: EtcdMemberDown on m1 (member removed)");
    }

    #[test]
    fn what_people_do_is_an_event_with_who_and_why() {
        let finding = finding("EtcdMemberDown", "prod-eu-1", "m1", "critical");
        let fired = step(None, &Observation::Found(&finding), 1).expect("fires");
        let acked =
            step(Some(&fired), &Observation::Acknowledged("ann: on it: now".into()), 2).expect("acked");
        let back = step(Some(&acked), &Observation::GivenBack("ann".into()), 3).expect("given back");
        let again = step(Some(&back), &Observation::Acknowledged("ann".into()), 4).expect("acked again");
        let events = [&acked, &back, &again].map(|incident| event_of(incident).expect("an event"));
        let kinds = events.each_ref().map(|event| event.kind);
        let acknowledged = EventKind::AlertAcknowledged;
        assert_eq!(kinds, [acknowledged, EventKind::AlertGivenBack, acknowledged]);
        assert!(events.iter().all(|event| event.actor.as_deref() == Some("ann")), "{events:?}");
        assert_eq!(events[0].details["note"], "on it: now");
        assert_eq!(events[0].text, "EtcdMemberDown on m1: acknowledged by ann: on it: now");
        assert_ne!(events[0].id, events[2].id);
        assert_eq!(event_of(&acked), Some(events[0].clone()), "two witnesses, one event");
    }

    #[test]
    fn a_silence_is_events_of_the_clusters_it_speaks_of() {
        let clusters = ["a", "b"].map(|name| name.parse::<ClusterName>().expect("a name"));
        for (matchers, from_ms, to_ms, expected) in [
            (&["cluster=a"][..], 0, 10, &["a silence-started"][..]),
            (&["cluster=\"a\""], 0, 10, &["a maintenance-started"]),
            (&["cluster=\"a\""], 10, 20, &["a maintenance-ended"]),
            (
                &["alertname=Down"],
                0,
                30,
                &["a silence-started", "a silence-ended", "b silence-started", "b silence-ended"],
            ),
            (&["cluster!=a", "alertname=Down"], 5, 15, &["b silence-started"]),
            (&["cluster=z"], 5, 15, &["z silence-started"]),
            (&["cluster=a"], 10, 19, &[]),
            (&["cluster=a"], 20, 30, &[]),
        ] {
            let silence = Silence {
                id: "s1".to_owned(),
                matchers: matchers.iter().map(|text| (*text).to_owned()).collect(),
                starts_ms: 10,
                ends_ms: 20,
                author: "ann".to_owned(),
                comment: "disk swap".to_owned(),
            };
            let events = events_of_silence(&silence, &clusters, from_ms, to_ms);
            let said: Vec<String> =
                events.iter().map(|e| format!("{} {}", e.cluster, e.kind.as_str())).collect();
            assert_eq!(said, expected, "{matchers:?} {from_ms}..{to_ms}");
            assert!(
                events.iter().all(|e| e.actor.as_deref() == Some("ann") && e.text.ends_with("(disk swap)"))
            );
        }
    }
}
