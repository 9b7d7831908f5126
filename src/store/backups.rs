//! The backups table: what became of every copy of every backup. Manifests and verdicts at the destinations are the truth.

use arrow::array::ArrayRef;

use super::columns::{Cells, flag, instant, int, json, plain, text, unsigned};
use super::key::Key;
use super::scan::{self, TableRow};
use super::table::Table;
use super::{Store, StoreError, Writer};
use crate::model::{BackupCopy, BackupRow, BackupStanding};

impl TableRow for BackupRow {
    const TABLE: Table = Table::Backups;

    fn time_ms(&self) -> i64 {
        self.ts_ms
    }

    fn order(&self) -> (String, String, i64, i64) {
        (self.cluster.to_string(), format!("{}\0{}", self.copy.at, self.copy.id), 0, self.ts_ms)
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        let why: Vec<String> = rows.iter().map(|r| json(&r.copy.why)).collect();
        vec![
            text(rows.iter().map(|r| Some(r.cluster.as_str()))),
            text(rows.iter().map(|r| Some(r.copy.at.as_str()))),
            plain(rows.iter().map(|r| r.copy.id.as_str())),
            instant(rows.iter().map(|r| r.ts_ms)),
            flag(rows.iter().map(|r| Some(r.copy.is_external))),
            flag(rows.iter().map(|r| Some(r.is_gone))),
            flag(rows.iter().map(|r| Some(r.copy.is_condemned))),
            instant(rows.iter().map(|r| r.copy.finished_ms)),
            unsigned(rows.iter().map(|r| Some(r.copy.bytes))),
            unsigned(rows.iter().map(|r| r.copy.stored_bytes)),
            int(rows.iter().map(|r| r.copy.revision)),
            flag(rows.iter().map(|r| Some(r.copy.is_encrypted))),
            text(rows.iter().map(|r| Some(r.copy.state.as_str()))),
            text(rows.iter().map(|r| r.copy.level.as_deref())),
            text(why.iter().map(|why| Some(why.as_str()))),
            int(rows.iter().map(|r| r.copy.recovery_ms)),
        ]
    }

    fn of_cells(cells: Cells<'_>) -> Option<Self> {
        Some(Self {
            cluster: cells.parsed("cluster")?,
            ts_ms: cells.instant("ts")?,
            is_gone: cells.flag("gone")?,
            copy: BackupCopy {
                id: cells.text("id")?.to_owned(),
                at: cells.text("at")?.to_owned(),
                is_external: cells.flag("external")?,
                finished_ms: cells.instant("finished")?,
                bytes: cells.unsigned("bytes")?,
                stored_bytes: cells.unsigned("stored_bytes"),
                change: None,
                revision: cells.int("revision"),
                is_encrypted: cells.flag("encrypted")?,
                is_condemned: cells.flag("condemned")?,
                state: BackupStanding::parse(cells.text("state")?)?,
                level: cells.text("level").map(str::to_owned),
                why: cells.json("why")?,
                looked_ms: None,
                recovery_ms: cells.int("recovery_ms"),
            },
        })
    }
}

/// Writes rows.
///
/// # Errors
/// When the store cannot be written.
pub async fn write(
    store: &Store,
    writer: &Writer,
    flush_ms: i64,
    rows: &[BackupRow],
) -> Result<Vec<Key>, StoreError> {
    scan::write(store, writer, flush_ms, rows).await
}

/// What was seen with `start_ms <= ts <= end_ms`, oldest first.
///
/// # Errors
/// When a file cannot be read.
pub async fn range(store: &Store, start_ms: i64, end_ms: i64) -> Result<Vec<BackupRow>, StoreError> {
    let mut rows = scan::read::<BackupRow>(store, start_ms, end_ms).await?;
    rows.sort_by_key(|row| (row.ts_ms, row.order()));
    Ok(rows)
}
