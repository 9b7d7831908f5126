//! What happened between two readings of one cluster.
//!
//! Only what both readings are sure of becomes an event: a member that did not answer has not been
//! removed, and an unknown leader is not a new one.

mod counters;
mod partition;
mod settings;

use std::collections::BTreeMap;

use serde_json::json;

use self::counters::Counted;
use self::settings::Configured;
use crate::model::membership::Entry;
use crate::model::{Alarm, Event, EventKind, Instance, MemberId, MemberReading, Reading, Severity};

/// What is known of a cluster from all readings so far. A reading in the middle of an election or a restart
/// knows less than the one before it; what happened across it is seen all the same.
#[derive(Debug, Clone)]
pub struct Known {
    last: Reading,
    leader: Option<(MemberId, u64)>,
    /// Members answered, and none of them knew a leader.
    leaderless: bool,
    /// Of the last reading in which every member had an id.
    members: Option<BTreeMap<MemberId, MemberReading>>,
    /// `None` until a member told of its alarms.
    alarms: Option<Vec<Alarm>>,
    versions: BTreeMap<Instance, String>,
    counted: Counted,
    configured: Configured,
    /// Who does not hear whom, as told last.
    partition: Option<String>,
}

impl Known {
    /// What the first reading tells.
    pub fn new(first: &Reading) -> Self {
        let mut known = Self {
            last: first.without_samples(),
            leader: None,
            leaderless: false,
            members: None,
            alarms: None,
            versions: BTreeMap::new(),
            counted: Counted::default(),
            configured: Configured::default(),
            partition: None,
        };
        known.counted.observe(first);
        known.configured.observe(first);
        known.learn(first);
        known
    }

    /// The events that lead to `next`, which is known from then on. Ids depend on raft terms, member ids and
    /// instants of `next`, so two witnesses of a leader change write one event.
    pub fn observe(&mut self, next: &Reading) -> Vec<Event> {
        let mut events = Vec::new();
        if self.last.cluster == next.cluster && !differs(self.last.cluster_id, next.cluster_id) {
            events.extend(leader(self, next));
            events.extend(elections(self, next));
            events.extend(leader_lost(self, next));
            membership(self, next, &mut events);
            reachability(&self.last, next, &mut events);
            alarms(self, next, &mut events);
            versions(self, next, &mut events);
            events.extend(partition::observe(&mut self.partition, next));
            events.extend(self.counted.observe(next));
            events.extend(self.configured.observe(next));
        }
        self.learn(next);
        events
    }

    fn learn(&mut self, next: &Reading) {
        if let Some((leader, term)) = next.leader()
            && self.leader.is_none_or(|(_, known)| term >= known)
        {
            self.leader = Some((leader, term));
        }
        if answers(next) {
            self.leaderless = next.leader().is_none();
        }
        if let Some(members) = by_id(next).filter(|members| !members.is_empty()) {
            self.members =
                Some(members.into_iter().map(|(id, member)| (id, member.without_samples())).collect());
        }
        if next.members.iter().any(|member| member.status.is_some()) {
            self.alarms = Some(next.alarms.clone());
        }
        for member in &next.members {
            if let Some(status) = member.status.as_ref().filter(|status| !status.version.is_empty()) {
                self.versions.insert(member.instance.clone(), status.version.clone());
            }
        }
        self.last = next.without_samples();
    }
}

