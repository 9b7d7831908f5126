//! The benchmarks of a cluster: the section, the JSON twin.

use serde::Serialize;
use serde_json::{Value, json};

use super::Badge;
use crate::model::unit::{human_seconds, rfc3339, three_digits};
use crate::model::{BenchRow, BenchStanding};
use crate::report::chart::{Spark, evenly};
use crate::report::facts::Facts;
use crate::report::text::clock;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BenchSection {
    pub(crate) rows: Vec<Row>,
    pub(crate) note: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) made: String,
    pub(crate) time: String,
    pub(crate) badge: Badge,
    /// The verdict's figures.
    pub(crate) why: String,
    pub(crate) rate: String,
    pub(crate) p50: String,
    pub(crate) p99: String,
    pub(crate) fsync: String,
    /// p99 of the runs before, by their order.
    pub(crate) spark: Option<Spark>,
}

pub(crate) fn section(facts: &Facts<'_>) -> Option<BenchSection> {
    let standings = &facts.input.benches;
    if standings.is_empty() {
        return None;
    }
    let rows = standings.iter().map(|standing| row(facts, standing)).collect();
    let note = "the newest run of each kind, beside those of the last 60 days".to_owned();
    Some(BenchSection { rows, note })
}

fn row(facts: &Facts<'_>, standing: &BenchStanding) -> Row {
    let newest = &standing.newest;
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), human_seconds);
    Row {
        what: facts.clean(&what(newest)),
        made: clock(newest.ts_ms, facts.now_ms),
        time: rfc3339(newest.ts_ms),
        badge: badge(standing),
        why: facts.clean(&standing.why),
        rate: format!("{}/s", three_digits(newest.rate)),
        p50: time(newest.p50),
        p99: time(newest.p99),
        fsync: time(newest.fsync_p99),
        spark: line(standing),
    }
}

/// The command without what every one begins and ends with.
fn what(row: &BenchRow) -> String {
    let command = row.command.trim_start_matches("etcd-monitor bench ");
    let command = command.split(" --seed").next().unwrap_or(command);
    if row.part == row.operation { command.to_owned() } else { format!("{command}: {}", row.part) }
}

fn badge(standing: &BenchStanding) -> Badge {
    if !standing.newest.is_conclusive() {
        return Badge::new("unknown", "Inconclusive");
    }
    match standing.verdict {
        "regression" => Badge::new("crit", "Slower"),
        "suspected" => Badge::new("warn", "Maybe slower"),
        "better" => Badge::new("ok", "Faster"),
        "same" => Badge::new("ok", "As usual"),
        _ => Badge::new("unknown", "Too few runs"),
    }
}

/// p99 of all runs, evenly spread: what is told is how it went, not when.
fn line(standing: &BenchStanding) -> Option<Spark> {
    let values: Vec<_> = standing.history.iter().map(|(_, _, p99)| *p99).filter(Option::is_some).collect();
    evenly(&values, None)
}

/// `api/v1/clusters/<id>/benchmarks.json`.
pub(crate) fn to_json(facts: &Facts<'_>) -> Value {
    let standing = |standing: &BenchStanding| {
        let newest = &standing.newest;
        json!({
            "id": newest.id, "command": facts.clean(&newest.command), "operation": newest.operation,
            "part": newest.part, "profile": newest.profile, "at": rfc3339(newest.ts_ms),
            "outcome": newest.outcome.as_str(), "etcd": newest.version,
            "ok": newest.ok, "failed": newest.failed, "requests_per_second": newest.rate,
            "p50_seconds": newest.p50, "p99_seconds": newest.p99, "p999_seconds": newest.p999,
            "slowest_seconds": newest.slowest, "fsync_p99_seconds": newest.fsync_p99,
            "verdict": standing.verdict, "why": facts.clean(&standing.why),
            "history": standing.history.iter().map(|(ts_ms, rate, p99)| json!({
                "at": rfc3339(*ts_ms), "requests_per_second": rate, "p99_seconds": p99,
            })).collect::<Vec<_>>(),
        })
    };
    json!({ "benchmarks": facts.input.benches.iter().map(standing).collect::<Vec<_>>() })
}
