//! The run ledger: which run of which job started for which slot, and how it ended.
//!
//! An exclusive job runs only after [`start`] said so. A run that never ended stops blocking when its
//! timeout has passed; then the next attempt may start.

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::key::{self, Key, Prefix, RunMark};
use super::{Create, Store, StoreError, Writer};
use crate::model::JobRun;

/// What a run wants to do.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    pub job: &'a str,
    pub shard: &'a str,
    pub slot_ms: i64,
    /// After this long without an end, another attempt may start.
    pub timeout_ms: i64,
    pub now_ms: i64,
}

/// May it?
#[derive(Debug, Clone, PartialEq)]
pub enum Started {
    /// Run, as this attempt (from 1).
    Run { attempt: u32 },
    /// The slot has an ended run, failed or not.
    Done(Box<JobRun>),
    /// Another attempt is on it until then, at the latest.
    Running { until_ms: i64 },
}

#[derive(Serialize, Deserialize)]
struct StartBody {
    writer: String,
    nonce: u64,
    started_ms: i64,
    timeout_ms: i64,
}

/// Asks for a slot and, if it is free, takes it.
///
/// # Errors
/// When the ledger cannot be read or written.
pub async fn start(store: &Store, writer: &Writer, claim: &Claim<'_>) -> Result<Started, StoreError> {
    let body = StartBody {
        writer: writer.id().to_string(),
        nonce: writer.nonce(),
        started_ms: claim.now_ms,
        timeout_ms: claim.timeout_ms,
    };
    let bytes = to_json("start of a run", &body)?;
    loop {
        let prefix = Prefix::runs_of(claim.job, claim.shard, claim.slot_ms);
        let mut newest_start = 0;
        let mut newest_done = None;
        for entry in store.list(&prefix).await? {
            match key::parse_run(&entry.key) {
                Some((_, attempt, RunMark::Start)) => newest_start = newest_start.max(attempt),
                Some((_, attempt, RunMark::Done)) => {
                    newest_done = newest_done.max(Some((attempt, entry.key)));
                }
                None => {}
            }
        }
        if let Some((_, key)) = newest_done
            && let Some(run) = read::<JobRun>(store, &key).await?
        {
            return Ok(Started::Done(Box::new(run)));
        }
        if newest_start > 0 {
            let key = key::run(claim.job, claim.shard, claim.slot_ms, newest_start, RunMark::Start);
            if let Some(running) = read::<StartBody>(store, &key).await? {
                let until_ms = running.started_ms.saturating_add(running.timeout_ms);
                if claim.now_ms < until_ms {
                    return Ok(Started::Running { until_ms });
                }
            }
        }
        let attempt = newest_start + 1;
        let key = key::run(claim.job, claim.shard, claim.slot_ms, attempt, RunMark::Start);
        if store.create(&key, bytes.clone().into()).await? == Create::Won {
            return Ok(Started::Run { attempt });
        }
    }
}

/// Records how a run ended. A second end of one attempt changes nothing.
///
/// # Errors
/// When the ledger cannot be written.
pub async fn finish(store: &Store, run: &JobRun) -> Result<(), StoreError> {
    let key = key::run(&run.job, &run.shard, run.slot_ms, run.attempt, RunMark::Done);
    store.create(&key, to_json(key.as_str(), run)?.into()).await.map(drop)
}

