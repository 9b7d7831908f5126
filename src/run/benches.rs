//! Benchmarks as jobs and commands make them: the cluster's login, this machine, and the result in the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bench::regression::{self, Judged, Verdict};
use crate::bench::{Assignment, BenchError, Dial, Order, clear_left, leftovers};
use crate::config::{ClusterSetup, Config};
use crate::etcd::Member;
use crate::model::{
    BenchClient, BenchRow, BenchRun, ClusterName, Event, EventKind, Labels, METRIC_NAME, Severity,
};
use crate::promql::{self, EvalOptions, EvalRange, Value};
use crate::store::key as store_key;
use crate::store::{Store, StoreError, bench_runs, events, samples};

use super::clock::Clock;
use super::{new_writer, process};

/// Runs one benchmark.
///
/// # Errors
/// [`BenchError`].
pub async fn make(
    config: &Config,
    cluster: &ClusterSetup,
    order: &Order,
    profile: Option<&str>,
    clock: &Clock,
    dial: Arc<Dial>,
) -> Result<BenchRun, BenchError> {
    let unique = ulid::Ulid::generate();
    let id = store_key::run_id(clock.now_ms(), unique.0);
    let now_ms = || clock.now_ms();
    let assignment = Assignment {
        cluster: &cluster.config,
        login: cluster.login.as_ref(),
        scrape: &config.scrape,
        order,
        id: &id,
        profile,
        // Short enough to be typed again.
        seed: (unique.0 & 0xFFFF_FFFF) as u64,
        governor: Some(&config.bench.governor),
        process: &process::name(),
        is_gone: &process::is_gone,
        now_ms: &now_ms,
        client: this_machine(),
        dial,
    };
    crate::bench::run(&assignment).await
}

/// Writes a result and the event of it.
///
/// # Errors
/// When the store cannot be written.
pub async fn keep(store: &Store, run: &BenchRun, clock: &Clock) -> anyhow::Result<()> {
    let writer = new_writer(clock)?;
    bench_runs::keep(store, &writer, clock.now_ms(), run).await?;
    events::write(store, &writer, clock.now_ms(), &[told(run)]).await?;
    Ok(())
}

/// The event of a run.
fn told(run: &BenchRun) -> Event {
    let parts: Vec<String> = run
        .parts
        .iter()
        .map(|part| {
            let p99 = part.latency.quantile(0.99);
            let p99 = p99.map_or(String::new(), |p99| format!(", p99 {:.1} ms", p99 * 1e3));
            format!("{}: {:.0}/s{p99}", part.name, part.rate)
        })
        .collect();
    let text = format!("benchmark {} ({}): {}", run.operation, run.outcome.as_str(), parts.join("; "));
    Event {
        id: Event::id_of(&run.cluster, EventKind::BenchDone, &run.operation, &run.id),
        cluster: run.cluster.clone(),
        ts_ms: run.finished_ms,
        kind: EventKind::BenchDone,
        severity: Severity::Info,
        subject: run.operation.clone(),
        actor: None,
        text,
        details: serde_json::json!({ "id": run.id, "command": run.command, "notes": run.notes }),
    }
}

/// What was found below the benchmarks' prefix.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// With how many keys there were.
    pub deleted: Vec<(String, u64)>,
    pub running: Vec<String>,
}

