//! What is other than at the last inspection, as events with the values before and after.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Inspection;
use super::certificates::Certificate;
use super::lists::ListedMember;
use crate::model::membership::Entry;
use crate::model::unit::rfc3339;
use crate::model::{Event, EventKind, Severity};

/// The changes from `before` to `after`. Only what both saw is compared: a port that was not looked at has not
/// changed. Ids depend on what it is now and on the inspection that it is compared with, so a repeat writes the same
/// events, and what changes there and back again is two.
pub fn changes(before: &Inspection, after: &Inspection) -> Vec<Event> {
    let mut events = members(before, after);
    for certificate in &after.certificates.seen {
        let same =
            |old: &&Certificate| (&old.instance, old.used_as) == (&certificate.instance, certificate.used_as);
        let old = before.certificates.seen.iter().find(same);
        events.extend(old.and_then(|old| replaced(before.ts_ms, after, old, certificate)));
    }
    events
}

fn replaced(since_ms: i64, after: &Inspection, old: &Certificate, new: &Certificate) -> Option<Event> {
    let told = |certificate: &Certificate| {
        [
            ("serial", certificate.serial.clone()),
            ("subject", certificate.subject.clone()),
            ("issuer", certificate.issuer.clone()),
            ("names", certificate.names.join(" ")),
            ("expires", rfc3339(certificate.not_after_ms)),
        ]
    };
    let used_as = new.used_as.as_str();
    let details = difference(used_as, &told(old), &told(new));
    let subject = new.instance.as_ref().map_or(after.cluster.as_str(), |instance| instance.as_str());
    let text = format!(
        "the {used_as} certificate of {subject} is another one; it expires {}",
        rfc3339(new.not_after_ms)
    );
    let occurrence = format!("{since_ms} {used_as} {} {}", new.serial, new.not_after_ms);
    (!details.is_empty()).then(|| event(after, EventKind::ConfigChanged, subject, &occurrence, text, details))
}

/// The most common list is compared, by member id: who joined or left is told by the sentinel.
fn members(before: &Inspection, after: &Inspection) -> Vec<Event> {
    let by_id = |inspection: &Inspection| -> BTreeMap<String, ListedMember> {
        let list = inspection.lists.lists.first().map(|(_, list)| list.clone()).unwrap_or_default();
        list.into_iter().map(|member| (member.id.clone(), member)).collect()
    };
    let (old, new) = (by_id(before), by_id(after));
    let mut events = Vec::new();
    for (id, member) in &new {
        let Some(was) = old.get(id) else { continue };
        events.extend(entry(was).changes(&entry(member), &after.cluster, after.ts_ms));
    }
    events
}

fn entry(member: &ListedMember) -> Entry {
    Entry {
        id: member.id.clone(),
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}

/// `{"<of> <key>": {"before": …, "after": …}}` for what differs.
fn difference(of: &str, before: &[(&str, String)], after: &[(&str, String)]) -> Map<String, Value> {
    let pairs = before.iter().zip(after).filter(|(before, after)| before.1 != after.1);
    let told = |(before, after): (&(&str, String), &(&str, String))| {
        (format!("{of} {}", after.0), json!({ "before": before.1, "after": after.1 }))
    };
    pairs.map(told).collect()
}

fn event(
    inspection: &Inspection,
    kind: EventKind,
    subject: &str,
    occurrence: &str,
    text: String,
    details: Map<String, Value>,
) -> Event {
    Event {
        id: Event::id_of(&inspection.cluster, kind, subject, occurrence),
        cluster: inspection.cluster.clone(),
        ts_ms: inspection.ts_ms,
        kind,
        severity: Severity::Info,
        subject: subject.to_owned(),
        actor: None,
        text,
        details: Value::Object(details),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{CertificateCheck, ListCheck, Use};

    fn inspection(serial: &str, peer_url: &str, is_learner: bool) -> Inspection {
        let certificate = Certificate {
            instance: Some("m1:2379".parse().expect("an instance")),
            used_as: Use::Peer,
            subject: "CN=m1".to_owned(),
            issuer: "CN=ca".to_owned(),
            serial: serial.to_owned(),
            names: vec!["m1".to_owned()],
            not_after_ms: 1_900_000_000_000,
        };
        let member = ListedMember {
            id: "8e9e05c52164694d".to_owned(),
            name: "m1".to_owned(),
            peer_urls: vec![peer_url.to_owned()],
            client_urls: vec!["https://m1:2379".to_owned()],
            is_learner,
        };
        Inspection {
            cluster: "a".parse().expect("name"),
            ts_ms: 7,
            lists: ListCheck { lists: vec![(Vec::new(), vec![member])], left_out: Vec::new() },
            hash: None,
            certificates: CertificateCheck { seen: vec![certificate], left_out: Vec::new() },
        }
    }

    #[test]
    fn changes_hold_what_was_and_what_is() {
        let before = inspection("01", "https://m1:2380", true);
        assert_eq!(changes(&before, &Inspection { ts_ms: 9, ..before.clone() }), []);
        let found = changes(&before, &inspection("02", "https://m1:2390", false));
        let told: Vec<(EventKind, &Value)> = found.iter().map(|event| (event.kind, &event.details)).collect();
        assert_eq!(
            told,
            [
                (
                    EventKind::ConfigChanged,
                    &json!({"member peer-urls": {"before": "https://m1:2380", "after": "https://m1:2390"}})
                ),
                (EventKind::MemberPromoted, &json!({"member_id": "8e9e05c52164694d"})),
                (EventKind::ConfigChanged, &json!({"peer serial": {"before": "01", "after": "02"}})),
            ]
        );
        // A port that did not answer this time tells nothing.
        let blind = Inspection { certificates: CertificateCheck::default(), ..before.clone() };
        assert_eq!((changes(&before, &blind), changes(&blind, &before)), (Vec::new(), Vec::new()));
    }
}
