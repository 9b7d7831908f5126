//! One member's part of a reading.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Parts;
use super::clock::{Clock, Dated};
use super::degraded;
use super::exposition::Keep;
use super::fetch::{Body, fetch};
use super::health;
use super::host::Machine;
use super::node;
use super::targets::Target;
use crate::etcd::wire::StatusResponse;
use crate::etcd::{EtcdError, Member};
use crate::model::{
    ClusterId, EndpointHealth, ErrorKind, MemberId, MemberReading, MemberStatus, ReadProbe, ReadingError,
    Samples, Scrape, StatusSource,
};

/// What is remembered of a member from one reading to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Quota as `/metrics` told it last: Status has none before 3.6.
    pub(super) quota_bytes: Option<u64>,
    /// Status as built from `/metrics` last, while the RPC is denied.
    pub(super) from_metrics: Option<MemberStatus>,
    /// The last answer to Status, until the next question fails.
    answer: Option<StatusResponse>,
    /// Whether the last scrape failed.
    scrape_failed: bool,
    clock: Clock,
    /// What its health endpoints said last.
    health: BTreeMap<String, EndpointHealth>,
    /// When it was asked for that, ms since the epoch.
    health_ms: i64,
}

/// A scrape, and what went wrong with it. `None` where there is nothing to scrape.
pub(super) type Scraped = Option<(Scrape, Option<ReadingError>)>;

/// Limits of a scrape, ready for use.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) max_body_bytes: u64,
    pub(super) keep: Keep,
    /// Where members may run that are read.
    pub(super) machine: Option<Machine>,
}

/// A member's reading with what only the cluster level uses.
pub(super) struct Probed {
    pub(super) reading: MemberReading,
    pub(super) cluster_id: Option<ClusterId>,
    /// Place in the configured endpoints; discovered members come after them.
    pub(super) rank: usize,
    /// Whether the member list has it.
    pub(super) listed: bool,
}

/// What a member said of its health is believed this long: the next question comes before that.
const HEALTH_BELIEVED_MS: i64 = 5 * 60_000;

/// The right each call needs, in etcd's words.
const STATUS_RIGHT: &str = "Maintenance.Status: role root (from etcd 3.5.30 on)";

pub(super) async fn probe(target: &Target, now_ms: i64, parts: Parts, limits: &Limits) -> Probed {
    let start = Instant::now();
    let mut probed = Probed {
        reading: empty(target, now_ms),
        cluster_id: None,
        rank: target.configured.unwrap_or(usize::MAX),
        listed: target.listed.is_some(),
    };
    let member = match &target.member {
        Ok(member) => member,
        Err(why) => {
            probed.reading.errors.push(error(ErrorKind::Unreachable, "connect", why.clone()));
            return probed;
        }
    };
    // Who has not said that it follows a leader is not waited for with reads.
    let well = AtomicBool::new(!parts.status);
    let (status, linear, serial, scrape, health, host, node) = tokio::join!(
        async {
            if !parts.status {
                return None;
            }
            Some(ask_status(target, member, parts.patience, &well).await)
        },
        async { if parts.quorum_read { Some(read_within(member, false, parts, &well).await) } else { None } },
        async { if parts.quorum_read { Some(read_within(member, true, parts, &well).await) } else { None } },
        scrape_within(target, member, (now_ms, start), (parts, limits)),
        async { if parts.health { Some(health::ask(member, parts.patience).await) } else { None } },
        async {
            match &limits.machine {
                Some(machine) if parts.scrape => machine.figures(&target.instance).await,
                _ => Vec::new(),
            }
        },
        node_within(target, member, now_ms, (parts, limits)),
    );
    let reading = &mut probed.reading;
    for (slot, outcome) in
        [(&mut reading.linearizable_read, linear), (&mut reading.serializable_read, serial)]
    {
        if let Some((probe, error)) = outcome {
            *slot = Some(probe);
            reading.errors.extend(error);
        }
    }
    if let Some((scrape, error)) = scrape {
        reading.scrape = Some(scrape);
        reading.errors.extend(error);
    }
    reading.host = host;
    match node {
        Some(Ok(node)) => reading.node = Some(node),
        Some(Err(why)) => reading.errors.push(why),
        None => {}
    }
    remember_quota(target, reading);
    remember_health(target, reading, health, status.as_ref());
    match status {
        Some(Ok(status)) => take_status(&mut probed, target, status),
        Some(Err(e)) => {
            probed.reading.errors.push(e.to_reading_error("status", STATUS_RIGHT));
            if matches!(e.kind(), ErrorKind::Denied | ErrorKind::Auth) && e.is_answer() {
                degraded::fill(&mut probed, target, member, now_ms, limits).await;
            }
        }
        None => {}
    }
    probed.reading.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    probed
}

