//! Which backups are kept: a pure function from what there is to a decision with its reasons.
//!
//! The rules are those that backup tools have in common: of the last *n* hours (days, weeks …) *that have a backup*, the
//! newest one of each. Slots are UTC; weeks are those of ISO 8601.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use super::{BackupId, VerdictState};
use crate::model::unit::ConfigDuration;

/// `[backup.retention]`. A backup goes when no rule keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Whether anything is deleted at all.
    pub enabled: bool,
    /// The newest ones, whatever their age.
    pub last: usize,
    /// All that are not older.
    pub within: ConfigDuration,
    /// The newest of each of so many hours that have one, and so on.
    pub hourly: usize,
    pub daily: usize,
    pub weekly: usize,
    pub monthly: usize,
    pub yearly: usize,
    /// Bad ones take no place of a good one; they are kept so long for the analysis.
    pub bad: ConfigDuration,
    /// Between the decision and the deletion; until then it can be taken back. Objects without a manifest are left over
    /// from a backup that failed when they are as old.
    pub grace: ConfigDuration,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            last: 4,
            within: ConfigDuration(DAY * 2),
            hourly: 0,
            daily: 14,
            weekly: 8,
            monthly: 12,
            yearly: 3,
            bad: ConfigDuration(DAY * 7),
            grace: ConfigDuration(DAY),
        }
    }
}

impl RetentionConfig {
    fn slots(&self) -> [(Slot, usize); 5] {
        [
            (Slot::Hour, self.hourly),
            (Slot::Day, self.daily),
            (Slot::Week, self.weekly),
            (Slot::Month, self.monthly),
            (Slot::Year, self.yearly),
        ]
    }
}

/// What the decision looks at: one backup of one cluster at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: BackupId,
    /// ms since the epoch.
    pub finished_ms: i64,
    /// `None` where nobody has looked at it yet.
    pub state: Option<VerdictState>,
    /// The backup that it continues.
    pub parent: Option<BackupId>,
    /// The store refuses to delete it until then, ms since the epoch.
    pub locked_until_ms: Option<i64>,
}

/// A stretch of time of which one backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Slot {
    fn of(self, ms: i64) -> (i32, u32) {
        let at: DateTime<Utc> = DateTime::from_timestamp_millis(ms).unwrap_or_default();
        match self {
            Self::Hour => {
                (at.num_days_from_ce(), u32::try_from(ms.rem_euclid(86_400_000) / 3_600_000).unwrap_or(0))
            }
            Self::Day => (at.num_days_from_ce(), 0),
            Self::Week => (at.iso_week().year(), at.iso_week().week()),
            Self::Month => (at.year(), at.month()),
            Self::Year => (at.year(), 0),
        }
    }
}

/// Why a backup stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The one to restore from: it never goes.
    NewestVerified,
    /// It never goes, either: what is newer than the newest verified one may be all that has the last hours.
    Newest,
    /// Of the newest this one is the n-th.
    Last(usize),
    Within,
    Slot(Slot),
    /// This one continues it.
    ParentOf(BackupId),
    /// ms since the epoch.
    LockedUntil(i64),
    /// It is bad, and somebody may want to know why.
    Bad,
    RetentionIsOff,
}

impl Reason {
    /// Whether it holds even against somebody who asks for the deletion.
    pub fn is_absolute(&self) -> bool {
        matches!(self, Self::NewestVerified | Self::ParentOf(_) | Self::LockedUntil(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewestVerified => f.write_str("newest verified"),
            Self::Newest => f.write_str("newest"),
            Self::Last(place) => write!(f, "last {place}"),
            Self::Within => f.write_str("within"),
            Self::Slot(Slot::Hour) => f.write_str("hourly"),
            Self::Slot(Slot::Day) => f.write_str("daily"),
            Self::Slot(Slot::Week) => f.write_str("weekly"),
            Self::Slot(Slot::Month) => f.write_str("monthly"),
            Self::Slot(Slot::Year) => f.write_str("yearly"),
            Self::ParentOf(child) => write!(f, "{child} continues it"),
            Self::LockedUntil(ms) => {
                let until: DateTime<Utc> = DateTime::from_timestamp_millis(*ms).unwrap_or_default();
                write!(f, "locked until {}", until.format("%Y-%m-%d %H:%M UTC"))
            }
            Self::Bad => f.write_str("bad, for the analysis"),
            Self::RetentionIsOff => f.write_str("retention is off"),
        }
    }
}

/// What becomes of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub id: BackupId,
    /// Empty: it goes.
    pub reasons: Vec<Reason>,
}

