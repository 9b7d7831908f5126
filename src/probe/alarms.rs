//! Which alarms are active: told by Status.errors at each poll, named in full by the seldom sent Alarm RPC.

use std::collections::BTreeSet;

use crate::etcd::wire::AlarmMember;
use crate::model::{Alarm, MemberId, Reading};

/// The RPC is a raft proposal, so without a change it is sent no more often.
const CONFIRM_EVERY_MS: i64 = 5 * 60 * 1000;
/// After a failure it is tried again no sooner.
const RETRY_MS: i64 = 30 * 1000;

/// What the last RPC said, and which errors it explains.
#[derive(Debug, Default)]
pub(super) struct Watch {
    confirmed: Vec<Alarm>,
    errors: BTreeSet<String>,
    next_ms: i64,
    asked_once: bool,
}

impl Watch {
    /// Whether the RPC should be sent now.
    pub(super) fn due(&mut self, reading: &Reading, forced: bool) -> bool {
        if !reading.members.iter().any(|m| m.status.is_some()) {
            return false;
        }
        let errors = alarm_errors(reading);
        let changed = errors != self.errors;
        self.errors = errors;
        forced || changed || !self.asked_once || reading.ts_ms >= self.next_ms
    }

    pub(super) fn confirmed(&mut self, now_ms: i64, alarms: &[AlarmMember]) {
        self.asked_once = true;
        self.next_ms = now_ms + CONFIRM_EVERY_MS;
        self.confirmed = alarms.iter().filter(|a| a.alarm != 0).map(named).collect();
        self.confirmed.sort_by(|a, b| (&a.kind, a.member_id).cmp(&(&b.kind, b.member_id)));
        self.confirmed.dedup();
    }

    pub(super) fn failed(&mut self, now_ms: i64) {
        self.asked_once = true;
        self.next_ms = now_ms + RETRY_MS;
    }

    /// The active alarms: as confirmed, plus kinds that only Status tells so far (member unknown).
    pub(super) fn now(&self, reading: &Reading) -> Vec<Alarm> {
        let mut alarms = self.confirmed.clone();
        for kind in alarm_errors(reading) {
            if !alarms.iter().any(|alarm| alarm.kind == kind) {
                alarms.push(Alarm { kind, member_id: None });
            }
        }
        alarms
    }
}

fn named(alarm: &AlarmMember) -> Alarm {
    let kind = match alarm.alarm {
        1 => "NOSPACE".to_owned(),
        2 => "CORRUPT".to_owned(),
        other => other.to_string(),
    };
    Alarm { kind, member_id: Some(alarm.member_id).filter(|id| *id != 0).map(MemberId) }
}

/// Alarm kinds in Status.errors. Status words them as `memberID:1 alarm:NOSPACE`, `/health` as `ALARM NOSPACE`.
fn alarm_errors(reading: &Reading) -> BTreeSet<String> {
    let errors = reading.members.iter().filter_map(|m| m.status.as_ref()).flat_map(|s| &s.errors);
    let kinds = errors.filter_map(|text| {
        let (_, kind) = text.split_once("alarm:").or_else(|| text.split_once("ALARM "))?;
        let kind = kind.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        (!kind.is_empty()).then(|| kind.to_owned())
    });
    kinds.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{MemberReading, MemberStatus, StatusSource};

    fn reading(ts_ms: i64, errors: &[&str]) -> Reading {
        let status = MemberStatus {
            source: StatusSource::Rpc,
            version: "3.5.16".to_owned(),
            db_size_bytes: 1,
            db_size_in_use_bytes: 1,
            quota_bytes: None,
            leader: None,
            raft_term: 1,
            raft_index: 1,
            raft_applied_index: 1,
            revision: None,
            errors: errors.iter().map(|e| (*e).to_owned()).collect(),
        };
        let member = MemberReading {
            instance: "a:1".parse().expect("instance"),
            member_id: Some(MemberId(1)),
            name: None,
            is_learner: None,
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            hears: BTreeMap::new(),
            ts_ms,
            duration_ms: 0,
            status: Some(status),
            linearizable_read: None,
            serializable_read: None,
            health: BTreeMap::new(),
            scrape: None,
            host: Vec::new(),
            node: None,
            errors: Vec::new(),
        };
        let cluster = "c".parse().expect("name");
        let members = vec![member];
        Reading { cluster, ts_ms, duration_ms: 0, cluster_id: None, members, alarms: vec![], errors: vec![] }
    }

    #[test]
    fn kinds_are_read_from_every_wording() {
        let table = [
            ("memberID:10276657743932975437 alarm:NOSPACE ", &["NOSPACE"][..]),
            ("alarm:CORRUPT memberID:1", &["CORRUPT"]),
            ("ALARM NOSPACE", &["NOSPACE"]),
            ("etcdserver: no leader", &[]),
        ];
        for (text, kinds) in table {
            let found: Vec<String> = alarm_errors(&reading(0, &[text])).into_iter().collect();
            assert_eq!(found, kinds, "{text}");
        }
    }

    #[test]
    fn the_rpc_is_sent_on_change_and_every_five_minutes_only() {
        let mut watch = Watch::default();
        let full = "memberID:1 alarm:NOSPACE ";
        assert!(watch.due(&reading(0, &[]), false), "the first time");
        watch.confirmed(0, &[]);
        assert!(!watch.due(&reading(2_000, &[]), false));
        assert!(watch.due(&reading(2_000, &[]), true), "forced");
        assert!(watch.due(&reading(4_000, &[full]), false), "changed");
        assert_eq!(
            watch.now(&reading(4_000, &[full])),
            [Alarm { kind: "NOSPACE".to_owned(), member_id: None }]
        );
        watch.confirmed(4_000, &[AlarmMember { member_id: 1, alarm: 1 }]);
        assert!(!watch.due(&reading(6_000, &[full]), false));
        assert!(watch.due(&reading(4_000 + CONFIRM_EVERY_MS, &[full]), false));
        let mut blind = reading(999_999_999, &[]);
        blind.members.clear();
        assert!(!watch.due(&blind, false), "nobody to ask");
    }
}
