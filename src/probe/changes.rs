//! What happened between two readings of one cluster.
//!
//! Only what both readings are sure of becomes an event: a member that did not answer has not been
//! removed, and an unknown leader is not a new one.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::{Alarm, Event, EventKind, Instance, MemberId, MemberReading, Reading, Severity};

/// The events that lead from `previous` to `next`. Ids depend on raft terms, member ids and instants of
/// `next`, so two witnesses of a leader change write one event.
pub fn changes(previous: &Reading, next: &Reading) -> Vec<Event> {
    if previous.cluster != next.cluster || differs(previous.cluster_id, next.cluster_id) {
        return Vec::new();
    }
    let mut events = Vec::new();
    events.extend(leader(previous, next));
    membership(previous, next, &mut events);
    reachability(previous, next, &mut events);
    alarms(previous, next, &mut events);
    versions(previous, next, &mut events);
    events
}

fn differs<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}

struct Happening<'a> {
    kind: EventKind,
    severity: Severity,
    subject: &'a str,
    /// Tells it from other happenings of its kind and subject.
    occurrence: String,
    text: String,
    details: serde_json::Value,
}

fn event(next: &Reading, happening: Happening<'_>) -> Event {
    let Happening { kind, severity, subject, occurrence, text, details } = happening;
    Event {
        id: Event::id_of(&next.cluster, kind, subject, &occurrence),
        cluster: next.cluster.clone(),
        ts_ms: next.ts_ms,
        kind,
        severity,
        subject: subject.to_owned(),
        actor: None,
        text,
        details,
    }
}

fn leader(previous: &Reading, next: &Reading) -> Option<Event> {
    let (old, old_term) = previous.leader()?;
    let (new, term) = next.leader()?;
    // A lower term is an old view of a member that is cut off.
    if new == old || term <= old_term {
        return None;
    }
    let label = |id: MemberId| {
        let member = next.members.iter().chain(&previous.members).find(|m| m.member_id == Some(id));
        member.map_or_else(|| id.to_string(), label)
    };
    let text =
        format!("{} became leader in term {term}; it was {} in term {old_term}", label(new), label(old));
    Some(event(
        next,
        Happening {
            kind: EventKind::LeaderChanged,
            severity: Severity::Info,
            subject: next.cluster.as_str(),
            occurrence: format!("term {term}"),
            text,
            details: json!({ "leader": new, "term": term, "previous_leader": old, "previous_term": old_term }),
        },
    ))
}

/// A member as people know it.
fn label(member: &MemberReading) -> String {
    match &member.name {
        Some(name) => format!("{name} ({})", member.instance),
        None => member.instance.to_string(),
    }
}

/// Members by id. `None` when one of the entries has no id: such a reading is no member list.
fn by_id(reading: &Reading) -> Option<BTreeMap<MemberId, &MemberReading>> {
    reading.members.iter().map(|m| Some((m.member_id?, m))).collect()
}

fn membership(previous: &Reading, next: &Reading, events: &mut Vec<Event>) {
    let (Some(before), Some(after)) = (by_id(previous), by_id(next)) else { return };
    // The probe drops a member only on a list that a quorum confirmed; a reading without any answer proves
    // nothing all the same.
    if before.is_empty() || after.is_empty() || !next.members.iter().any(MemberReading::reachable) {
        return;
    }
    let sides = [
        (&after, &before, EventKind::MemberAdded, Severity::Info, "joined the cluster"),
        (&before, &after, EventKind::MemberRemoved, Severity::Warning, "was removed from the cluster"),
    ];
    for (here, there, kind, severity, what) in sides {
        for (id, member) in here.iter().filter(|(id, _)| !there.contains_key(id)) {
            events.push(event(
                next,
                Happening {
                    kind,
                    severity,
                    subject: member.instance.as_str(),
                    // Ids are never used twice.
                    occurrence: id.to_string(),
                    text: format!("member {} {what}", label(member)),
                    details: json!({ "member_id": id, "name": member.name, "learner": member.is_learner }),
                },
            ));
        }
    }
}

