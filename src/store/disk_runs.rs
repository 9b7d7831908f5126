//! What disk checks found: one JSON object per check, the truth, and a row of the table for each of its tests; whose turn it is.

use arrow::array::ArrayRef;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::columns::{Cells, float, instant, plain, text};
use super::key::{self, SequenceKey};
use super::scan::{self, TableRow};
use super::table::Table;
use super::{Store, StoreError, Writer, sequence};
use crate::model::{DiskKind, DiskRow, DiskRun, DiskVerdict};

impl TableRow for DiskRow {
    const TABLE: Table = Table::DiskRuns;

    fn time_ms(&self) -> i64 {
        self.ts_ms
    }

    fn order(&self) -> (String, String, i64, i64) {
        (self.host.clone(), format!("{}\0{}", self.id, self.test), 0, self.ts_ms)
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        vec![
            text(rows.iter().map(|r| Some(r.host.as_str()))),
            plain(rows.iter().map(|r| r.id.as_str())),
            text(rows.iter().map(|r| Some(r.test.as_str()))),
            instant(rows.iter().map(|r| r.ts_ms)),
            text(rows.iter().map(|r| r.cluster.as_ref().map(|cluster| cluster.as_str()))),
            text(rows.iter().map(|r| r.instance.as_ref().map(|instance| instance.as_str()))),
            plain(rows.iter().map(|r| r.directory.as_str())),
            text(rows.iter().map(|r| Some(r.device.as_str()))),
            text(rows.iter().map(|r| Some(r.kind.as_str()))),
            text(rows.iter().map(|r| Some(r.filesystem.as_str()))),
            text(rows.iter().map(|r| Some(r.verdict.as_str()))),
            float(rows.iter().map(|r| r.sync_p50)),
            float(rows.iter().map(|r| r.sync_p95)),
            float(rows.iter().map(|r| r.sync_p99)),
            float(rows.iter().map(|r| r.sync_p999)),
            float(rows.iter().map(|r| r.read_iops)),
            float(rows.iter().map(|r| r.read_bytes_per_second)),
            float(rows.iter().map(|r| r.read_p99)),
            float(rows.iter().map(|r| r.write_iops)),
            float(rows.iter().map(|r| r.write_bytes_per_second)),
            float(rows.iter().map(|r| r.write_p99)),
        ]
    }

    fn of_cells(cells: Cells<'_>) -> Option<Self> {
        Some(Self {
            host: cells.text("host")?.to_owned(),
            id: cells.text("id")?.to_owned(),
            test: cells.text("test")?.to_owned(),
            ts_ms: cells.instant("ts")?,
            cluster: cells.parsed("cluster"),
            instance: cells.parsed("instance"),
            directory: cells.text("directory")?.to_owned(),
            device: cells.text("device").unwrap_or_default().to_owned(),
            kind: DiskKind::parse(cells.text("kind")?)?,
            filesystem: cells.text("filesystem")?.to_owned(),
            verdict: DiskVerdict::parse(cells.text("verdict")?)?,
            sync_p50: cells.float("sync_p50"),
            sync_p95: cells.float("sync_p95"),
            sync_p99: cells.float("sync_p99"),
            sync_p999: cells.float("sync_p999"),
            read_iops: cells.float("read_iops"),
            read_bytes_per_second: cells.float("read_bytes_per_second"),
            read_p99: cells.float("read_p99"),
            write_iops: cells.float("write_iops"),
            write_bytes_per_second: cells.float("write_bytes_per_second"),
            write_p99: cells.float("write_p99"),
        })
    }
}

/// Keeps `run`: its object, then its rows. Repeated, it finds its own.
///
/// # Errors
/// When the store cannot be written.
pub async fn keep(store: &Store, writer: &Writer, now_ms: i64, run: &DiskRun) -> Result<(), StoreError> {
    let key = key::disk_run(&run.host, &run.id);
    let reason =
        |error: serde_json::Error| StoreError::Body { key: key.to_string(), reason: error.to_string() };
    let body = serde_json::to_vec(run).map_err(reason)?;
    store.create(&key, Bytes::from(body)).await?;
    scan::write(store, writer, now_ms, &run.rows()).await.map(drop)
}