/// The events that lead from `previous` to `next`, by these two alone.
pub fn changes(previous: &Reading, next: &Reading) -> Vec<Event> {
    Known::new(previous).observe(next)
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

fn leader(known: &Known, next: &Reading) -> Option<Event> {
    let (old, old_term) = known.leader?;
    let (new, term) = next.leader()?;
    // A lower term is an old view of a member that is cut off.
    if new == old || term <= old_term {
        return None;
    }
    let label = |id: MemberId| {
        let member = next.members.iter().chain(&known.last.members).find(|m| m.member_id == Some(id));
        member.map_or_else(|| id.to_string(), label)
    };
    let text =
        format!("{} became leader in term {term}; it was {} in term {old_term}", label(new), label(old));
    let here = next.members.iter().find(|m| m.member_id == Some(new));
    let subject = here.map_or_else(|| next.cluster.to_string(), |m| m.instance.to_string());
    let occurrence = format!("term {term}");
    // Witnesses may know the member by different addresses; the term alone makes it one event.
    let id = Event::id_of(&next.cluster, EventKind::LeaderChanged, next.cluster.as_str(), &occurrence);
    let happened = event(
        next,
        Happening {
            kind: EventKind::LeaderChanged,
            severity: Severity::Info,
            // The pages mark the new leader's line in the charts by it.
            subject: &subject,
            occurrence,
            text,
            details: json!({ "leader": new, "term": term, "previous_leader": old, "previous_term": old_term }),
        },
    );
    Some(Event { id, ..happened })
}

/// Elections that no reading saw the outcome of: every election has a term of its own, so the term tells how
/// many were held between two readings, also when the leader is the same again.
fn elections(known: &Known, next: &Reading) -> Option<Event> {
    let (old, old_term) = known.leader?;
    let (new, term) = next.leader()?;
    let seen = u64::from(new != old);
    let unseen = term.checked_sub(old_term)?.checked_sub(seen).filter(|unseen| *unseen > 0)?;
    let times = if unseen == 1 { "once".to_owned() } else { format!("{unseen} times") };
    Some(event(
        next,
        Happening {
            kind: EventKind::ElectionsHeld,
            severity: Severity::Warning,
            subject: next.cluster.as_str(),
            // Two witnesses that arrive at one term tell of the same elections.
            occurrence: format!("term {term}"),
            text: format!(
                "members stood for election {times} more than leaders were seen: the raft term went from \
                 {old_term} to {term}"
            ),
            details: json!({ "elections": unseen, "term": term, "previous_term": old_term, "leader": new }),
        },
    ))
}

/// Whether a member that answered says of itself what it knows of raft.
fn answers(reading: &Reading) -> bool {
    reading.members.iter().any(|member| member.status.is_some())
}

fn leader_lost(known: &Known, next: &Reading) -> Option<Event> {
    let (old, old_term) = known.leader?;
    if known.leaderless || !answers(next) || next.leader().is_some() {
        return None;
    }
    let member = next.members.iter().chain(&known.last.members).find(|m| m.member_id == Some(old));
    let was = member.map_or_else(|| old.to_string(), label);
    let answering = next.members.iter().filter(|member| member.status.is_some()).count();
    let text = format!(
        "no member knows a leader ({answering} of {} answer); it was {was} in term {old_term}",
        next.members.len()
    );
    Some(event(
        next,
        Happening {
            kind: EventKind::LeaderLost,
            severity: Severity::Warning,
            subject: next.cluster.as_str(),
            // Found and lost again within one term is the same loss.
            occurrence: format!("term {old_term}"),
            text,
            details: json!({ "previous_leader": old, "previous_term": old_term, "answering": answering }),
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

fn membership(known: &Known, next: &Reading, events: &mut Vec<Event>) {
    let (Some(before), Some(after)) = (&known.members, by_id(next)) else { return };
    let before: BTreeMap<MemberId, &MemberReading> =
        before.iter().map(|(id, member)| (*id, member)).collect();
    // The probe drops a member only on a list that a quorum confirmed; a reading without any answer proves
    // nothing all the same.
    if before.is_empty() || after.is_empty() || !next.members.iter().any(MemberReading::reachable) {
        return;
    }
    let sides = [
        (&after, &before, EventKind::MemberAdded, Severity::Info, "joined the cluster"),
        (&before, &after, EventKind::MemberRemoved, Severity::Warning, "was removed from the cluster"),
    ];
    for (id, member) in &after {
        let entries = before.get(id).and_then(|was| Some((entry(*id, was)?, entry(*id, member)?)));
        if let Some((was, is)) = entries {
            events.extend(was.changes(&is, &next.cluster, next.ts_ms));
        }
    }
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

/// `None` while no list has it.
fn entry(id: MemberId, member: &MemberReading) -> Option<Entry> {
    (!member.peer_urls.is_empty()).then(|| Entry {
        id: id.to_string(),
        name: member.name.clone().unwrap_or_default(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.is_learner == Some(true),
    })
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
fn alarms(known: &Known, next: &Reading, events: &mut Vec<Event>) {
    let Some(before) = &known.alarms else { return };
    if !next.members.iter().any(|m| m.status.is_some()) {
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
        (&next.alarms, before, EventKind::AlarmRaised, Severity::Critical, "raised"),
        (before, &next.alarms, EventKind::AlarmCleared, Severity::Info, "cleared"),
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

fn versions(known: &Known, next: &Reading, events: &mut Vec<Event>) {
    for after in &next.members {
        let (Some(old), Some(new)) = (known.versions.get(&after.instance), &after.status) else { continue };
        if new.version.is_empty() || *old == new.version {
            continue;
        }
        events.push(event(
            next,
            Happening {
                kind: EventKind::VersionChanged,
                severity: Severity::Info,
                subject: after.instance.as_str(),
                occurrence: format!("{old} to {} {}", new.version, next.ts_ms),
                text: format!("member {} runs etcd {} now; it ran {old}", label(after), new.version),
                details: json!({ "version": { "before": old, "after": new.version } }),
            },
        ));
    }
}

#[cfg(test)]
pub(super) mod tests;
