//! What benchmarks found: one JSON object per run, the truth, and a row of the table for each part of it.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::columns::{Cells, flag, float, instant, int, plain, text, unsigned};
use super::key::{self, Prefix, SequenceKey};
use super::scan::{self, TableRow};
use super::table::Table;
use super::{Key, Store, StoreError, Writer, sequence};
use crate::model::{BenchOutcome, BenchRow, BenchRun};

impl TableRow for BenchRow {
    const TABLE: Table = Table::BenchRuns;

    fn time_ms(&self) -> i64 {
        self.ts_ms
    }

    fn order(&self) -> (String, String, i64, i64) {
        (self.cluster.to_string(), format!("{}\0{}", self.id, self.part), 0, self.ts_ms)
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        vec![
            text(rows.iter().map(|r| Some(r.cluster.as_str()))),
            plain(rows.iter().map(|r| r.id.as_str())),
            text(rows.iter().map(|r| Some(r.part.as_str()))),
            instant(rows.iter().map(|r| r.ts_ms)),
            text(rows.iter().map(|r| r.profile.as_deref())),
            text(rows.iter().map(|r| Some(r.operation.as_str()))),
            text(rows.iter().map(|r| Some(r.signature.as_str()))),
            plain(rows.iter().map(|r| r.command.as_str())),
            text(rows.iter().map(|r| Some(r.outcome.as_str()))),
            text(rows.iter().map(|r| r.version.as_deref())),
            flag(rows.iter().map(|r| Some(r.is_paced))),
            unsigned(rows.iter().map(|r| Some(r.ok))),
            unsigned(rows.iter().map(|r| Some(r.failed))),
            float(rows.iter().map(|r| Some(r.seconds))),
            float(rows.iter().map(|r| Some(r.rate))),
            float(rows.iter().map(|r| Some(r.average))),
            float(rows.iter().map(|r| r.p50)),
            float(rows.iter().map(|r| r.p90)),
            float(rows.iter().map(|r| r.p99)),
            float(rows.iter().map(|r| r.p999)),
            float(rows.iter().map(|r| Some(r.slowest))),
            float(rows.iter().map(|r| r.uncorrected_p99)),
            float(rows.iter().map(|r| r.fsync_p99)),
            float(rows.iter().map(|r| r.commit_p99)),
            int(rows.iter().map(|r| i64::try_from(r.leader_changes).ok().or(Some(i64::MAX)))),
        ]
    }

    fn of_cells(cells: Cells<'_>) -> Option<Self> {
        Some(Self {
            cluster: cells.parsed("cluster")?,
            id: cells.text("id")?.to_owned(),
            part: cells.text("part")?.to_owned(),
            ts_ms: cells.instant("ts")?,
            profile: cells.text("profile").map(str::to_owned),
            operation: cells.text("operation")?.to_owned(),
            signature: cells.text("signature")?.to_owned(),
            command: cells.text("command")?.to_owned(),
            outcome: BenchOutcome::parse(cells.text("outcome")?)?,
            version: cells.text("version").map(str::to_owned),
            is_paced: cells.flag("paced")?,
            ok: cells.unsigned("ok")?,
            failed: cells.unsigned("failed")?,
            seconds: cells.float("seconds")?,
            rate: cells.float("rate")?,
            average: cells.float("average")?,
            p50: cells.float("p50"),
            p90: cells.float("p90"),
            p99: cells.float("p99"),
            p999: cells.float("p999"),
            slowest: cells.float("slowest")?,
            uncorrected_p99: cells.float("uncorrected_p99"),
            fsync_p99: cells.float("fsync_p99"),
            commit_p99: cells.float("commit_p99"),
            leader_changes: cells.unsigned("leader_changes")?,
        })
    }
}

/// Keeps `run`: its object, then its rows. Repeated, it finds its own.
///
/// # Errors
/// When the store cannot be written.
pub async fn keep(store: &Store, writer: &Writer, now_ms: i64, run: &BenchRun) -> Result<(), StoreError> {
    let key = key::bench_run(run.cluster.as_str(), &run.id);
    let reason =
        |error: serde_json::Error| StoreError::Body { key: key.to_string(), reason: error.to_string() };
    let body = serde_json::to_vec(run).map_err(reason)?;
    store.create(&key, Bytes::from(body)).await?;
    scan::write(store, writer, now_ms, &run.rows()).await.map(drop)
}

/// One run by its id, with everything that is known of it.
///
/// # Errors
/// When the store cannot be read, or the object is none.
pub async fn get(store: &Store, cluster: &str, id: &str) -> Result<Option<BenchRun>, StoreError> {
    let key = key::bench_run(cluster, id);
    let Some(body) = store.get(&key).await? else { return Ok(None) };
    let reason =
        |error: serde_json::Error| StoreError::Body { key: key.to_string(), reason: error.to_string() };
    serde_json::from_slice(&body).map(Some).map_err(reason)
}

/// The ids of all runs of one cluster, or of all clusters, oldest first.
///
/// # Errors
/// When the store cannot be listed.
pub async fn ids(store: &Store, cluster: Option<&str>) -> Result<Vec<String>, StoreError> {
    let prefix = cluster.map_or_else(Prefix::bench_runs, Prefix::bench_runs_of);
    let entries = store.list(&prefix).await?;
    let mut ids: Vec<String> = entries.iter().map(|entry| Key::name(&entry.key).to_owned()).collect();
    ids.sort();
    Ok(ids)
}

/// The parts of runs that began with `start_ms <= ts <= end_ms`, oldest first.
///
/// # Errors
/// When a file cannot be read.
pub async fn range(store: &Store, start_ms: i64, end_ms: i64) -> Result<Vec<BenchRow>, StoreError> {
    let mut rows = scan::read::<BenchRow>(store, start_ms, end_ms).await?;
    rows.sort_by(|one, other| (one.ts_ms, &one.id).cmp(&(other.ts_ms, &other.id)));
    Ok(rows)
}

/// From which run on those of a kind are compared: its id, by signature.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baselines {
    pub since: BTreeMap<String, String>,
}

/// The baselines of one cluster.
///
/// # Errors
/// When the store cannot be read.
pub async fn baselines(store: &Store, cluster: &str) -> Result<Baselines, StoreError> {
    let newest = sequence::latest::<Baselines>(store, &SequenceKey::baselines(cluster)).await?;
    Ok(newest.map(|(_, baselines)| baselines).unwrap_or_default())
}

/// Compares runs of a kind from run `id` on.
///
/// # Errors
/// When the store cannot be written, or others change baselines all the time.
pub async fn set_baseline(
    store: &Store,
    writer: &Writer,
    cluster: &str,
    signature: &str,
    id: &str,
) -> Result<(), StoreError> {
    let sequence = SequenceKey::baselines(cluster);
    for _ in 0..8 {
        let (number, mut baselines) =
            sequence::latest::<Baselines>(store, &sequence).await?.unwrap_or_default();
        baselines.since.insert(signature.to_owned(), id.to_owned());
        let appended = sequence::append(store, &sequence, number + 1, &baselines, writer).await?;
        if matches!(appended, sequence::Appended::Won) {
            return Ok(());
        }
    }
    Err(StoreError::Moving { key: sequence.name().to_owned() })
}
