//! One member's part of a reading.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Parts;
use super::degraded;
use super::exposition::Keep;
use super::fetch::{Body, fetch};
use super::targets::Target;
use crate::etcd::wire::StatusResponse;
use crate::etcd::{EtcdError, Member};
use crate::model::{
    ClusterId, ErrorKind, MemberId, MemberReading, MemberStatus, ReadProbe, ReadingError, Samples, Scrape,
    StatusSource,
};

/// What is remembered of a member from one reading to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Quota as `/metrics` told it last: Status has none before 3.6.
    pub(super) quota_bytes: Option<u64>,
    /// Status as built from `/metrics` last, while the RPC is denied.
    pub(super) from_metrics: Option<MemberStatus>,
}

/// Limits of a scrape, ready for use.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) max_body_bytes: u64,
    pub(super) keep: Keep,
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
    let (status, linear, serial, scrape) = tokio::join!(
        async { if parts.status { Some(member.status().await) } else { None } },
        async { if parts.quorum_read { Some(read(member, false).await) } else { None } },
        async { if parts.quorum_read { Some(read(member, true).await) } else { None } },
        async { if parts.scrape { scrape(target, member, now_ms, limits).await } else { None } },
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
    remember_quota(target, reading);
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
        health: None,
        scrape: None,
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
    let memory = target.memory.lock().unwrap_or_else(PoisonError::into_inner);
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

pub(super) async fn scrape(
    target: &Target,
    member: &Member,
    now_ms: i64,
    limits: &Limits,
) -> Option<(Scrape, Option<ReadingError>)> {
    let url = target.metrics_url.as_ref()?;
    let start = Instant::now();
    let body = fetch(member, url, "metrics", limits.timeout, limits.max_body_bytes).await;
    let mut scrape = Scrape {
        ts_ms: now_ms,
        duration_seconds: 0.0,
        ok: false,
        body_bytes: 0,
        samples: Samples::default(),
        dropped_series: 0,
        added_series: 0,
    };
    let failure = match body {
        Err(e) => Some(e),
        Ok(Body { bytes, .. }) => {
            scrape.body_bytes = bytes.len() as u64;
            let mut cache = target.cache.lock().unwrap_or_else(PoisonError::into_inner);
            match cache.read(&bytes, &limits.keep) {
                Ok(taken) if taken.samples.is_empty() && taken.dropped == 0 => Some(error(
                    ErrorKind::Malformed,
                    "metrics",
                    format!("metrics at {url}: no series in the answer"),
                )),
                Ok(taken) => {
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

fn remember_quota(target: &Target, reading: &MemberReading) {
    let Some(scrape) = reading.scrape.as_ref().filter(|scrape| scrape.ok) else { return };
    let quota = degraded::value(&scrape.samples, "etcd_server_quota_backend_bytes");
    let mut memory = target.memory.lock().unwrap_or_else(PoisonError::into_inner);
    memory.quota_bytes = quota.filter(|quota| *quota > 0.0).map(|quota| quota as u64).or(memory.quota_bytes);
}