/// Deletes what killed benchmarks left in `cluster`.
///
/// # Errors
/// When no member answers, or one refuses.
pub async fn clean(cluster: &ClusterSetup) -> Result<Cleaned, BenchError> {
    let mut last = BenchError::Unfit(format!("cluster {}: no endpoint", cluster.config.name));
    for endpoint in &cluster.config.endpoints {
        let member = Member::new(&cluster.config, endpoint, cluster.login.as_ref())?;
        let left = match leftovers(&member).await {
            Ok(left) => left,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let mut cleaned = Cleaned::default();
        for leftover in left {
            if leftover.mark.as_ref().is_some_and(|mark| !process::is_gone(&mark.process)) {
                cleaned.running.push(leftover.prefix);
            } else {
                let keys = clear_left(&member, &leftover).await?;
                cleaned.deleted.push((leftover.prefix, keys));
            }
        }
        return Ok(cleaned);
    }
    Err(last)
}

/// The machine that the load comes from.
fn this_machine() -> BenchClient {
    use procfs::Current as _;
    let memory = procfs::Meminfo::current().ok().map(|memory| memory.mem_total);
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    BenchClient { cpus, memory_bytes: memory, cpu_seconds: None, is_local: false }
}

/// How far back runs are judged.
const HISTORY_MS: i64 = 400 * 86_400_000;

/// All runs of all clusters, oldest first, each judged by those before it.
///
/// # Errors
/// When the store cannot be read.
pub async fn judged(store: &Store, now_ms: i64) -> Result<Vec<Judged>, StoreError> {
    let rows = bench_runs::range(store, now_ms - HISTORY_MS, now_ms + 60_000).await?;
    let mut clusters: BTreeMap<ClusterName, Vec<BenchRow>> = BTreeMap::new();
    for row in rows {
        clusters.entry(row.cluster.clone()).or_default().push(row);
    }
    let mut judged = Vec::new();
    for (cluster, rows) in clusters {
        let baselines = bench_runs::baselines(store, cluster.as_str()).await?;
        judged.extend(regression::history(&rows, &baselines.since));
    }
    judged.sort_by(|one, other| one.id().cmp(other.id()));
    Ok(judged)
}

/// Defragments the configured endpoints, one after the other: each with what it took.
///
/// # Errors
/// When one does not answer, or refuses; those after it are left as they are.
pub async fn defragment(cluster: &ClusterSetup) -> Result<Vec<(String, Duration)>, BenchError> {
    let mut done = Vec::new();
    for endpoint in &cluster.config.endpoints {
        let member = Member::new(&cluster.config, endpoint, cluster.login.as_ref())?;
        let began = Instant::now();
        crate::bench::defragment(&member).await?;
        done.push((member.url().to_owned(), began.elapsed()));
    }
    Ok(done)
}

/// How much of what was measured at most is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Used {
    pub cluster: ClusterName,
    /// `put`, or `range`.
    pub operation: String,
    /// The fastest run at full speed, per second, and its id.
    pub measured: f64,
    pub id: String,
    /// Per second, by the members' own counters; absent where the store has none.
    pub now: Option<f64>,
    /// The highest five minutes of the last week.
    pub peak: Option<f64>,
    /// What shows it over time.
    pub query: String,
    /// The peak of each of the last days as a part of what was measured, oldest first: when the day ended (ms since the epoch),
    /// and the part. Days without data are missing.
    pub days: Vec<(i64, f64)>,
}