/// One check by its machine and id, with everything that is known of it.
///
/// # Errors
/// When the store cannot be read, or the object is none.
pub async fn get(store: &Store, host: &str, id: &str) -> Result<Option<DiskRun>, StoreError> {
    let key = key::disk_run(host, id);
    let Some(body) = store.get(&key).await? else { return Ok(None) };
    let reason =
        |error: serde_json::Error| StoreError::Body { key: key.to_string(), reason: error.to_string() };
    serde_json::from_slice(&body).map(Some).map_err(reason)
}

/// The tests of checks that began with `start_ms <= ts <= end_ms`, oldest first.
///
/// # Errors
/// When a file cannot be read.
pub async fn range(store: &Store, start_ms: i64, end_ms: i64) -> Result<Vec<DiskRow>, StoreError> {
    let mut rows = scan::read::<DiskRow>(store, start_ms, end_ms).await?;
    rows.sort_by(|one, other| (one.ts_ms, &one.id).cmp(&(other.ts_ms, &other.id)));
    Ok(rows)
}

/// Who measures the disk of a member of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The machine, and the name of the process there.
    pub host: String,
    pub process: String,
    /// Until then it is over, whatever became of it; ms since the epoch.
    pub until_ms: i64,
    pub is_over: bool,
}

/// A turn that was taken: what gives it back.
#[derive(Debug)]
pub struct Taken {
    sequence: SequenceKey,
    number: u64,
    turn: Turn,
}

/// Takes the turn of a cluster: one of its disks is measured at a time. The holder's, while it holds it.
///
/// # Errors
/// When the store cannot be written.
pub async fn take_turn(
    store: &Store,
    writer: &Writer,
    cluster: &str,
    turn: Turn,
    now_ms: i64,
    is_gone: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<Result<Taken, Turn>, StoreError> {
    let sequence = SequenceKey::disk_turns(cluster);
    let (number, newest) = sequence::latest::<Turn>(store, &sequence).await?.unwrap_or_default();
    let is_held = number > 0 && !newest.is_over && newest.until_ms > now_ms && !is_gone(&newest.process);
    if is_held {
        return Ok(Err(newest));
    }
    match sequence::append(store, &sequence, number + 1, &turn, writer).await? {
        sequence::Appended::Won => Ok(Ok(Taken { sequence, number: number + 1, turn })),
        _ => {
            let other = sequence::latest::<Turn>(store, &sequence).await?;
            Ok(Err(other.map(|(_, turn)| turn).unwrap_or_default()))
        }
    }
}

/// Gives a turn back.
///
/// # Errors
/// When the store cannot be written; the turn ends by itself then.
pub async fn give_back(store: &Store, writer: &Writer, taken: Taken) -> Result<(), StoreError> {
    let turn = Turn { is_over: true, ..taken.turn };
    sequence::append(store, &taken.sequence, taken.number + 1, &turn, writer).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_one_persons_until_it_is_over_its_time_or_its_process() {
        let store = Store::in_memory();
        let writer = Writer::new(0, 1);
        let turn = |host: &str| Turn {
            host: host.to_owned(),
            process: format!("process of {host}"),
            until_ms: 180_000,
            is_over: false,
        };
        let take = async |host: &str, now_ms: i64, gone: &str| {
            let is_gone = |process: &str| process == gone;
            let taken = take_turn(&store, &writer, "prod", turn(host), now_ms, &is_gone).await;
            taken.expect("the store works").map_err(|turn| turn.host)
        };
        let first = take("a", 0, "").await.expect("free");
        assert_eq!(take("b", 1, "").await.map(drop), Err("a".to_owned()));
        give_back(&store, &writer, first).await.expect("given back");
        take("b", 2, "").await.expect("free again");
        // Its process is gone; its time is over.
        take("c", 3, "process of b").await.expect("nobody holds it");
        assert_eq!(take("d", 4, "").await.map(drop), Err("c".to_owned()));
        take("d", 180_001, "").await.expect("it is over");
    }
}