fn pairs<'a>(
    previous: &'a Reading,
    next: &'a Reading,
) -> impl Iterator<Item = (&'a MemberReading, &'a MemberReading)> {
    let before: BTreeMap<&Instance, &MemberReading> =
        previous.members.iter().map(|m| (&m.instance, m)).collect();
    next.members.iter().filter_map(move |m| Some((*before.get(&m.instance)?, m)))
}

/// Whether the reading asked the member anything at all: a reading of few parts may not have.
fn asked(member: &MemberReading) -> bool {
    member.reachable() || !member.errors.is_empty()
}

fn reachability(previous: &Reading, next: &Reading, events: &mut Vec<Event>) {
    for (before, after) in pairs(previous, next).filter(|(a, b)| asked(a) && asked(b)) {
        let (kind, severity, what) = match (before.reachable(), after.reachable()) {
            (true, false) => (EventKind::MemberUnreachable, Severity::Warning, "does not answer"),
            (false, true) => (EventKind::MemberReachable, Severity::Info, "answers again"),
            _ => continue,
        };
        let why = after.errors.first().filter(|_| !after.reachable()).map(|e| format!(": {}", e.message));
        events.push(event(
            next,
            Happening {
                kind,
                severity,
                subject: after.instance.as_str(),
                occurrence: next.ts_ms.to_string(),
                text: format!("member {} {what}{}", label(after), why.unwrap_or_default()),
                details: json!({ "member_id": after.member_id, "errors": after.errors }),
            },
        ));
    }
}

/// Alarms of a kind that both readings tell of; who raised it may become known later.
fn alarms(previous: &Reading, next: &Reading, events: &mut Vec<Event>) {
    let knows = |reading: &Reading| reading.members.iter().any(|m| m.status.is_some());
    if !knows(previous) || !knows(next) {
        return;
    }
    let within = |alarm: &Alarm, alarms: &[Alarm]| {
        alarms.iter().any(|other| {
            other.kind == alarm.kind
                && (other.member_id == alarm.member_id
                    || other.member_id.is_none()
                    || alarm.member_id.is_none())
        })
    };
    let sides = [
        (&next.alarms, &previous.alarms, EventKind::AlarmRaised, Severity::Critical, "raised"),
        (&previous.alarms, &next.alarms, EventKind::AlarmCleared, Severity::Info, "cleared"),
    ];
    for (here, there, kind, severity, what) in sides {
        for alarm in here.iter().filter(|alarm| !within(alarm, there)) {
            let member =
                next.members.iter().find(|m| m.member_id.is_some() && m.member_id == alarm.member_id);
            let at = member.map(|m| format!(" at {}", label(m))).unwrap_or_default();
            events.push(event(
                next,
                Happening {
                    kind,
                    severity,
                    subject: member.map_or(next.cluster.as_str(), |m| m.instance.as_str()),
                    occurrence: format!("{} {}", alarm.kind, next.ts_ms),
                    text: format!("alarm {} {what}{at}", alarm.kind),
                    details: json!({ "alarm": alarm.kind, "member_id": alarm.member_id }),
                },
            ));
        }
    }
}

fn versions(previous: &Reading, next: &Reading, events: &mut Vec<Event>) {
    for (before, after) in pairs(previous, next) {
        let (Some(old), Some(new)) = (&before.status, &after.status) else { continue };
        if old.version.is_empty() || new.version.is_empty() || old.version == new.version {
            continue;
        }
        events.push(event(
            next,
            Happening {
                kind: EventKind::VersionChanged,
                severity: Severity::Info,
                subject: after.instance.as_str(),
                occurrence: format!("{} to {} {}", old.version, new.version, next.ts_ms),
                text: format!(
                    "member {} runs etcd {} now; it ran {}",
                    label(after),
                    new.version,
                    old.version
                ),
                details: json!({ "from": old.version, "to": new.version }),
            },
        ));
    }
}

#[cfg(test)]
mod tests;
