//! The six tiles of a cluster, always in the same order.

use super::backups::backup_tile;
use serde::Serialize;

use super::Badge;
use crate::model::EventKind;
use crate::model::unit::{human_bytes, human_seconds, human_span, three_digits};
use crate::report::chart::{Spark, spark};
use crate::report::facts::{Facts, Standing};
use crate::report::text::count;

const DAY_MS: i64 = 86_400_000;

/// A database above these shares of its quota is worth a warning, and an alarm.
const QUOTA_WARN: f64 = 0.8;
const QUOTA_CRIT: f64 = 0.95;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tile {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) value: String,
    pub(crate) unit: String,
    pub(crate) badge: Badge,
    pub(crate) spark: Option<Spark>,
    pub(crate) note: String,
    /// Share of a limit in per cent, for tiles that are part of a whole.
    pub(crate) gauge: Option<u32>,
}

pub(crate) fn tiles(facts: &Facts<'_>) -> Vec<Tile> {
    let mut tiles =
        vec![quorum(facts), leader(facts), put(facts), fsync(facts), database(facts), backup_tile(facts)];
    if facts.is_stale() {
        // Old values may be shown, but not vouched for.
        for tile in tiles.iter_mut().filter(|tile| tile.badge.class == "ok") {
            tile.badge = Badge::new("unknown", "Stale");
        }
    }
    tiles
}

pub(super) fn tile(id: &'static str, title: &'static str) -> Tile {
    Tile {
        id,
        title,
        value: "–".to_owned(),
        unit: String::new(),
        badge: Badge::new("unknown", "No data"),
        spark: None,
        note: String::new(),
        gauge: None,
    }
}

fn quorum(facts: &Facts<'_>) -> Tile {
    let base = tile("quorum", "Quorum");
    if facts.rows.is_empty() {
        return Tile { note: "not read yet".to_owned(), ..base };
    }
    let (up, all) = (facts.voters_up, facts.voters);
    // A member that answers and follows no leader is no help to the quorum.
    let following = if facts.leader.is_some() { facts.structure.following } else { up };
    let can_lose = following.saturating_sub(all / 2 + 1);
    let learners = facts.rows.len() - all;
    let badge = match facts.has_quorum() {
        false => Badge::new("crit", "Lost"),
        true if following < all => Badge::new("warn", "Reduced"),
        true => Badge::new("ok", "Healthy"),
    };
    let mut note = if facts.has_quorum() {
        format!("can lose {}", count(can_lose, "member"))
    } else {
        format!("{} needed", all / 2 + 1)
    };
    if following < up {
        note.push_str(&format!(
            " · {} no leader",
            match up - following {
                1 => "1 sees".to_owned(),
                n => format!("{n} see"),
            }
        ));
    }
    if learners > 0 {
        note.push_str(&format!(" · {}", count(learners, "learner")));
    }
    Tile { value: up.to_string(), unit: format!("/{all} voting"), badge, note, ..base }
}

fn leader(facts: &Facts<'_>) -> Tile {
    let base = tile("leader", "Leader");
    let Some(name) = facts.leader_name() else {
        let badge = if facts.rows.is_empty() { base.badge.clone() } else { Badge::new("crit", "None") };
        let value = if facts.rows.is_empty() { base.value.clone() } else { "none".to_owned() };
        let note = if facts.rows.is_empty() { "not read yet" } else { "no member knows a leader" };
        return Tile { value, badge, note: note.to_owned(), ..base };
    };
    let changes: Vec<i64> = facts
        .input
        .events
        .iter()
        .filter(|e| {
            e.kind == EventKind::LeaderChanged && facts.now_ms - e.ts_ms <= DAY_MS && e.ts_ms <= facts.now_ms
        })
        .map(|e| e.ts_ms)
        .collect();
    let stable = changes.iter().max().map(|ts| format!("stable for {}", human_span(facts.now_ms - ts)));
    let badge = if changes.len() > 3 { Badge::new("warn", "Unstable") } else { Badge::new("ok", "Stable") };
    let term = facts.raft_term.map(|term| format!("term {term}"));
    let changes = format!("{} in 24 h", count(changes.len(), "change"));
    let note = [term, stable, Some(changes)].into_iter().flatten().collect::<Vec<_>>().join(" · ");
    Tile { value: name, badge, note, ..base }
}

fn put(facts: &Facts<'_>) -> Tile {
    let base = tile("put", "Put latency p99");
    let Some(series) = facts.series("put_latency", "quantile", "p99") else {
        return Tile { note: "no source has data".to_owned(), ..base };
    };
    let Some(standing) = facts.put_p99() else {
        return Tile { note: "no recent value".to_owned(), ..base };
    };
    let source = series.labels.get("source").unwrap_or("");
    let p50 = facts.series("put_latency", "quantile", "p50").and_then(|s| facts.latest(s));
    let p50 = p50.map(|value| format!("p50 {}", human_seconds(value)));
    let parts = [limit_text(standing), p50, Some(source_text(source).to_owned())];
    let (value, unit) = split_unit(&human_seconds(standing.value));
    Tile {
        value,
        unit,
        badge: badge_of(standing, "Slow"),
        spark: spark(series, facts.now_ms - DAY_MS, facts.now_ms, standing.limit),
        note: parts.into_iter().flatten().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" · "),
        ..base
    }
}

