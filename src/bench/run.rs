//! One benchmark from its beginning to its end: looks, marks its ground, fills it, sends the load, cleans up.

mod measure;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::engine::Dial;
use super::governor::{Governor, GovernorConfig, Look, Verdict};
use super::ground::{self, Ground, Mark};
use super::options::{Operation, Order};
use super::{BenchError, Leftover};
use crate::etcd::{ClusterConfig, Login, Member};
use crate::model::{BENCH_FORMAT, BenchCleanUp, BenchClient, BenchHash, BenchOutcome, BenchRun, Instance};
use crate::probe::{Parts, Prober, ScrapeConfig};

use self::measure::{Measured, Task};

/// Between two looks at the cluster while it runs.
const LOOK: Duration = Duration::from_secs(1);

/// What a run needs to know.
pub struct Assignment<'a> {
    pub cluster: &'a ClusterConfig,
    pub login: Option<&'a Login>,
    pub scrape: &'a ScrapeConfig,
    pub order: &'a Order,
    /// Sorts by time; part of the keys' prefix.
    pub id: &'a str,
    pub profile: Option<&'a str>,
    /// Used where the order names none.
    pub seed: u64,
    /// Absent: nothing stops it.
    pub governor: Option<&'a GovernorConfig>,
    /// Who we are, for the mark, and whether the process of that name is gone for certain.
    pub process: &'a str,
    pub is_gone: &'a (dyn Fn(&str) -> bool + Sync),
    pub now_ms: &'a (dyn Fn() -> i64 + Sync),
    pub client: BenchClient,
    pub dial: Arc<Dial>,
}

/// Runs it.
///
/// # Errors
/// [`BenchError`] when there is no result. What it wrote is deleted then, too, as far as that can be done.
pub async fn run(assignment: &Assignment<'_>) -> Result<BenchRun, BenchError> {
    let Assignment { cluster, order, dial, .. } = assignment;
    order.check()?;
    let eyes = Eyes::open(assignment)?;
    let before = eyes.look().await;
    let unruled = GovernorConfig { max_quota_ratio: 1.0, ..GovernorConfig::default() };
    if let Some(why) = before.objection(assignment.governor.unwrap_or(&unruled)) {
        return Err(BenchError::Unfit(format!("cluster {}: {why}: nothing was sent", cluster.name)));
    }
    let targets = targets(assignment, before.leader())?;
    let first = targets.first().ok_or(BenchError::Bug("no target"))?;
    let mut clean_up = BenchCleanUp::default();
    // What only reads what is there needs no keys of ours, and no right to write.
    let ground = match order.operation.writes() {
        true => Some(take(assignment, first, &mut clean_up).await?),
        false => None,
    };
    let seed = order.driving.seed.unwrap_or(assignment.seed);
    let mut notes = Vec::new();
    if assignment.governor.is_some() && !before.sees_fsyncs() {
        notes.push("no member's metrics were there: its fsyncs were not watched".to_owned());
    }
    let task = Task { order, ground: ground.as_ref(), targets: &targets, seed, dial };
    let measured = governed(assignment, &eyes, &task, &before).await;
    let after_ms = (assignment.now_ms)();
    let hash_kv = match &measured {
        Ok(_) => hash(order, first).await,
        Err(_) => None,
    };
    // Whatever came of it, nothing of ours stays.
    if let Some(ground) = ground {
        let compacts = order.driving.compact && measured.is_ok();
        if let Err(error) = leave(ground, compacts, &mut clean_up).await {
            clean_up.problem = Some(error.to_string());
        }
    }
    let Seen { measured, after, baseline, stopped } = measured?;
    let outcome = outcome(order, dial, &measured, stopped.as_deref());
    notes.extend(stopped);
    let mut server = after.server(&baseline);
    (server.revision_before, server.revision_after) = measured.revisions;
    let started_ms = after_ms - i64::try_from(measured.start.elapsed().as_millis()).unwrap_or(0);
    Ok(BenchRun {
        format: BENCH_FORMAT,
        id: assignment.id.to_owned(),
        cluster: cluster.name.clone(),
        profile: assignment.profile.map(str::to_owned),
        operation: order.operation.name().to_owned(),
        command: order.command(seed),
        options: order.options(),
        seed,
        targets: targets.iter().map(|member| member.instance().clone()).collect(),
        keys: measured.keys,
        started_ms,
        finished_ms: after_ms,
        warm_up_seconds: order.driving.warm_up.0.as_secs_f64(),
        outcome,
        notes,
        parts: measured.parts,
        server,
        client: BenchClient {
            cpu_seconds: measured.cpu.map(|cpu| cpu.as_secs_f64()),
            is_local: targets.iter().any(|member| member.instance().is_loopback()),
            ..assignment.client.clone()
        },
        hash_kv,
        clean_up,
    })
}

/// Marks the run's ground, and deletes what earlier runs left.
async fn take(
    assignment: &Assignment<'_>,
    first: &Member,
    clean_up: &mut BenchCleanUp,
) -> Result<Ground, BenchError> {
    let others = ground::leftovers(first).await?;
    stand_back(&others, assignment)?;
    let mark = Mark {
        process: assignment.process.to_owned(),
        started_ms: (assignment.now_ms)(),
        operation: assignment.order.operation.name().to_owned(),
    };
    let ground = Ground::take(first, assignment.id, &mark).await?;
    for other in &others {
        clean_up.leftovers_deleted += ground.clear(&other.prefix).await?;
    }
    Ok(ground)
}