/// The ended runs with a slot at or after `since_ms`, sorted by job, shard, slot, attempt.
///
/// # Errors
/// When the ledger cannot be read, or holds something else.
pub async fn since(store: &Store, since_ms: i64) -> Result<Vec<JobRun>, StoreError> {
    let keys = done_keys(store, since_ms).await?;
    let found: Vec<Option<JobRun>> = stream::iter(keys)
        .map(|key| async move { read(store, &key).await })
        .buffered(16)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// The newest ended run of every (job, shard) with a slot at or after `since_ms`.
///
/// # Errors
/// As [`since`].
pub async fn latest(store: &Store, since_ms: i64) -> Result<Vec<JobRun>, StoreError> {
    let mut keys = done_keys(store, since_ms).await?;
    let folder = |key: &Key| key.segments().get(..4).map(|parts| parts.join("/"));
    keys.reverse();
    keys.dedup_by_key(|key| folder(key));
    keys.reverse();
    let found: Vec<Option<JobRun>> = stream::iter(keys)
        .map(|key| async move { read(store, &key).await })
        .buffered(16)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Keys of `.done` objects with a slot at or after `since_ms`, sorted.
pub(super) async fn done_keys(store: &Store, since_ms: i64) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    for job in store.folders(&Prefix::runs()).await? {
        for shard in store.folders(&job).await? {
            let after = Key::listed(&format!("{}/{}", shard.as_str(), key::instant(since_ms)));
            let listed = store.list_after(&shard, Some(&after)).await?;
            keys.extend(listed.into_iter().map(|entry| entry.key).filter(|key| {
                key::parse_run(key)
                    .is_some_and(|(slot_ms, _, mark)| slot_ms >= since_ms && mark == RunMark::Done)
            }));
        }
    }
    keys.sort_unstable();
    Ok(keys)
}

/// The run that a `.done` object holds; `None` when it is gone.
pub(super) async fn read<T: serde::de::DeserializeOwned>(
    store: &Store,
    key: &Key,
) -> Result<Option<T>, StoreError> {
    let Some(body) = store.get(key).await? else { return Ok(None) };
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| StoreError::Body { key: key.to_string(), reason: error.to_string() })
}

fn to_json<T: Serialize>(key: &str, body: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(body)
        .map_err(|error| StoreError::Body { key: key.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    fn claim(slot_ms: i64, now_ms: i64) -> Claim<'static> {
        Claim { job: "report", shard: "0", slot_ms, timeout_ms: 1000, now_ms }
    }

    pub(crate) fn run(slot_ms: i64, attempt: u32) -> JobRun {
        JobRun {
            job: "report".to_owned(),
            shard: "0".to_owned(),
            slot_ms,
            attempt,
            host: "cli".to_owned(),
            started_ms: slot_ms,
            ended_ms: slot_ms + 5,
            outcome: Outcome::Done,
            summary: String::new(),
            errors: vec![],
        }
    }

    #[tokio::test]
    async fn one_run_per_slot_and_the_next_attempt_only_after_the_timeout() {
        let store = Store::in_memory();
        let (a, b) = (Writer::new(1, 1), Writer::new(1, 2));
        assert_eq!(
            start(&store, &a, &claim(60_000, 60_001)).await.expect("start"),
            Started::Run { attempt: 1 }
        );
        assert_eq!(
            start(&store, &b, &claim(60_000, 60_500)).await.expect("start"),
            Started::Running { until_ms: 61_001 }
        );
        assert_eq!(
            start(&store, &b, &claim(60_000, 61_001)).await.expect("start"),
            Started::Run { attempt: 2 }
        );
        finish(&store, &run(60_000, 2)).await.expect("finish");
        assert_eq!(
            start(&store, &a, &claim(60_000, 99_000)).await.expect("start"),
            Started::Done(Box::new(run(60_000, 2)))
        );
    }

    #[tokio::test]
    async fn reads_only_recent_runs_and_the_newest_of_each_job() {
        let store = Store::in_memory();
        for slot_ms in [60_000, 120_000, 180_000] {
            finish(&store, &run(slot_ms, 1)).await.expect("finish");
        }
        let slots = |runs: Vec<JobRun>| runs.iter().map(|run| run.slot_ms).collect::<Vec<_>>();
        assert_eq!(slots(since(&store, 120_000).await.expect("read")), [120_000, 180_000]);
        assert_eq!(slots(latest(&store, 0).await.expect("read")), [180_000]);
    }
}