fn empty(target: &Target, now_ms: i64) -> MemberReading {
    let listed = target.listed.as_ref();
    MemberReading {
        instance: target.instance.clone(),
        member_id: listed.map(|l| l.id),
        name: listed.map(|l| l.name.clone()).filter(|name| !name.is_empty()),
        is_learner: listed.map(|l| l.is_learner),
        peer_urls: listed.map(|l| l.peer_urls.clone()).unwrap_or_default(),
        client_urls: listed.map(|l| l.client_urls.clone()).unwrap_or_default(),
        hears: BTreeMap::new(),
        ts_ms: now_ms,
        duration_ms: 0,
        status: None,
        linearizable_read: None,
        serializable_read: None,
        health: BTreeMap::new(),
        scrape: None,
        host: Vec::new(),
        node: None,
        errors: Vec::new(),
    }
}

pub(super) fn error(kind: ErrorKind, during: &str, message: String) -> ReadingError {
    ReadingError { kind, during: during.to_owned(), message, missing_right: None }
}

fn take_status(probed: &mut Probed, target: &Target, status: StatusResponse) {
    let header = status.header.unwrap_or_default();
    // Some gRPC server may answer with an empty message; a member always has an id and a version.
    if header.member_id == 0 || status.version.is_empty() {
        let message = format!("status at {}: the answer is not etcd's", probed.reading.instance);
        probed.reading.errors.push(error(ErrorKind::Malformed, "status", message));
        return;
    }
    probed.cluster_id = Some(ClusterId(header.cluster_id));
    probed.reading.member_id = Some(MemberId(header.member_id));
    probed.reading.is_learner = Some(status.is_learner);
    let memory = memory(target);
    let quota = u64::try_from(status.db_size_quota).ok().filter(|quota| *quota > 0);
    probed.reading.status = Some(MemberStatus {
        source: StatusSource::Rpc,
        version: status.version,
        db_size_bytes: u64::try_from(status.db_size).unwrap_or(0),
        db_size_in_use_bytes: u64::try_from(status.db_size_in_use).unwrap_or(0),
        quota_bytes: quota.or(memory.quota_bytes),
        leader: Some(status.leader).filter(|id| *id != 0).map(MemberId),
        raft_term: status.raft_term,
        raft_index: status.raft_index,
        raft_applied_index: status.raft_applied_index,
        revision: Some(header.revision),
        errors: status.errors,
    });
}

/// Status, as it was last where the member takes its time. Without an answer to fall back on, or once the call has
/// failed, it is an error. `well` is set when the member says now that it follows a leader.
async fn ask_status(
    target: &Target,
    member: &Member,
    patience: Option<Duration>,
    well: &AtomicBool,
) -> Result<StatusResponse, EtcdError> {
    let asked = member.clone();
    let answer = target.status.within(patience, async move { asked.status().await }).await;
    let mut memory = memory(target);
    match answer {
        Some(answer) => {
            memory.answer = answer.as_ref().ok().cloned();
            well.store(matches!(&answer, Ok(status) if status.leader != 0), Ordering::Relaxed);
            answer
        }
        None => {
            let late = || EtcdError::timeout(member.url(), "status", patience.unwrap_or_default());
            memory.answer.clone().ok_or_else(late)
        }
    }
}

fn memory(target: &Target) -> MutexGuard<'_, Memory> {
    target.memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A read that is given up where there is no hope and patience is over.
async fn read_within(
    member: &Member,
    serializable: bool,
    parts: Parts,
    well: &AtomicBool,
) -> (ReadProbe, Option<ReadingError>) {
    let mut read = std::pin::pin!(read(member, serializable));
    let Some(patience) = parts.patience else { return read.await };
    match tokio::time::timeout(patience, &mut read).await {
        Ok(read) => read,
        Err(_) if well.load(Ordering::Relaxed) => read.await,
        Err(_) => {
            let during = if serializable { "serializable-read" } else { "linearizable-read" };
            let late = EtcdError::timeout(member.url(), during, patience);
            (ReadProbe { ok: false, seconds: patience.as_secs_f64() }, Some(read_error(&late, during)))
        }
    }
}

/// The scrape that is due, or one that was due before and came late. One that has not come yet is not known, unless
/// the last one failed: then this one is taken as failed, until it comes.
async fn scrape_within(
    target: &Target,
    member: &Member,
    (now_ms, start): (i64, Instant),
    (parts, limits): (Parts, &Limits),
) -> Scraped {
    let began = Instant::now();
    let scraped = if parts.scrape {
        let (target_, member, limits) = (target.clone(), member.clone(), limits.clone());
        let ask = async move { scrape(&target_, &member, (now_ms, start), &limits).await };
        target.scrape.within(parts.patience, ask).await
    } else {
        target.scrape.arrived().await
    };
    let mut memory = memory(target);
    if let Some(scraped) = scraped {
        memory.scrape_failed = scraped.as_ref().is_some_and(|(scrape, _)| !scrape.ok);
        return scraped;
    }
    let url = target.metrics_url.as_ref().filter(|_| parts.scrape && memory.scrape_failed)?;
    let seconds = began.elapsed().as_secs_f64();
    let message = format!("metrics at {url}: no answer within {seconds:.1} s");
    Some((no_scrape(now_ms, seconds), Some(error(ErrorKind::Timeout, "metrics", message))))
}

