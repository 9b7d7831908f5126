//! The keys that benchmarks write: all below one prefix, one folder per run, with a mark that says who runs.
//!
//! The mark hangs on a lease, so it is gone soon after a run that was killed; then what it left is deleted by the next one.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::BenchError;
use super::keys::Keys;
use super::load::path;
use crate::etcd::wire::RangeRequest;
use crate::etcd::wire::kv::{
    CompactRequest, DeleteRequest, DeleteResponse, HeaderOnly, LeaseGrantRequest, LeaseId, LeaseResponse, Op,
    PutRequest, RequestOp, StoredKeys, TxnRequest, TxnResponse,
};
use crate::etcd::{Member, Pipe, frame, range_end};

/// Nothing that benchmarks write is elsewhere.
pub const ROOT: &str = "/etcd-monitor/bench/";

/// The name of a run's mark in its folder.
const MARK: &str = ".run";
/// Seconds that the mark lives without its run, and how often the run renews it.
const TTL: i64 = 30;
const RENEW: Duration = Duration::from_secs(8);
/// Keys deleted by one request: more would hold up other writers.
const DELETED_AT_ONCE: i64 = 500;
/// Puts of one transaction; etcd takes 128 by default, and 1.5 MiB.
const PUTS_AT_ONCE: u64 = 100;
const PUT_BYTES_AT_ONCE: usize = 512 * 1024;

/// What the mark says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Tells on the same machine whether it still runs; empty where that is not known.
    pub process: String,
    /// ms since the epoch.
    pub started_ms: i64,
    pub operation: String,
}

/// The folder of a run, and who made it, if that one may still run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// With a slash at the end.
    pub prefix: String,
    pub mark: Option<Mark>,
}

/// The folder of this run.
pub(super) struct Ground {
    member: Member,
    pipe: Pipe,
    prefix: String,
    lease: i64,
    renewing: CancellationToken,
}

/// The folders of runs that are there.
///
/// # Errors
/// When the member does not answer, or refuses.
pub async fn leftovers(member: &Member) -> Result<Vec<Leftover>, BenchError> {
    let pipe = member.pipe().await?;
    find(&pipe).await.map_err(|status| BenchError::refused("look for earlier runs", member, &status))
}

/// Deletes what a run left. Returns how many keys there were.
///
/// # Errors
/// When the member does not answer, or refuses.
pub async fn clear_left(member: &Member, leftover: &Leftover) -> Result<u64, BenchError> {
    let pipe = member.pipe().await?;
    let cleared = clear(&pipe, &leftover.prefix).await;
    cleared.map_err(|status| BenchError::refused("delete what an earlier run wrote", member, &status))
}

/// Defragments a member; it serves nobody meanwhile.
///
/// # Errors
/// When it does not answer, or refuses.
pub async fn defragment(member: &Member) -> Result<(), BenchError> {
    let pipe = member.pipe().await?;
    let answer: Result<HeaderOnly, Status> = pipe.ask(path::DEFRAGMENT, &HeaderOnly { header: None }).await;
    answer.map(drop).map_err(|status| BenchError::refused("defragment", member, &status))
}

async fn find(pipe: &Pipe) -> Result<Vec<Leftover>, Status> {
    let (mut from, end) = (ROOT.as_bytes().to_vec(), range_end(ROOT.as_bytes()));
    let mut found = Vec::new();
    loop {
        let request = RangeRequest {
            key: from.clone(),
            range_end: end.clone(),
            limit: 1,
            keys_only: true,
            ..RangeRequest::default()
        };
        let keys: StoredKeys = pipe.ask(path::RANGE, &request).await?;
        let Some(key) = keys.kvs.first().map(|kv| kv.key.clone()) else { return Ok(found) };
        let below = key.get(ROOT.len()..).unwrap_or_default();
        // A key beside the folders is not one that we made.
        let Some(slash) = below.iter().position(|byte| *byte == b'/') else {
            from = [key.as_ref(), &[0]].concat();
            continue;
        };
        let folder = key.slice(..=ROOT.len() + slash);
        from = range_end(&folder);
        let Ok(prefix) = String::from_utf8(folder.to_vec()) else { continue };
        let mark = [prefix.as_bytes(), MARK.as_bytes()].concat();
        let request = RangeRequest { key: mark, ..RangeRequest::default() };
        let mark: StoredKeys = pipe.ask(path::RANGE, &request).await?;
        let mark = mark.kvs.first().and_then(|kv| serde_json::from_slice(&kv.value).ok());
        found.push(Leftover { prefix, mark });
    }
}

