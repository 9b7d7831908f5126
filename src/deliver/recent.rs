//! What happened lately, as far as this process saw it: messages say what came before an incident.

use std::collections::VecDeque;

use crate::correlate::{LOOK_BACK_MS, background};
use crate::model::{Event, Incident, IncidentState};

/// The annotation that says it, in one line.
pub(super) const BEFORE: &str = "before";

/// In a storm of events the oldest go: the newest are what is suspected.
const EVENTS_MAX: usize = 1_000;
/// A rule's `for` lies between the beginning of a condition and its incident.
const KEPT_MS: i64 = 4 * LOOK_BACK_MS;
/// A line names the most suspected only.
const NAMED_MAX: usize = 2;

/// Events of the last hour, in the order in which they were seen.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Event>);

impl Recent {
    pub(super) fn add(&mut self, events: &[Event]) {
        for event in events {
            // The store tells again what this process told itself.
            if !self.0.iter().any(|known| known.id == event.id) {
                self.0.push_back(event.clone());
            }
        }
        let newest_ms = self.0.iter().map(|event| event.ts_ms).max().unwrap_or_default();
        let is_old = |event: &Event| event.ts_ms < newest_ms - KEPT_MS;
        while self.0.len() > EVENTS_MAX || self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    /// `incident` with what came before it, if it just fired. It is stored with the incident, so that every message
    /// about it, whoever sends it, says the same.
    pub(super) fn told<'a>(
        &self,
        mut incident: Incident,
        others: impl IntoIterator<Item = &'a Incident>,
    ) -> Incident {
        if incident.state == IncidentState::Firing && incident.fired_ms == incident.changed_ms {
            // A rule's own annotation of this name stays.
            if let Some(line) = self.line(&incident, others) {
                incident.annotations.entry(BEFORE.to_owned()).or_insert(line);
            }
        }
        incident
    }

    fn line<'a>(
        &self,
        incident: &Incident,
        others: impl IntoIterator<Item = &'a Incident>,
    ) -> Option<String> {
        let found = background(incident, others, &self.0);
        let named = found.before.iter().take(NAMED_MAX).map(|candidate| candidate.sentence(incident));
        let named = named.collect::<Vec<_>>().join("; ");
        let more = found.before.len().saturating_sub(NAMED_MAX);
        match (named.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(named),
            (false, more) => Some(format!("{named}; and {more} more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, Labels, Severity};

    fn event(kind: EventKind, ts_ms: i64) -> Event {
        let cluster = "prod".parse().expect("a name");
        Event {
            id: Event::id_of(&cluster, kind, "m1", &ts_ms.to_string()),
            cluster,
            ts_ms,
            kind,
            severity: Severity::Info,
            subject: "m1".to_owned(),
            actor: None,
            text: kind.as_str().to_owned(),
            details: serde_json::Value::Null,
        }
    }

    fn fired(alert: &str, since_ms: i64) -> Incident {
        let labels = Labels::from_pairs([("alertname", alert), ("cluster", "prod")]);
        Incident {
            fingerprint: labels.fingerprint(),
            episode: 1,
            state: IncidentState::Firing,
            group: "g".to_owned(),
            alert: alert.to_owned(),
            severity: Severity::Warning,
            labels,
            annotations: Default::default(),
            value: 1.0,
            active_since_ms: since_ms,
            fired_ms: since_ms + 60_000,
            changed_ms: since_ms + 60_000,
            reason: None,
            silenced_by: None,
        }
    }

    #[test]
    fn a_fired_incident_says_what_came_before_and_only_then() {
        let mut recent = Recent::default();
        let at = 100_000_000;
        recent.add(&[
            event(EventKind::MemberReachable, at - 120_000),
            event(EventKind::Compaction, at - 240_000),
        ]);
        let slow = fired("EtcdRequestsSlow", at);
        let told = recent.told(slow.clone(), []);
        let wanted = "4 min before: compaction; 2 min before: member-reachable";
        assert_eq!(told.annotations.get(BEFORE).map(String::as_str), Some(wanted));

        let other = fired("EtcdWalFsyncSlow", at - 60_000);
        let told = recent.told(slow.clone(), [&other]);
        let wanted = "1 min before: EtcdWalFsyncSlow; 4 min before: compaction; and 1 more";
        assert_eq!(told.annotations.get(BEFORE).map(String::as_str), Some(wanted));

        let resolved = Incident { state: IncidentState::Resolved, ..slow };
        assert_eq!(recent.told(resolved.clone(), []), resolved);
    }

    #[test]
    fn old_events_and_too_many_are_forgotten() {
        let mut recent = Recent::default();
        recent.add(&[event(EventKind::Compaction, 0)]);
        recent.add(&[event(EventKind::Compaction, KEPT_MS + 1)]);
        assert_eq!(recent.0.len(), 1);
        let again = event(EventKind::Compaction, KEPT_MS + 1);
        recent.add(&[again.clone(), again]);
        assert_eq!(recent.0.len(), 1, "known already");
        let many: Vec<Event> = (0..1_100).map(|n| event(EventKind::Compaction, KEPT_MS + 2 + n)).collect();
        recent.add(&many);
        assert_eq!(recent.0.len(), EVENTS_MAX);
    }
}
