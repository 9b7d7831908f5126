//! The page of one benchmark: one file, that can be sent as it is.

use serde::Serialize;

use super::chart::{BOX_WIDTH, Spark, evenly};
use super::text::visible;
use super::{ReportError, assets, templates};
use crate::model::unit::{human_bytes, human_seconds, rfc3339, three_digits};
use crate::model::{BenchLatency, BenchMember, BenchOutcome, BenchPart, BenchRun};

#[derive(Serialize)]
struct View {
    title: String,
    css: String,
    operation: String,
    cluster: String,
    started: String,
    id: String,
    class: &'static str,
    headline: String,
    command: String,
    notes: Vec<String>,
    parts: Vec<Part>,
    server: String,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Part {
    name: String,
    summary: String,
    is_paced: bool,
    /// The ends of the rulers.
    low: String,
    high: String,
    quantiles: Vec<Quantile>,
    /// Absent with fewer than two seconds.
    rate_line: Option<Spark>,
    rate_range: String,
    slow_line: Option<Spark>,
    slow_range: String,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct Quantile {
    name: String,
    latency: String,
    sent: String,
    /// 0 to 1000.
    x: f64,
}

#[derive(Serialize)]
struct Member {
    name: String,
    is_leader: bool,
    fsyncs: u64,
    fsync_p99: String,
    commits: u64,
    commit_p99: String,
    cpu: String,
    db: String,
}

/// The page of `run`.
///
/// # Errors
/// When the template cannot be rendered: a bug.
pub fn bench_page(run: &BenchRun) -> Result<Vec<u8>, ReportError> {
    let (class, word) = match run.outcome {
        BenchOutcome::Complete => ("ok", "complete"),
        BenchOutcome::Truncated => ("warn", "its time was over before its end"),
        BenchOutcome::Stopped => ("crit", "stopped, for the cluster's sake"),
        BenchOutcome::Interrupted => ("unknown", "interrupted"),
    };
    let rates: Vec<String> =
        run.parts.iter().map(|part| format!("{}: {}/s", part.name, three_digits(part.rate))).collect();
    let version =
        run.server.version.as_ref().map_or(String::new(), |version| format!("etcd {} · ", visible(version)));
    let view = View {
        title: format!("{} of {}", run.operation, visible(run.cluster.as_str())),
        css: assets::inline_css(),
        operation: run.operation.clone(),
        cluster: visible(run.cluster.as_str()),
        started: rfc3339(run.started_ms),
        id: run.id.clone(),
        class,
        headline: format!("{} ({word})", rates.join(", ")),
        command: visible(&run.command),
        notes: run.notes.iter().map(|note| visible(note)).collect(),
        parts: run.parts.iter().map(part).collect(),
        server: format!("{version}{} leader change(s)", run.server.leader_changes),
        members: run.server.members.iter().map(member).collect(),
    };
    templates::page("pages/bench.html", &view)
}

fn part(part: &BenchPart) -> Part {
    let latency = &part.latency;
    let (low, high) = (latency.fastest.max(1e-6), latency.slowest.max(2e-6));
    let x = |seconds: f64| {
        let share = (seconds.clamp(low, high) / low).ln() / (high / low).ln().max(f64::MIN_POSITIVE);
        (share * BOX_WIDTH).round()
    };
    let sent = |quantile: f64| part.uncorrected.as_ref().and_then(|latency| latency.quantile(quantile));
    let quantiles = latency.quantiles.iter().map(|(quantile, seconds)| Quantile {
        // 99.9, not 99.90000000000001.
        name: format!("p{}", (quantile * 1e5).round() / 1e3),
        latency: human_seconds(*seconds),
        sent: sent(*quantile).map_or_else(|| "–".to_owned(), human_seconds),
        x: x(*seconds),
    });
    let rates: Vec<f64> = part.by_second.iter().map(|second| second.ok as f64).collect();
    let slowest: Vec<f64> = part.by_second.iter().map(|second| second.slowest).collect();
    Part {
        name: part.name.clone(),
        summary: summary(part, latency),
        is_paced: part.uncorrected.is_some(),
        low: human_seconds(low),
        high: human_seconds(high),
        quantiles: quantiles.collect(),
        rate_line: seconds(&rates),
        rate_range: ends(&rates, three_digits),
        slow_line: seconds(&slowest),
        slow_range: ends(&slowest, human_seconds),
        errors: part
            .errors
            .iter()
            .map(|error| format!("{} × {}: {}", error.count, error.code, visible(&error.message)))
            .collect(),
    }
}

fn summary(part: &BenchPart, latency: &BenchLatency) -> String {
    format!(
        "{} answered, {} failed, in {} · average {} · slowest {}",
        part.ok,
        part.failed,
        human_seconds(part.seconds),
        human_seconds(latency.average),
        human_seconds(latency.slowest)
    )
}

fn seconds(values: &[f64]) -> Option<Spark> {
    evenly(&values.iter().copied().map(Some).collect::<Vec<_>>(), None)
}

fn ends(values: &[f64], said: impl Fn(f64) -> String) -> String {
    let low = values.iter().copied().reduce(f64::min).unwrap_or(0.0);
    let high = values.iter().copied().reduce(f64::max).unwrap_or(0.0);
    format!("{} to {}", said(low), said(high))
}

fn member(member: &BenchMember) -> Member {
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), human_seconds);
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), |bytes| human_bytes(bytes as f64));
    Member {
        name: visible(member.instance.as_str()),
        is_leader: member.is_leader,
        fsyncs: member.fsyncs,
        fsync_p99: time(member.fsync_p99),
        commits: member.commits,
        commit_p99: time(member.commit_p99),
        cpu: time(member.cpu_seconds),
        db: format!("{} to {}", bytes(member.db_bytes_before), bytes(member.db_bytes_after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BENCH_FORMAT, BenchCleanUp, BenchClient, BenchFailure, BenchSecond, BenchServer};

    fn run() -> BenchRun {
        let latency = |factor: f64| BenchLatency {
            fastest: 0.001 * factor,
            slowest: 0.1 * factor,
            average: 0.002 * factor,
            stddev: 0.0,
            quantiles: vec![(0.5, 0.001 * factor), (0.999, 0.1 * factor)],
        };
        let second = |at: u32| BenchSecond {
            at,
            ok: 100 + u64::from(at),
            failed: 0,
            fastest: 0.001,
            average: 0.002,
            slowest: 0.01,
        };
        let error =
            BenchFailure { code: "Unavailable".to_owned(), message: "<b>gone</b>".to_owned(), count: 3 };
        let part = BenchPart {
            name: "put".to_owned(),
            ok: 300,
            failed: 3,
            seconds: 3.0,
            rate: 100.0,
            latency: latency(2.0),
            uncorrected: Some(latency(1.0)),
            histogram: String::new(),
            by_second: (0..3).map(second).collect(),
            errors: vec![error],
        };
        BenchRun {
            format: BENCH_FORMAT,
            id: "20261101T030000000-AAAA".to_owned(),
            cluster: "prod".parse().expect("a name"),
            profile: None,
            operation: "put".to_owned(),
            command: "etcd-monitor bench put --rate=100".to_owned(),
            options: Default::default(),
            seed: 1,
            targets: Vec::new(),
            keys: None,
            started_ms: 0,
            finished_ms: 3_000,
            warm_up_seconds: 0.0,
            outcome: BenchOutcome::Stopped,
            notes: vec!["the leader <i>changed</i>".to_owned()],
            parts: vec![part],
            server: BenchServer::default(),
            client: BenchClient::default(),
            hash_kv: None,
            clean_up: BenchCleanUp::default(),
        }
    }

    #[test]
    fn the_page_has_both_latencies_and_hostile_text_stays_text() {
        let html = String::from_utf8(bench_page(&run()).expect("renders")).expect("UTF-8");
        for wanted in [
            "p99.9",
            "200 ms",
            "100 ms",
            "From when it was sent",
            "&lt;b&gt;gone",
            "stopped, for the cluster",
            "3 × Unavailable",
        ] {
            assert!(html.contains(wanted), "{wanted}: {html}");
        }
        for banned in ["<script", "<b>gone", "<i>changed", "src="] {
            assert!(!html.contains(banned), "{banned}");
        }
    }
}