/// What the node exporter says, if that comes within patience; what comes later is old.
async fn node_within(
    target: &Target,
    member: &Member,
    now_ms: i64,
    (parts, limits): (Parts, &Limits),
) -> Option<node::Fetched> {
    let url = target.node_url.clone().filter(|_| parts.scrape)?;
    let (asked, member, limits) = (target.clone(), member.clone(), limits.clone());
    let ask = async move { node::scrape(&asked, &member, &url, now_ms, &limits).await };
    target.node.within(parts.patience, ask).await
}

/// One that gave nothing.
fn no_scrape(ts_ms: i64, duration_seconds: f64) -> Scrape {
    let samples = Samples::default();
    let (body_bytes, dropped_series, added_series) = (0, 0, 0);
    let (ok, clock) = (false, None);
    Scrape { ts_ms, duration_seconds, ok, body_bytes, samples, dropped_series, added_series, clock }
}

async fn read(member: &Member, serializable: bool) -> (ReadProbe, Option<ReadingError>) {
    let (took, result) = member.read(serializable).await;
    let seconds = took.as_secs_f64();
    let during = if serializable { "serializable-read" } else { "linearizable-read" };
    match result {
        Ok(_) => (ReadProbe { ok: true, seconds }, None),
        // etcd checks rights only after the read was agreed on, so a refusal is an answer.
        Err(e) if e.kind() == ErrorKind::Denied => (ReadProbe { ok: true, seconds }, None),
        Err(e) => (ReadProbe { ok: false, seconds }, Some(read_error(&e, during))),
    }
}

fn read_error(e: &EtcdError, during: &str) -> ReadingError {
    e.to_reading_error(during, "KV.Range on key health: a role with read access")
}

/// `began` is the instant of `now_ms`.
pub(super) async fn scrape(
    target: &Target,
    member: &Member,
    (now_ms, began): (i64, Instant),
    limits: &Limits,
) -> Scraped {
    let url = target.metrics_url.as_ref()?;
    let start = Instant::now();
    let body = fetch(member, url, "metrics", limits.timeout, limits.max_body_bytes).await;
    let mut scrape = no_scrape(now_ms, 0.0);
    let failure = match body {
        Err(e) => Some(e),
        Ok(Body { bytes, date, .. }) => {
            scrape.body_bytes = bytes.len() as u64;
            let mut cache = target.cache.lock().unwrap_or_else(PoisonError::into_inner);
            match cache.read(&bytes, &limits.keep) {
                Ok(taken) if taken.samples.is_empty() && taken.dropped == 0 => Some(error(
                    ErrorKind::Malformed,
                    "metrics",
                    format!("metrics at {url}: no series in the answer"),
                )),
                Ok(taken) => {
                    scrape.clock = date.map(|(date_ms, after)| {
                        let late_ms = i64::try_from((start - began + after).as_millis()).unwrap_or(0);
                        let dated = Dated { date_ms, asked_ms: now_ms, answered_ms: now_ms + late_ms };
                        memory(target).clock.observe(dated)
                    });
                    scrape.ok = true;
                    scrape.dropped_series = taken.dropped;
                    scrape.added_series = taken.added;
                    scrape.samples = taken.samples;
                    None
                }
                Err(e) => Some(error(ErrorKind::Malformed, "metrics", format!("metrics at {url}: {e}"))),
            }
        }
    };
    scrape.duration_seconds = start.elapsed().as_secs_f64();
    Some((scrape, failure))
}

/// What its endpoints said, now or last. What a member said that answers no more says nothing of now.
fn remember_health(
    target: &Target,
    reading: &mut MemberReading,
    health: Option<BTreeMap<String, EndpointHealth>>,
    status: Option<&Result<StatusResponse, EtcdError>>,
) {
    let mut memory = memory(target);
    if let Some(health) = health {
        memory.health = health;
        memory.health_ms = reading.ts_ms;
    }
    let is_old = (reading.ts_ms - memory.health_ms).abs() >= HEALTH_BELIEVED_MS;
    if is_old || matches!(status, Some(Err(e)) if !e.is_answer()) {
        memory.health.clear();
    }
    reading.health.clone_from(&memory.health);
}

fn remember_quota(target: &Target, reading: &MemberReading) {
    let Some(scrape) = reading.scrape.as_ref().filter(|scrape| scrape.ok) else { return };
    let quota = degraded::value(&scrape.samples, "etcd_server_quota_backend_bytes");
    let mut memory = memory(target);
    memory.quota_bytes = quota.filter(|quota| *quota > 0.0).map(|quota| quota as u64).or(memory.quota_bytes);
}
