//! Benchmarks as jobs and commands make them: the cluster's login, this machine, and the result in the store.

use std::sync::Arc;

use crate::bench::{Assignment, BenchError, Dial, Order, clear_left, leftovers};
use crate::config::{ClusterSetup, Config};
use crate::etcd::Member;
use crate::model::{BenchClient, BenchRun, Event, EventKind, Severity};
use crate::store::{Store, bench_runs, events};

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
    let id = bench_runs::id(clock.now_ms(), unique.0);
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
    bench_runs::keep(store, run).await?;
    let writer = new_writer(clock)?;
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