/// What is used of each cluster's measured limits.
///
/// # Errors
/// When the store cannot be read.
pub async fn headroom(
    config: &Config,
    store: &Store,
    runs: &[Judged],
    now_ms: i64,
) -> anyhow::Result<Vec<Used>> {
    let mut best: BTreeMap<(ClusterName, &'static str), &BenchRow> = BTreeMap::new();
    for row in runs.iter().flat_map(|run| &run.rows).filter(|row| row.is_conclusive() && !row.is_paced) {
        let Some((operation, _)) = COUNTERS.iter().find(|(operation, _)| *operation == row.operation) else {
            continue;
        };
        let entry = best.entry((row.cluster.clone(), operation)).or_insert(row);
        if row.rate > entry.rate {
            *entry = row;
        }
    }
    let mut used = Vec::new();
    for ((cluster, operation), row) in best {
        let rate = COUNTERS.iter().find(|(name, _)| *name == operation).map_or("", |(_, query)| *query);
        let rate = rate.replace("SELECTOR", &format!("cluster=\"{cluster}\""));
        let now = value(config, store, &rate, now_ms).await?;
        let peak = value(config, store, &format!("max_over_time(({rate})[7d:5m])"), now_ms).await?;
        let query = format!("({rate}) / {:.0}", row.rate);
        let course = format!("max_over_time(({rate})[1d:5m]) / {}", row.rate);
        let days = days(config, store, &course, now_ms).await?;
        let id = row.id.clone();
        used.push(Used {
            cluster,
            operation: operation.to_owned(),
            measured: row.rate,
            id,
            now,
            peak,
            query,
            days,
        });
    }
    Ok(used)
}

/// What members count of what a benchmark measures: every member applies each put, and answers its own reads.
const COUNTERS: [(&str, &str); 2] = [
    ("put", "max(rate(etcd_mvcc_put_total{SELECTOR}[5m]))"),
    (
        "range",
        "sum(rate(etcd_mvcc_range_total{SELECTOR}[5m]) or rate(etcd_debugging_mvcc_range_total{SELECTOR}[5m]))",
    ),
];

/// Days of headroom that are looked back.
const DAYS: i64 = 14;
const DAY_MS: i64 = 86_400_000;

/// The value of an expression at the end of each of the last days, now being the end of the last.
async fn days(config: &Config, store: &Store, query: &str, now_ms: i64) -> anyhow::Result<Vec<(i64, f64)>> {
    let expr = promql::parse(query)?;
    let options = EvalOptions { max_samples: config.query.max_samples, ..EvalOptions::default() };
    let range = EvalRange { start_ms: now_ms - (DAYS - 1) * DAY_MS, end_ms: now_ms, step_ms: DAY_MS };
    let selections = promql::selections(&expr, &range, &options);
    // As scraped: a rate over five minutes needs more than the rollup keeps.
    let loaded = samples::load(store, &selections, options.max_samples).await?;
    let found = promql::eval_range(&expr, &loaded.series, &range, &options)?;
    Ok(found
        .first()
        .map(|series| series.ts_ms.iter().copied().zip(series.values.iter().copied()).collect())
        .unwrap_or_default())
}

/// The one value of an expression, if it has one.
async fn value(config: &Config, store: &Store, query: &str, now_ms: i64) -> anyhow::Result<Option<f64>> {
    let expr = promql::parse(query)?;
    let options = EvalOptions { max_samples: config.query.max_samples, ..EvalOptions::default() };
    let selections = promql::selections(&expr, &EvalRange::instant(now_ms), &options);
    let loaded = samples::load(store, &selections, options.max_samples).await?;
    Ok(match promql::eval_instant(&expr, &loaded.series, now_ms, &options)? {
        Value::Vector(samples) => samples.first().map(|sample| sample.value),
        Value::Scalar(value) => Some(value),
        _ => None,
    })
}

/// The series that rules and charts read of a run.
pub fn series(judged: &Judged) -> Vec<(Labels, f64)> {
    let mut series = Vec::new();
    for row in &judged.rows {
        let profile = row.profile.as_deref().unwrap_or_default();
        let mut add = |name: &str, more: &[(&str, &str)], value: f64| {
            let own = [
                (METRIC_NAME, name),
                ("cluster", row.cluster.as_str()),
                ("profile", profile),
                ("operation", row.operation.as_str()),
                ("part", row.part.as_str()),
            ];
            let labels = own.into_iter().chain(more.iter().copied()).filter(|(_, value)| !value.is_empty());
            series.push((Labels::from_pairs(labels), value));
        };
        add("etcd_monitor_bench_requests_per_second", &[], row.rate);
        for (quantile, value) in [("0.5", row.p50), ("0.99", row.p99)] {
            if let Some(value) = value {
                add("etcd_monitor_bench_latency_seconds", &[("quantile", quantile)], value);
            }
        }
        let of_part = judged.comparisons.iter().filter(|comparison| comparison.part == row.part);
        let Some(worst) = of_part.max_by_key(|comparison| comparison.verdict) else { continue };
        // How much worse it is, where that is more than noise.
        let worse = if worst.verdict == Verdict::Regression { worst.worse } else { 0.0 };
        add("etcd_monitor_bench_regression_ratio", &[], worse);
    }
    series
}