impl Decision {
    pub fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// Decides over the backups of one cluster at one destination, in any order; returns them oldest first.
///
/// Bad ones count for nothing. Within a slot a verified one goes before a newer one that is not.
pub fn decide(candidates: &[Candidate], policy: &RetentionConfig, now_ms: i64) -> Vec<Decision> {
    let mut newest_first: Vec<&Candidate> = candidates.iter().collect();
    newest_first.sort_by(|a, b| (b.finished_ms, &b.id).cmp(&(a.finished_ms, &a.id)));
    let good: Vec<&Candidate> = newest_first.iter().copied().filter(|it| !it.is(VerdictState::Bad)).collect();
    let newest_verified = good.iter().find(|it| it.is(VerdictState::Verified)).map(|it| &it.id);
    let slots: Vec<(Slot, BTreeSet<&BackupId>)> =
        policy.slots().into_iter().map(|(slot, count)| (slot, winners(&good, slot, count))).collect();
    let reasons_of = |candidate: &Candidate| {
        let mut reasons = Vec::new();
        if newest_verified == Some(&candidate.id) {
            reasons.push(Reason::NewestVerified);
        }
        match good.iter().position(|it| it.id == candidate.id) {
            Some(place) => {
                reasons.extend((place == 0).then_some(Reason::Newest));
                reasons.extend((place < policy.last).then_some(Reason::Last(place + 1)));
                reasons.extend(candidate.is_younger(policy.within, now_ms).then_some(Reason::Within));
            }
            None => reasons.extend(candidate.is_younger(policy.bad, now_ms).then_some(Reason::Bad)),
        }
        let of_slots = slots.iter().filter(|(_, winners)| winners.contains(&candidate.id));
        reasons.extend(of_slots.map(|(slot, _)| Reason::Slot(*slot)));
        let locked = candidate.locked_until_ms.filter(|until_ms| *until_ms > now_ms);
        reasons.extend(locked.map(Reason::LockedUntil));
        reasons.extend((!policy.enabled).then_some(Reason::RetentionIsOff));
        reasons
    };
    let mut decided: Vec<(&Candidate, Vec<Reason>)> =
        newest_first.iter().map(|it| (*it, reasons_of(it))).collect();
    keep_parents(&mut decided);
    let decisions = decided.into_iter().rev();
    decisions.map(|(candidate, reasons)| Decision { id: candidate.id.clone(), reasons }).collect()
}

impl Candidate {
    fn is(&self, state: VerdictState) -> bool {
        self.state == Some(state)
    }

    /// Also when it is from the future, as clocks differ.
    fn is_younger(&self, limit: ConfigDuration, now_ms: i64) -> bool {
        let limit_ms = i64::try_from(limit.0.as_millis()).unwrap_or(i64::MAX);
        now_ms.saturating_sub(self.finished_ms) <= limit_ms
    }
}

/// One of each of the newest `count` slots that have any.
fn winners<'a>(newest_first: &[&'a Candidate], slot: Slot, count: usize) -> BTreeSet<&'a BackupId> {
    let mut chosen: Vec<((i32, u32), &Candidate)> = Vec::new();
    for candidate in newest_first {
        let of = slot.of(candidate.finished_ms);
        let is_room = chosen.len() < count;
        match chosen.iter_mut().find(|(taken, _)| *taken == of) {
            Some((_, winner))
                if !winner.is(VerdictState::Verified) && candidate.is(VerdictState::Verified) =>
            {
                *winner = candidate;
            }
            Some(_) => {}
            None if is_room => chosen.push((of, candidate)),
            None => {}
        }
    }
    chosen.into_iter().map(|(_, winner)| &winner.id).collect()
}

/// What a kept one continues is kept, and what that continues. A parent is older than its child, so that one pass from
/// the newest on finds all.
fn keep_parents(newest_first: &mut [(&Candidate, Vec<Reason>)]) {
    let mut wanted: Vec<(BackupId, BackupId)> = Vec::new();
    for (candidate, reasons) in newest_first {
        let children = wanted.iter().filter(|(parent, _)| *parent == candidate.id);
        reasons.extend(children.map(|(_, child)| Reason::ParentOf(child.clone())));
        if let Some(parent) = candidate.parent.as_ref().filter(|_| !reasons.is_empty()) {
            wanted.push((parent.clone(), candidate.id.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