/// What a source of put latency really measures, in a few words.
pub(crate) fn source_text(source: &str) -> &'static str {
    match source {
        "grpc_server_handling_seconds" => "by gRPC",
        "etcd_server_request_duration_seconds" => "by the server",
        "etcd_server_apply_duration_seconds" => "apply time only",
        "etcd_monitor_probe_seconds" => "own read probe",
        _ => "",
    }
}

fn fsync(facts: &Facts<'_>) -> Tile {
    let base = tile("fsync", "WAL fsync p99");
    let Some((instance, standing)) = facts.worst("wal_fsync") else {
        return Tile { note: "no recent value".to_owned(), ..base };
    };
    let series = facts.series("wal_fsync", "instance", instance);
    let others = facts
        .panel("wal_fsync")
        .iter()
        .filter(|s| s.labels.get("instance") != Some(instance))
        .filter_map(|s| facts.latest(s))
        .reduce(f64::max)
        .map(|value| format!("others {}", human_seconds(value)));
    let name = facts.name_of_instance(instance);
    let (value, unit) = split_unit(&human_seconds(standing.value));
    Tile {
        value,
        unit,
        badge: badge_of(standing, "High"),
        spark: series.and_then(|s| spark(s, facts.now_ms - DAY_MS, facts.now_ms, standing.limit)),
        note: [Some(name), limit_text(standing), others]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" · "),
        ..base
    }
}

fn database(facts: &Facts<'_>) -> Tile {
    let base = tile("db", "DB size / quota");
    let (Some(size), quota) = facts.database() else {
        return Tile { note: "no member told its size".to_owned(), ..base };
    };
    let (value, unit) = split_unit(&human_bytes(size));
    let sparkline =
        facts.panel("db_size").first().and_then(|s| spark(s, facts.now_ms - DAY_MS, facts.now_ms, None));
    let in_use = facts.rows.iter().filter_map(|row| row.db_size_in_use_bytes).max();
    let in_use = in_use.map(|bytes| format!("in use {}", human_bytes(bytes as f64)));
    let Some(quota) = quota else {
        let note =
            in_use.map_or_else(|| "quota unknown".to_owned(), |text| format!("{text} · quota unknown"));
        return Tile {
            value,
            unit,
            spark: sparkline,
            note,
            badge: Badge::new("unknown", "No quota"),
            ..base
        };
    };
    let share = size / quota;
    let badge = match quota_class(Some(share)) {
        "crit" => Badge::new("crit", "Full"),
        "warn" => Badge::new("warn", "Filling"),
        _ => Badge::new("ok", "OK"),
    };
    let full = days_to_full(facts, quota).map(|days| format!("full in ~{} d", three_digits(days.round())));
    let parts = [Some(format!("{} %", three_digits((share * 100.0).round()))), in_use, full];
    Tile {
        value,
        // One unit for both where it is the same: the tile is narrow.
        unit: if human_bytes(quota).ends_with(&unit) {
            format!("/ {}", human_bytes(quota))
        } else {
            format!("{unit} / {}", human_bytes(quota))
        },
        badge,
        spark: sparkline,
        note: parts.into_iter().flatten().collect::<Vec<_>>().join(" · "),
        // The share is at most a few hundred per cent and never negative.
        gauge: Some((share * 100.0).clamp(0.0, 100.0).round() as u32),
        ..base
    }
}

/// The look of a share of the quota; empty when there is no cause for one.
pub(crate) fn quota_class(share: Option<f64>) -> &'static str {
    match share {
        Some(share) if share >= QUOTA_CRIT => "crit",
        Some(share) if share >= QUOTA_WARN => "warn",
        _ => "",
    }
}

/// Days until the quota is reached if the database grows on as over the chart's range; `None` if it does
/// not grow, or later than in two years, or on less than six hours of data.
fn days_to_full(facts: &Facts<'_>, quota: f64) -> Option<f64> {
    let series = facts.panel("db_size").first()?;
    let finite = || series.ts_ms.iter().zip(&series.values).filter(|(_, value)| value.is_finite());
    let (first_ts, first) = finite().next()?;
    let (last_ts, last) = finite().next_back()?;
    let span_days = (last_ts - first_ts) as f64 / DAY_MS as f64;
    let growth_per_day = (last - first) / span_days;
    let days = (quota - last) / growth_per_day;
    (span_days >= 0.25 && growth_per_day > 0.0 && (0.0..730.0).contains(&days)).then_some(days)
}

fn badge_of(standing: Standing, above: &str) -> Badge {
    match (standing.above_since_ms, standing.limit) {
        (Some(_), _) => Badge::new("warn", above),
        (None, Some(_)) => Badge::new("ok", "OK"),
        (None, None) => Badge::new("unknown", "No limit"),
    }
}

fn limit_text(standing: Standing) -> Option<String> {
    standing.limit.map(|limit| format!("limit {}", human_seconds(limit)))
}

/// `("28.4", "ms")` from `28.4 ms`.
fn split_unit(text: &str) -> (String, String) {
    text.split_once(' ')
        .map_or_else(|| (text.to_owned(), String::new()), |(n, u)| (n.to_owned(), u.to_owned()))
}
