use super::*;
use crate::model::{ErrorKind, MemberStatus, ReadingError, StatusSource};

pub(in crate::probe) fn member(id: u64, leader: u64, term: u64) -> MemberReading {
    MemberReading {
        instance: format!("10.0.0.{id}:2379").parse().expect("instance"),
        member_id: Some(MemberId(id)),
        name: Some(format!("m{id}")),
        is_learner: Some(false),
        peer_urls: Vec::new(),
        client_urls: Vec::new(),
        hears: BTreeMap::new(),
        ts_ms: 0,
        duration_ms: 1,
        status: Some(MemberStatus {
            source: StatusSource::Rpc,
            version: "3.5.16".to_owned(),
            db_size_bytes: 1,
            db_size_in_use_bytes: 1,
            quota_bytes: None,
            leader: Some(leader).filter(|l| *l != 0).map(MemberId),
            raft_term: term,
            raft_index: 1,
            raft_applied_index: 1,
            revision: Some(1),
            errors: Vec::new(),
        }),
        linearizable_read: None,
        serializable_read: None,
        health: BTreeMap::new(),
        scrape: None,
        host: Vec::new(),
        node: None,
        errors: Vec::new(),
    }
}

fn down(id: u64) -> MemberReading {
    let message = "refused".to_owned();
    let error = ReadingError {
        kind: ErrorKind::Unreachable,
        during: "status".to_owned(),
        message,
        missing_right: None,
    };
    MemberReading { status: None, errors: vec![error], ..member(id, 0, 0) }
}

pub(in crate::probe) fn reading(ts_ms: i64, members: Vec<MemberReading>) -> Reading {
    let cluster = "c".parse().expect("name");
    Reading { cluster, ts_ms, duration_ms: 1, cluster_id: None, members, alarms: vec![], errors: vec![] }
}

fn kinds(previous: &Reading, next: &Reading) -> Vec<EventKind> {
    changes(previous, next).into_iter().map(|e| e.kind).collect()
}

fn three() -> Reading {
    reading(1, vec![member(1, 1, 5), member(2, 1, 5), member(3, 1, 5)])
}

#[test]
fn nothing_changes_between_equal_readings() {
    assert_eq!(kinds(&three(), &three()), []);
}

#[test]
fn a_leader_kill_is_a_leader_change_and_an_unreachable_member() {
    let next = reading(2, vec![down(1), member(2, 2, 6), member(3, 2, 6)]);
    let events = changes(&three(), &next);
    let found: Vec<_> = events.iter().map(|e| (e.kind, e.subject.as_str())).collect();
    let wanted =
        [(EventKind::LeaderChanged, "10.0.0.2:2379"), (EventKind::MemberUnreachable, "10.0.0.1:2379")];
    assert_eq!(found, wanted);
    let witness = changes(&three(), &reading(900, next.members));
    assert_eq!(events[0].id, witness[0].id, "one election, one event, whoever saw it when");
}

#[test]
fn a_stale_or_missing_leader_is_no_change() {
    let no_leader = reading(2, vec![down(1), member(2, 0, 6), member(3, 0, 6)]);
    assert_eq!(kinds(&three(), &no_leader), [EventKind::LeaderLost, EventKind::MemberUnreachable]);
    let stale = reading(2, vec![member(1, 2, 4), member(2, 1, 5), member(3, 1, 5)]);
    assert_eq!(kinds(&three(), &stale), []);
}

#[test]
fn an_outage_removes_nobody() {
    let dead = reading(2, vec![down(1), down(2), down(3)]);
    assert_eq!(kinds(&three(), &dead), [EventKind::MemberUnreachable; 3]);
    assert_eq!(kinds(&three(), &reading(2, vec![down(1)])), [EventKind::MemberUnreachable]);
    let unidentified = reading(2, vec![MemberReading { member_id: None, ..member(1, 1, 5) }]);
    assert_eq!(kinds(&three(), &unidentified), []);
}

#[test]
fn members_come_and_go_and_change_versions() {
    let mut next = reading(2, vec![member(1, 1, 5), member(2, 1, 5), member(4, 1, 5)]);
    if let Some(status) = &mut next.members[1].status {
        status.version = "3.5.30".to_owned();
    }
    let wanted = [EventKind::MemberAdded, EventKind::MemberRemoved, EventKind::VersionChanged];
    assert_eq!(kinds(&three(), &next), wanted);
}

