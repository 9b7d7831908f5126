//! The backups of a cluster: the tile, the section, the JSON twin.

use serde::Serialize;
use serde_json::{Value, json};

use super::Badge;
use super::tiles::{Tile, tile};
use crate::model::unit::{human_bytes, human_seconds, human_span, rfc3339};
use crate::model::{BackupCopy, BackupStanding, BackupState};
use crate::report::facts::Facts;
use crate::report::text::clock;

/// So many are shown; the JSON twin has all.
const ROWS_MAX: usize = 12;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BackupSection {
    pub(crate) rows: Vec<Row>,
    /// How it grows, when the next is due, how many more there are.
    pub(crate) note: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) made: String,
    pub(crate) time: String,
    pub(crate) badge: Badge,
    /// What is wrong or missing.
    pub(crate) why: String,
    pub(crate) at: String,
    pub(crate) size: String,
    pub(crate) change: String,
    pub(crate) revision: String,
    pub(crate) restored: String,
}

pub(crate) fn section(facts: &Facts<'_>) -> Option<BackupSection> {
    let state = facts.input.backups.as_ref()?;
    let rows = state.copies.iter().take(ROWS_MAX).map(|copy| row(facts, copy)).collect();
    let mut parts: Vec<String> = growth(state).into_iter().collect();
    parts.push(match state.next_due_ms {
        Some(due_ms) if due_ms < facts.now_ms => format!("was due {}", clock(due_ms, facts.now_ms)),
        Some(due_ms) => format!("next at {}", clock(due_ms, facts.now_ms)),
        None if state.is_backed_up => "next with the job's next run".to_owned(),
        None => "none is scheduled".to_owned(),
    });
    if state.copies.len() > ROWS_MAX {
        parts.push(format!("the newest {ROWS_MAX} of {}", state.copies.len()));
    }
    Some(BackupSection { rows, note: parts.join(" · ") })
}

fn growth(state: &BackupState) -> Option<String> {
    let bytes = state.growth_bytes_per_day?;
    let sign = if bytes < 0.0 { "−" } else { "+" };
    Some(format!("{sign}{} a day", human_bytes(bytes.abs())))
}

fn row(facts: &Facts<'_>, copy: &BackupCopy) -> Row {
    Row {
        id: facts.clean(&copy.id),
        made: clock(copy.finished_ms, facts.now_ms),
        time: rfc3339(copy.finished_ms),
        badge: badge(copy),
        why: facts.clean(&copy.why.join("; ")),
        at: facts.clean(&if copy.is_external { format!("{} (others')", copy.at) } else { copy.at.clone() }),
        size: human_bytes(copy.bytes as f64),
        change: copy.change.map_or_else(String::new, |change| format!("{:+.1} %", change * 100.0)),
        revision: copy.revision.map_or_else(|| "–".to_owned(), |revision| revision.to_string()),
        restored: copy
            .recovery_ms
            .map_or_else(|| "–".to_owned(), |ms| format!("in {}", human_seconds(ms as f64 / 1e3))),
    }
}

fn badge(copy: &BackupCopy) -> Badge {
    let level = copy.level.as_ref().map_or_else(String::new, |level| format!(" {level}"));
    match copy.state {
        _ if copy.is_condemned => Badge::new("unknown", "Being deleted"),
        BackupStanding::New => Badge::new("unknown", "Not verified yet"),
        BackupStanding::Verified => Badge::new("ok", format!("Verified{level}")),
        // Of others' files nobody can say more than that they are whole.
        BackupStanding::Unverified if copy.is_external && copy.level.as_deref() == Some("L1") => {
            Badge::new("ok", "Whole")
        }
        BackupStanding::Unverified => Badge::new("warn", "Not verified"),
        BackupStanding::Bad => Badge::new("crit", "Bad"),
    }
}

/// The newest one: how old it is, and whether it is good.
pub(crate) fn backup_tile(facts: &Facts<'_>) -> Tile {
    let base = tile("backup", "Backup");
    let none = |note: &str| Tile {
        value: "none".to_owned(),
        badge: Badge::new("unknown", "None"),
        note: note.to_owned(),
        ..tile("backup", "Backup")
    };
    let Some(state) = facts.input.backups.as_ref() else { return none("no backups yet") };
    let Some(newest) = state.newest() else { return none("all are being deleted") };
    let age_ms = (facts.now_ms - newest.finished_ms).max(0);
    let (value, unit) = match human_span(age_ms).split_once(' ') {
        Some((value, unit)) => (value.to_owned(), unit.to_owned()),
        None => (human_span(age_ms), String::new()),
    };
    // As the rules EtcdBackupOld have it.
    let intervals = state.interval_ms.map(|interval_ms| age_ms as f64 / interval_ms.max(1) as f64);
    let is_bad = state.copies.iter().any(|copy| copy.state == BackupStanding::Bad && !copy.is_condemned);
    let badge = match (is_bad, intervals) {
        (true, _) => Badge::new("crit", "Bad"),
        (_, Some(intervals)) if intervals > 3.0 => Badge::new("crit", "Too old"),
        (_, Some(intervals)) if intervals > 1.5 => Badge::new("warn", "Old"),
        // A tile has no room for more.
        _ if newest.state == BackupStanding::New => Badge::new("unknown", "New"),
        _ if newest.state == BackupStanding::Unverified && !newest.is_external => {
            Badge::new("warn", "Unverified")
        }
        _ => badge(newest),
    };
    let mut notes = vec![format!("old · {}", human_bytes(newest.bytes as f64))];
    notes.extend(growth(state));
    Tile { value, unit, badge, note: notes.join(" · "), ..base }
}

/// `api/v1/clusters/<id>/backups.json`.
pub(crate) fn to_json(facts: &Facts<'_>) -> Value {
    let Some(state) = facts.input.backups.as_ref() else {
        return json!({ "backed_up": null, "backups": [] });
    };
    let copy = |copy: &BackupCopy| {
        json!({
            "id": facts.clean(&copy.id), "at": facts.clean(&copy.at), "external": copy.is_external,
            "finished": rfc3339(copy.finished_ms), "bytes": copy.bytes, "stored_bytes": copy.stored_bytes,
            "change_ratio": copy.change, "revision": copy.revision, "encrypted": copy.is_encrypted,
            "condemned": copy.is_condemned, "state": copy.state.as_str(), "level": copy.level,
            "why": copy.why.iter().map(|why| facts.clean(why)).collect::<Vec<_>>(),
            "verified_at": copy.looked_ms.map(rfc3339),
            "recovery_seconds": copy.recovery_ms.map(|ms| ms as f64 / 1e3),
        })
    };
    json!({
        "backed_up": state.is_backed_up, "seen_at": rfc3339(state.seen_ms),
        "next_due": state.next_due_ms.map(rfc3339),
        "interval_seconds": state.interval_ms.map(|ms| ms as f64 / 1e3),
        "growth_bytes_per_day": state.growth_bytes_per_day,
        "backups": state.copies.iter().map(copy).collect::<Vec<_>>(),
    })
}
