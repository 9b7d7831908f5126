//! Events from two consecutive readings of one cluster. Pure.
//!
//! A part that was not read, or failed, says nothing: only what both readings know can have changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::model::{Event, EventKind, MemberReading, Reading, Severity};

/// What happened between `previous` and `next`.
pub fn changes(previous: &Reading, next: &Reading) -> Vec<Event> {
    let mut events = Vec::new();
    events.extend(leader_change(previous, next));
    membership(previous, next, &mut events);
    for member in &next.members {
        if let Some(before) = previous.members.iter().find(|m| m.instance == member.instance) {
            member_changes(next, before, member, &mut events);
        }
    }
    alarm_changes(previous, next, &mut events);
    events
}

fn event(
    reading: &Reading,
    kind: EventKind,
    severity: Severity,
    subject: &str,
    occurrence: &str,
    text: String,
    details: Value,
) -> Event {
    Event {
        id: Event::id_of(&reading.cluster, kind, subject, occurrence),
        cluster: reading.cluster.clone(),
        ts_ms: reading.ts_ms,
        kind,
        severity,
        subject: subject.to_owned(),
        actor: None,
        text,
        details,
    }
}

/// A new leader, or elections at the same leader: the raft term tells of those nobody saw.
fn leader_change(previous: &Reading, next: &Reading) -> Option<Event> {
    let (old, new) = (previous.leader()?, next.leader()?);
    if new.1 <= old.1 {
        return None;
    }
    let name = |reading: &Reading, id| {
        let member = reading.members.iter().find(|m| m.member_id == Some(id));
        member.map_or_else(|| id.to_string(), display_name)
    };
    let (from, to) = (name(previous, old.0), name(next, new.0));
    let terms = new.1 - old.1;
    let text = match (old.0 == new.0, terms) {
        (true, _) => format!("{to} was elected again, term {} to {}", old.1, new.1),
        (false, 1) => format!("leader changed from {from} to {to}, term {}", new.1),
        (false, _) => format!("leader changed from {from} to {to}, term {} after {terms} terms", new.1),
    };
    let details = json!({ "from": from, "to": to, "term": new.1, "terms_passed": terms });
    // The term makes it one event for every witness.
    Some(event(next, EventKind::LeaderChanged, Severity::Info, &to, &new.1.to_string(), text, details))
}

fn display_name(member: &MemberReading) -> String {
    member.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| member.instance.to_string())
}

fn membership(previous: &Reading, next: &Reading, events: &mut Vec<Event>) {
    let ids = |reading: &Reading| -> BTreeMap<_, String> {
        reading.members.iter().filter_map(|m| Some((m.member_id?, display_name(m)))).collect()
    };
    let (old, new) = (ids(previous), ids(next));
    // Without the member list a reading knows only whom it reached; that says nothing about membership.
    if !(previous.member_list_known && next.member_list_known) {
        return;
    }
    for (id, name) in new.iter().filter(|(id, _)| !old.contains_key(id)) {
        let text = format!("member {name} ({id}) was added");
        let details = json!({ "member_id": id });
        events.push(event(
            next,
            EventKind::MemberAdded,
            Severity::Info,
            name,
            &id.to_string(),
            text,
            details,
        ));
    }
    for (id, name) in old.iter().filter(|(id, _)| !new.contains_key(id)) {
        let text = format!("member {name} ({id}) was removed");
        let details = json!({ "member_id": id });
        events.push(event(
            next,
            EventKind::MemberRemoved,
            Severity::Info,
            name,
            &id.to_string(),
            text,
            details,
        ));
    }
}

fn member_changes(next: &Reading, before: &MemberReading, now: &MemberReading, events: &mut Vec<Event>) {
    let (subject, name) = (now.instance.as_str(), display_name(now));
    // Two monitors see one outage at slightly different times; a minute makes it one event.
    let minute = (next.ts_ms / 60_000).to_string();
    if before.reachable() && !now.reachable() {
        let cause = now.errors.first().map(|error| error.message.clone()).unwrap_or_default();
        let text = format!("{name} does not answer: {cause}");
        let details = json!({ "errors": now.errors });
        events.push(event(
            next,
            EventKind::MemberUnreachable,
            Severity::Warning,
            subject,
            &minute,
            text,
            details,
        ));
    }
    if !before.reachable() && now.reachable() {
        let text = format!("{name} answers again");
        events.push(event(
            next,
            EventKind::MemberReachable,
            Severity::Info,
            subject,
            &minute,
            text,
            json!({}),
        ));
    }
    let version = |m: &MemberReading| m.status.as_ref().map(|s| s.version.clone()).filter(|v| !v.is_empty());
    if let (Some(old), Some(new)) = (version(before), version(now))
        && old != new
    {
        let text = format!("{name} runs etcd {new} now, before it was {old}");
        let details = json!({ "from": old, "to": new });
        events.push(event(next, EventKind::VersionChanged, Severity::Info, subject, &new, text, details));
    }
}

fn alarm_changes(previous: &Reading, next: &Reading, events: &mut Vec<Event>) {
    if !(previous.has_quorum() && next.has_quorum()) {
        return;
    }
    let (old, new): (BTreeSet<_>, BTreeSet<_>) =
        (previous.alarms.iter().map(key).collect(), next.alarms.iter().map(key).collect());
    let minute = (next.ts_ms / 60_000).to_string();
    for (kind, member) in new.difference(&old) {
        let text = format!("alarm {kind} was raised{}", of(member));
        let details = json!({ "alarm": kind, "member_id": member });
        let occurrence = format!("{kind} {minute}");
        events.push(event(
            next,
            EventKind::AlarmRaised,
            Severity::Critical,
            member,
            &occurrence,
            text,
            details,
        ));
    }
    for (kind, member) in old.difference(&new) {
        let text = format!("alarm {kind} was cleared{}", of(member));
        let details = json!({ "alarm": kind, "member_id": member });
        let occurrence = format!("{kind} {minute}");
        events.push(event(next, EventKind::AlarmCleared, Severity::Info, member, &occurrence, text, details));
    }
}

fn key(alarm: &crate::model::Alarm) -> (String, String) {
    (alarm.kind.clone(), alarm.member_id.map(|id| id.to_string()).unwrap_or_default())
}

fn of(member: &str) -> String {
    if member.is_empty() { String::new() } else { format!(" by member {member}") }
}