/// Another run disturbs this one, and this one it.
fn stand_back(others: &[Leftover], assignment: &Assignment<'_>) -> Result<(), BenchError> {
    let runs =
        |other: &&Leftover| other.mark.as_ref().is_some_and(|mark| !(assignment.is_gone)(&mark.process));
    let Some(other) = others.iter().find(runs) else { return Ok(()) };
    let operation = other.mark.as_ref().map_or("", |mark| mark.operation.as_str());
    let why = format!(
        "another benchmark ({operation}) runs below {}; its mark is gone within 30 s of its end",
        other.prefix
    );
    Err(BenchError::Unfit(format!("cluster {}: {why}", assignment.cluster.name)))
}

/// Looks at the cluster with connections of its own.
struct Eyes<'a> {
    prober: Prober,
    now_ms: &'a (dyn Fn() -> i64 + Sync),
}

impl<'a> Eyes<'a> {
    fn open(assignment: &Assignment<'a>) -> Result<Self, BenchError> {
        // Looked at each second: twice the usual pace would hold a look up.
        let config = ClusterConfig { max_requests_per_second: 20.0, ..assignment.cluster.clone() };
        let prober = Prober::new(&config, assignment.login, assignment.scrape)?;
        Ok(Self { prober, now_ms: assignment.now_ms })
    }

    async fn look(&self) -> Look {
        let parts = Parts { status: true, scrape: true, ..Parts::default() };
        Look::of(&self.prober.read((self.now_ms)(), parts).await)
    }
}

/// Whom the load goes to: the leader, or all that are configured.
fn targets(assignment: &Assignment<'_>, leader: Option<&Instance>) -> Result<Vec<Member>, BenchError> {
    let Assignment { cluster, login, order, .. } = assignment;
    let endpoints = match leader {
        Some(leader) if order.driving.target_leader => vec![leader.to_string()],
        _ => cluster.endpoints.clone(),
    };
    let members = endpoints.iter().map(|endpoint| Member::new(cluster, endpoint, *login));
    Ok(members.collect::<Result<_, _>>()?)
}

/// What came of a load, and what was seen meanwhile.
struct Seen {
    measured: Measured,
    /// At the start of the load, after the keys were put; and at its end.
    baseline: Look,
    after: Look,
    stopped: Option<String>,
}

/// Sends the load while the governor watches.
async fn governed(
    assignment: &Assignment<'_>,
    eyes: &Eyes<'_>,
    task: &Task<'_>,
    before: &Look,
) -> Result<Seen, BenchError> {
    let prepared = task.prepare().await?;
    let baseline = eyes.look().await;
    let done = CancellationToken::new();
    let load = async {
        let measured = task.measure(prepared).await;
        done.cancel();
        measured
    };
    let watching = async {
        let config = assignment.governor?;
        let mut governor = Governor::new(config, before.clone());
        loop {
            tokio::select! {
                () = done.cancelled() => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
            let look = tokio::select! { () = done.cancelled() => return None, look = eyes.look() => look };
            let dial = task.dial;
            let (ok, failed) = (dial.ok.load(Ordering::Relaxed), dial.failed.load(Ordering::Relaxed));
            if let Verdict::Stop(why) = governor.look(look, ok, failed) {
                dial.stop.cancel();
                return Some(why);
            }
        }
    };
    let (measured, stopped) = tokio::join!(load, watching);
    let after = eyes.look().await;
    Ok(Seen { measured: measured?, baseline, after, stopped })
}

fn outcome(order: &Order, dial: &Dial, measured: &Measured, stopped: Option<&str>) -> BenchOutcome {
    if stopped.is_some() {
        return BenchOutcome::Stopped;
    }
    if dial.stop.is_cancelled() {
        return BenchOutcome::Interrupted;
    }
    let sent = dial.ok.load(Ordering::Relaxed) + dial.failed.load(Ordering::Relaxed);
    let is_short = match &order.operation {
        Operation::WatchGet(_) => !measured.caught_up,
        _ if order.driving.duration.is_some() => false,
        operation => sent < operation.amount().1,
    };
    if is_short { BenchOutcome::Truncated } else { BenchOutcome::Complete }
}

async fn leave(ground: Ground, compacts: bool, clean_up: &mut BenchCleanUp) -> Result<(), BenchError> {
    if compacts {
        // First what is deleted is history, then history goes.
        let deleted = ground.clear(&format!("{}k/", ground.prefix())).await?;
        let revision = ground.revision().await?;
        ground.compact(revision).await?;
        clean_up.compacted_revision = Some(revision);
        clean_up.keys_deleted = deleted;
    }
    clean_up.keys_deleted += ground.leave().await?;
    Ok(())
}

async fn hash(order: &Order, member: &Member) -> Option<BenchHash> {
    let Operation::Put(put) = &order.operation else { return None };
    if !put.check_hashkv {
        return None;
    }
    let begun = Instant::now();
    let answer = member.hash_kv(0, Duration::from_secs(60)).await.ok()?;
    let seconds = begun.elapsed().as_secs_f64();
    let db_bytes = member.status().await.ok().and_then(|status| u64::try_from(status.db_size).ok());
    Some(BenchHash { hash: answer.hash, endpoint: member.instance().clone(), seconds, db_bytes })
}