#[test]
fn an_alarm_is_raised_once_though_its_member_is_named_later() {
    let with = |member_id: Option<u64>| {
        let alarms = vec![Alarm { kind: "NOSPACE".to_owned(), member_id: member_id.map(MemberId) }];
        Reading { alarms, ..three() }
    };
    assert_eq!(kinds(&three(), &with(None)), [EventKind::AlarmRaised]);
    assert_eq!(kinds(&with(None), &with(Some(2))), []);
    assert_eq!(kinds(&with(Some(2)), &three()), [EventKind::AlarmCleared]);
    let blind = reading(2, vec![down(1), down(2), down(3)]);
    assert!(!kinds(&with(Some(2)), &blind).contains(&EventKind::AlarmCleared));
}

#[test]
fn what_happens_while_nobody_knows_a_leader_is_seen_afterwards() {
    let before = reading(0, vec![member(1, 1, 2), member(2, 1, 2), member(3, 1, 2)]);
    let election = reading(2_000, vec![down(1), member(2, 0, 2), member(3, 0, 2)]);
    let upgraded = |id| {
        let mut member = member(id, 2, 3);
        if let Some(status) = &mut member.status {
            status.version = "3.5.30".to_owned();
        }
        member
    };
    let after = reading(4_000, vec![upgraded(1), upgraded(2), upgraded(3)]);
    let mut known = Known::new(&before);
    let between: Vec<EventKind> = known.observe(&election).into_iter().map(|e| e.kind).collect();
    assert_eq!(between, [EventKind::LeaderLost, EventKind::MemberUnreachable]);
    let kinds: Vec<EventKind> = known.observe(&after).into_iter().map(|e| e.kind).collect();
    assert!(kinds.contains(&EventKind::LeaderChanged), "{kinds:?}");
    let versions = kinds.iter().filter(|kind| **kind == EventKind::VersionChanged).count();
    assert_eq!(versions, 3, "the member that was down in between too: {kinds:?}");
}

#[test]
fn elections_between_polls_are_counted_by_their_terms() {
    let now = |leader, term| reading(2, vec![member(1, leader, term), member(2, leader, term)]);
    let count = |from: (u64, u64), to: (u64, u64)| {
        let events = changes(&now(from.0, from.1), &now(to.0, to.1));
        let unseen = events.iter().find(|event| event.kind == EventKind::ElectionsHeld);
        let changed = events.iter().filter(|event| event.kind == EventKind::LeaderChanged).count();
        (changed, unseen.map_or(0, |event| event.details["elections"].as_u64().expect("a number")))
    };
    for (from, to, expected) in [
        ((1, 5), (1, 5), (0, 0)),
        ((1, 5), (2, 6), (1, 0)),
        // Away and back again between two polls: the leader is the same, the term is not.
        ((1, 5), (1, 7), (0, 2)),
        ((1, 5), (2, 9), (1, 3)),
        // The old view of a member that was cut off.
        ((1, 5), (2, 4), (0, 0)),
    ] {
        assert_eq!(count(from, to), expected, "{from:?} to {to:?}");
    }
}

#[test]
fn a_lost_leader_is_told_once_and_its_successor_counts_from_it() {
    let mut known = Known::new(&three());
    let headless = |ts_ms| reading(ts_ms, vec![down(1), member(2, 0, 6), member(3, 0, 7)]);
    let of = |known: &mut Known, reading: &Reading| -> Vec<EventKind> {
        known.observe(reading).into_iter().map(|event| event.kind).collect()
    };
    assert_eq!(of(&mut known, &headless(2)), [EventKind::LeaderLost, EventKind::MemberUnreachable]);
    assert_eq!(of(&mut known, &headless(3)), []);
    // Nobody answers: that says nothing of a leader.
    assert_eq!(
        of(&mut known, &reading(4, vec![down(1), down(2), down(3)])),
        [EventKind::MemberUnreachable; 2]
    );
    assert_eq!(of(&mut known, &headless(5)), [EventKind::MemberReachable; 2]);
    let found = reading(6, vec![down(1), member(2, 2, 8), member(3, 2, 8)]);
    assert_eq!(of(&mut known, &found), [EventKind::LeaderChanged, EventKind::ElectionsHeld]);
}
