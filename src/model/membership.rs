//! What is other in a member's entry of the member list: told alike by all who see it.

use serde_json::{Map, Value, json};

use super::unit::rfc3339;
use super::{ClusterName, Event, EventKind, Severity};

/// A member as the list has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Hexadecimal, as etcdctl prints it.
    pub id: String,
    /// Empty until it started for the first time.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

impl Entry {
    /// The events that lead from `self` to `next`, an entry of the same member, seen at `ts_ms`. Their ids depend on the
    /// entries and on the day: whoever sees a change writes the same event, and one that is taken back and made again is
    /// two if a day lies between.
    pub fn changes(&self, next: &Self, cluster: &ClusterName, ts_ms: i64) -> Vec<Event> {
        let told = |entry: &Self| {
            [
                ("member name", entry.name.clone()),
                ("member peer-urls", entry.peer_urls.join(" ")),
                ("member client-urls", entry.client_urls.join(" ")),
            ]
        };
        let (before, after) = (told(self), told(next));
        let differ = before.iter().zip(&after).filter(|(before, after)| before.1 != after.1);
        // A member that starts for the first time announces itself: that is no change of a configuration.
        let is_first_start = self.name.is_empty() && self.client_urls.is_empty();
        let details: Map<String, Value> = differ
            .filter(|_| !is_first_start)
            .map(|(before, after)| (before.0.to_owned(), json!({ "before": before.1, "after": after.1 })))
            .collect();
        let subject = if next.name.is_empty() { &next.id } else { &next.name };
        let event = |kind, occurrence: &str, text: String, details: Map<String, Value>| Event {
            id: Event::id_of(cluster, kind, subject, occurrence),
            cluster: cluster.clone(),
            ts_ms,
            kind,
            severity: Severity::Info,
            subject: subject.clone(),
            actor: None,
            text,
            details: Value::Object(details),
        };
        let mut events = Vec::new();
        if !details.is_empty() {
            let day: String = rfc3339(ts_ms).chars().take(10).collect();
            let occurrence = format!("{} {before:?} {after:?} {day}", self.id);
            let what: Vec<&str> = details.keys().map(|key| key.trim_start_matches("member ")).collect();
            let text = format!("member {subject} changed: {}", what.join(", "));
            events.push(event(EventKind::ConfigChanged, &occurrence, text, details));
        }
        if self.is_learner && !next.is_learner {
            let details = Map::from_iter([("member_id".to_owned(), json!(next.id))]);
            let text = format!("member {subject} was a learner and votes now");
            events.push(event(EventKind::MemberPromoted, &next.id, text, details));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_differ_are_told_with_what_was_and_is() {
        let cluster = "a".parse().expect("name");
        let entry = Entry {
            id: "8e9e05c52164694d".to_owned(),
            name: "m1".to_owned(),
            peer_urls: vec!["http://m1:2380".to_owned()],
            client_urls: vec!["http://m1:2379".to_owned()],
            is_learner: true,
        };
        assert_eq!(entry.changes(&entry, &cluster, 0), []);
        let moved =
            Entry { peer_urls: vec!["http://m1:2390".to_owned()], is_learner: false, ..entry.clone() };
        let found = entry.changes(&moved, &cluster, 0);
        let told: Vec<(EventKind, &Value)> = found.iter().map(|event| (event.kind, &event.details)).collect();
        assert_eq!(
            told,
            [
                (
                    EventKind::ConfigChanged,
                    &json!({"member peer-urls": {"before": "http://m1:2380", "after": "http://m1:2390"}})
                ),
                (EventKind::MemberPromoted, &json!({"member_id": "8e9e05c52164694d"})),
            ]
        );
        let ids = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            ids(&found),
            ids(&entry.changes(&moved, &cluster, 5_000)),
            "one event, whoever sees it when"
        );
        let fresh = Entry { name: String::new(), client_urls: Vec::new(), ..entry.clone() };
        assert_eq!(fresh.changes(&entry, &cluster, 0), [], "it starts for the first time");
    }
}
