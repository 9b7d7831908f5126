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
