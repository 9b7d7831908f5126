//! The event that a transition leaves in the history.

use crate::model::{ClusterName, Event, EventKind, Incident, IncidentState};

/// AlertFiring for a new episode, AlertResolved for its end; `None` for transitions in between and for
/// incidents that belong to no cluster. Witnesses of one transition produce one event.
pub fn event_of(incident: &Incident) -> Option<Event> {
    let cluster: ClusterName = incident.cluster()?.parse().ok()?;
    let kind = match incident.state {
        IncidentState::Firing if incident.fired_ms == incident.changed_ms => EventKind::AlertFiring,
        IncidentState::Resolved => EventKind::AlertResolved,
        _ => return None,
    };
    let occurrence = format!("{}/{}", incident.fingerprint, incident.episode);
    let what = incident.annotations.get("summary").map_or(incident.alert.as_str(), String::as_str);
    let text = match (kind, &incident.reason) {
        (EventKind::AlertResolved, Some(reason)) => format!("Resolved: {what} ({reason})"),
        (EventKind::AlertResolved, None) => format!("Resolved: {what}"),
        _ => what.to_owned(),
    };
    Some(Event {
        id: Event::id_of(&cluster, kind, &incident.alert, &occurrence),
        cluster,
        ts_ms: incident.changed_ms,
        kind,
        severity: incident.severity,
        subject: incident.alert.clone(),
        actor: None,
        text,
        details: serde_json::json!({
            "fingerprint": incident.fingerprint,
            "episode": incident.episode,
            "instance": incident.labels.get("instance"),
            "value": incident.value,
        }),
    })
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
}
