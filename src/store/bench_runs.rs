//! What benchmarks found: one JSON object per run, the truth; the table is made of them.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::key::{self, Prefix};
use super::{Store, StoreError};
use crate::model::BenchRun;

/// Objects read at once.
const AT_ONCE: usize = 16;

/// A new run's id: sorts by time, and short enough to be typed. `unique` tells two of one second apart.
pub fn id(now_ms: i64, unique: u128) -> String {
    let time = key::instant(now_ms);
    // Seconds are enough for people: 20261124T051033.
    let seconds = time.get(..15).unwrap_or(&time);
    let letters = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let tail: String = (0..6)
        .map(|n| {
            let digit = usize::try_from((unique >> (5 * n)) & 31).unwrap_or(0);
            letters.get(digit).map_or('0', |letter| char::from(*letter))
        })
        .collect();
    format!("{seconds}-{tail}")
}

/// Keeps `run`. One that is there already is the same.
///
/// # Errors
/// When the store cannot be written.
pub async fn keep(store: &Store, run: &BenchRun) -> Result<(), StoreError> {
    let key = key::bench_run(run.cluster.as_str(), &run.id);
    let reason =
        |error: serde_json::Error| StoreError::Body { key: key.to_string(), reason: error.to_string() };
    let body = serde_json::to_vec(run).map_err(reason)?;
    store.create(&key, Bytes::from(body)).await.map(drop)
}

/// The runs of one cluster, or of all, oldest first. Objects that are none are left out: a newer version may have written them.
///
/// # Errors
/// When the store cannot be read.
pub async fn all(store: &Store, cluster: Option<&str>) -> Result<Vec<BenchRun>, StoreError> {
    let prefix = cluster.map_or_else(Prefix::bench_runs, Prefix::bench_runs_of);
    let entries = store.list(&prefix).await?;
    let mut runs: Vec<BenchRun> = stream::iter(entries)
        .map(|entry| async move {
            let body = store.get(&entry.key).await?;
            Ok::<_, StoreError>(body.and_then(|body| serde_json::from_slice(&body).ok()))
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|run| async move { Ok(run) })
        .try_collect()
        .await?;
    runs.sort_by(|one: &BenchRun, other| (&one.id, &one.cluster).cmp(&(&other.id, &other.cluster)));
    Ok(runs)
}
