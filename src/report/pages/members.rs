//! The members table.

use serde::Serialize;

use super::Badge;
use crate::model::unit::{human_bytes, human_seconds, three_digits};
use crate::model::{ReadingRow, Role, Severity};
use crate::report::facts::{Facts, class_of, limit_of};

/// An applied index this far behind the committed one is shown as a warning; etcd itself refuses client
/// writes at 5,000 (`maxGapBetweenApplyAndCommitIndex` in etcd's server/etcdserver/v3_server.go).
const APPLY_LAG_WARN: u64 = 1_000;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) id: String,
    pub(crate) role: &'static str,
    pub(crate) badge: Badge,
    /// What went wrong, for people; empty when nothing did.
    pub(crate) errors: Vec<String>,
    pub(crate) version: String,
    /// Heading, text and look of each number; in the same order for every member.
    pub(crate) cells: Vec<Cell>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cell {
    pub(crate) head: &'static str,
    pub(crate) text: String,
    /// For sorting; absent when there is no value.
    pub(crate) value: Option<f64>,
    pub(crate) class: &'static str,
}

pub(crate) fn members(facts: &Facts<'_>, redact: bool) -> Vec<Member> {
    facts.rows.iter().map(|row| member(facts, row, redact)).collect()
}

fn member(facts: &Facts<'_>, row: &ReadingRow, redact: bool) -> Member {
    let name = facts.name(row);
    let mut errors: Vec<String> = row
        .errors
        .iter()
        .map(|e| {
            let right = e.missing_right.as_deref().map(|r| format!(" (missing right: {})", facts.clean(r)));
            format!("{}: {}{}", facts.clean(&e.during), facts.clean(&e.message), right.unwrap_or_default())
        })
        .collect();
    errors.dedup();
    let address = row.instance.to_string();
    Member {
        address: if redact || address == name { String::new() } else { address },
        id: row.member_id.map(|id| id.to_string()).unwrap_or_default(),
        role: role_of(facts, row).as_str(),
        badge: badge(facts, row),
        errors,
        version: row.version.as_deref().map_or_else(|| "–".to_owned(), |v| facts.clean(v)),
        cells: cells(facts, row),
        name,
    }
}

/// As the cluster sees it, which an unreachable member cannot say of itself.
pub(crate) fn role_of(facts: &Facts<'_>, row: &ReadingRow) -> Role {
    if facts.is_leader(row) {
        Role::Leader
    } else if row.role == Role::Leader {
        // It believes to lead, but a newer term says otherwise.
        Role::Follower
    } else {
        row.role
    }
}

pub(crate) fn badge(facts: &Facts<'_>, row: &ReadingRow) -> Badge {
    if !row.reachable {
        return Badge::new("crit", "No answer");
    }
    if let Some(alarm) = row.alarms.first() {
        return Badge::new("crit", facts.clean(alarm));
    }
    let worst = facts.of_member(row.instance.as_str()).map(|i| i.severity).max();
    if let Some(severity) = worst.filter(|severity| *severity >= Severity::Warning) {
        return Badge::new(class_of(severity), if slow_disk(facts, row) { "Slow disk" } else { "Alert" });
    }
    if slow_disk(facts, row) {
        return Badge::new("warn", "Slow disk");
    }
    if facts.is_stale() {
        return Badge::new("unknown", "Stale");
    }
    if !row.errors.is_empty() || row.leader.is_none() {
        return Badge::new("unknown", "Partial");
    }
    Badge::new("ok", "Healthy")
}

fn slow_disk(facts: &Facts<'_>, row: &ReadingRow) -> bool {
    let standing = |id: &str| {
        let series = facts.series(id, "instance", row.instance.as_str())?;
        facts.standing(series, limit_of(id))
    };
    standing("wal_fsync").is_some_and(|s| s.above_since_ms.is_some())
}

fn cells(facts: &Facts<'_>, row: &ReadingRow) -> Vec<Cell> {
    let instance = row.instance.as_str();
    let latest = |id: &str| facts.series(id, "instance", instance).and_then(|s| facts.latest(s));
    let limited = |head, id: &'static str, value: Option<f64>| {
        let over = limit_of(id).zip(value).is_some_and(|(limit, value)| value > limit.value);
        cell(head, value, human_seconds, if over { "warn" } else { "" })
    };
    let lag =
        row.raft_index.zip(row.raft_applied_index).map(|(index, applied)| index.saturating_sub(applied));
    let rtt = facts
        .panel("peer_rtt")
        .iter()
        .filter(|s| s.labels.get("instance") == Some(instance))
        .filter_map(|s| facts.latest(s))
        .reduce(f64::max);
    let lag_class = if lag.is_some_and(|lag| lag >= APPLY_LAG_WARN) { "warn" } else { "" };
    vec![
        cell("DB size", row.db_size_bytes.map(|b| b as f64), human_bytes, ""),
        cell("In use", row.db_size_in_use_bytes.map(|b| b as f64), human_bytes, ""),
        cell("Apply lag", lag.map(|lag| lag as f64), |lag| format!("{lag}"), lag_class),
        limited("WAL fsync p99", "wal_fsync", latest("wal_fsync")),
        limited("Commit p99", "backend_commit", latest("backend_commit")),
        limited("Peer RTT p99", "peer_rtt", rtt),
        cell("CPU", latest("cpu"), |cores| format!("{} %", three_digits(cores * 100.0)), ""),
        cell("RSS", latest("memory"), human_bytes, ""),
    ]
}

fn cell(head: &'static str, value: Option<f64>, show: impl Fn(f64) -> String, class: &'static str) -> Cell {
    Cell { head, text: value.map_or_else(|| "–".to_owned(), show), value, class }
}