impl Ground {
    /// Makes the folder `{ROOT}{id}/` with its mark.
    pub(super) async fn take(member: &Member, id: &str, mark: &Mark) -> Result<Self, BenchError> {
        let pipe = member.pipe().await?;
        let prefix = format!("{ROOT}{id}/");
        let refused = |status: Status| BenchError::refused("mark the run", member, &status);
        let request = LeaseGrantRequest { ttl: TTL };
        let lease: LeaseResponse = pipe.ask(path::GRANT, &request).await.map_err(refused)?;
        let value = serde_json::to_vec(mark).map_err(|_| BenchError::Bug("a mark is JSON"))?;
        let key = Bytes::from(format!("{prefix}{MARK}"));
        let put = PutRequest { key, value: value.into(), lease: lease.id };
        let _: HeaderOnly = pipe.ask(path::PUT, &put).await.map_err(refused)?;
        let renewing = CancellationToken::new();
        tokio::spawn(renew(member.clone(), lease.id, renewing.clone()));
        Ok(Self { member: member.clone(), pipe, prefix, lease: lease.id, renewing })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Puts every key of `keys` once; `far` is told how many are there. Returns the revision of the first of them.
    pub(super) async fn fill(
        &self,
        keys: &Keys,
        value: &Bytes,
        far: impl Fn(u64),
        stop: &CancellationToken,
    ) -> Result<i64, BenchError> {
        let fitting = PUT_BYTES_AT_ONCE / (keys.total_size() + value.len() + 16).max(1);
        let at_once = u64::try_from(fitting).unwrap_or(u64::MAX).clamp(1, PUTS_AT_ONCE);
        let method = self.pipe.method(path::TXN);
        let mut first = 0;
        for begin in (0..keys.space()).step_by(usize::try_from(at_once).unwrap_or(1)) {
            if stop.is_cancelled() {
                break;
            }
            let puts = (begin..keys.space().min(begin + at_once)).map(|n| {
                RequestOp::from(Op::Put(PutRequest { key: keys.key(n), value: value.clone(), lease: 0 }))
            });
            let request = TxnRequest { success: puts.collect(), ..TxnRequest::default() };
            let answer = self.pipe.call(&method, frame(&request)).await;
            let answer =
                answer.map_err(|status| BenchError::refused("put keys to read", &self.member, &status))?;
            if first == 0 {
                let answer = <TxnResponse as prost::Message>::decode(answer).unwrap_or_default();
                first = answer.header.map_or(0, |header| header.revision);
            }
            far(keys.space().min(begin + at_once));
        }
        Ok(first)
    }

    /// Puts one key; returns the revision.
    pub(super) async fn put(&self, key: Bytes, value: Bytes) -> Result<i64, BenchError> {
        let answer: Result<HeaderOnly, Status> =
            self.pipe.ask(path::PUT, &PutRequest { key, value, lease: 0 }).await;
        let answer =
            answer.map_err(|status| BenchError::refused("put keys to watch", &self.member, &status))?;
        Ok(answer.header.map_or(0, |header| header.revision))
    }

    /// Lets etcd forget what was before `revision`.
    pub(super) async fn compact(&self, revision: i64) -> Result<(), BenchError> {
        let answer: Result<HeaderOnly, Status> =
            self.pipe.ask(path::COMPACT, &CompactRequest { revision, physical: false }).await;
        answer.map(drop).map_err(|status| BenchError::refused("compact", &self.member, &status))
    }

    /// The newest revision.
    pub(super) async fn revision(&self) -> Result<i64, BenchError> {
        let request = RangeRequest {
            key: self.prefix.clone().into_bytes(),
            count_only: true,
            ..RangeRequest::default()
        };
        let answer: Result<StoredKeys, Status> = self.pipe.ask(path::RANGE, &request).await;
        let answer =
            answer.map_err(|status| BenchError::refused("ask for the revision", &self.member, &status))?;
        Ok(answer.header.map_or(0, |header| header.revision))
    }

    /// Deletes everything below `prefix`, a few keys at a time. Returns how many there were.
    pub(super) async fn clear(&self, prefix: &str) -> Result<u64, BenchError> {
        let cleared = clear(&self.pipe, prefix).await;
        cleared.map_err(|status| BenchError::refused("delete what the run wrote", &self.member, &status))
    }

    /// Deletes the run's own folder, the mark last.
    pub(super) async fn leave(self) -> Result<u64, BenchError> {
        let deleted = self.clear(&self.prefix).await?;
        self.renewing.cancel();
        let _: Result<HeaderOnly, Status> = self.pipe.ask(path::REVOKE, &LeaseId { id: self.lease }).await;
        // The mark is none of the load's keys.
        Ok(deleted.saturating_sub(1))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.renewing.cancel();
    }
}

/// The mark comes first in order, and so would go first: it is left for the end, so that what is killed meanwhile is found.
async fn clear(pipe: &Pipe, prefix: &str) -> Result<u64, Status> {
    let end = range_end(prefix.as_bytes());
    let mark = [prefix.as_bytes(), MARK.as_bytes()].concat();
    let mut deleted = 0;
    for (from, end) in [([mark.as_slice(), &[0]].concat(), end.clone()), (prefix.as_bytes().to_vec(), end)] {
        loop {
            let request = RangeRequest {
                key: from.clone(),
                range_end: end.clone(),
                limit: DELETED_AT_ONCE,
                keys_only: true,
                ..RangeRequest::default()
            };
            let keys: StoredKeys = pipe.ask(path::RANGE, &request).await?;
            let Some(last) = keys.kvs.last() else { break };
            let range_end = Bytes::from([last.key.as_ref(), &[0]].concat());
            let request = DeleteRequest { key: from.clone().into(), range_end };
            let gone: DeleteResponse = pipe.ask(path::DELETE, &request).await?;
            deleted += u64::try_from(gone.deleted).unwrap_or(0);
            // Fewer than asked for: they were the last.
            if i64::try_from(keys.kvs.len()).unwrap_or(i64::MAX) < DELETED_AT_ONCE {
                break;
            }
        }
    }
    Ok(deleted)
}

/// Keeps the mark's lease alive on a connection of its own: the load may fill the others.
async fn renew(member: Member, id: i64, stop: CancellationToken) {
    let beat = async {
        loop {
            tokio::time::sleep(RENEW).await;
            let Ok(pipe) = member.pipe().await else { continue };
            let Ok((mut outbox, mut inflow)) = pipe.stream(&pipe.method(path::KEEP_ALIVE)).await else {
                continue;
            };
            if outbox.send(frame(&LeaseId { id })).is_ok() {
                let _ = tokio::time::timeout(RENEW, inflow.next()).await;
            }
        }
    };
    tokio::select! { () = stop.cancelled() => {}, () = beat => {} }
}
