//! The job_runs table: the run ledger's ended runs, derived from its JSON objects, which are the truth.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;

use super::columns::{Cells, instant, int, json, plain, text};
use super::scan::{self, TableRow};
use super::table::Table;
use super::{Store, StoreError, ledger};
use crate::model::{JobRun, Outcome};

impl TableRow for JobRun {
    const TABLE: Table = Table::JobRuns;

    fn time_ms(&self) -> i64 {
        self.slot_ms
    }

    fn order(&self) -> (String, String, i64, i64) {
        (self.job.clone(), self.shard.clone(), i64::from(self.attempt), self.slot_ms)
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        let errors: Vec<String> = rows.iter().map(|r| json(&r.errors)).collect();
        vec![
            text(rows.iter().map(|r| Some(r.job.as_str()))),
            text(rows.iter().map(|r| Some(r.shard.as_str()))),
            int(rows.iter().map(|r| Some(i64::from(r.attempt)))),
            instant(rows.iter().map(|r| r.slot_ms)),
            text(rows.iter().map(|r| Some(r.host.as_str()))),
            instant(rows.iter().map(|r| r.started_ms)),
            instant(rows.iter().map(|r| r.ended_ms)),
            text(rows.iter().map(|r| Some(r.outcome.as_str()))),
            plain(rows.iter().map(|r| r.summary.as_str())),
            plain(errors.iter().map(String::as_str)),
        ]
    }

    fn of_cells(cells: Cells<'_>) -> Option<Self> {
        Some(Self {
            job: cells.text("job")?.to_owned(),
            shard: cells.text("shard")?.to_owned(),
            slot_ms: cells.instant("slot")?,
            attempt: u32::try_from(cells.int("attempt")?).ok()?,
            host: cells.text("host")?.to_owned(),
            started_ms: cells.instant("started")?,
            ended_ms: cells.instant("ended")?,
            outcome: Outcome::parse(cells.text("outcome")?)?,
            summary: cells.text("summary")?.to_owned(),
            errors: cells.json("errors")?,
        })
    }
}

/// The runs with `start_ms <= slot <= end_ms`, from the table and from what is not in it yet, sorted by
/// slot, job, shard, attempt.
///
/// # Errors
/// When the table or the ledger cannot be read.
pub async fn range(store: &Store, start_ms: i64, end_ms: i64) -> Result<Vec<JobRun>, StoreError> {
    let mut runs: BTreeMap<_, JobRun> = BTreeMap::new();
    let derived = scan::read::<JobRun>(store, start_ms, end_ms).await?;
    let recent = ledger::since(store, start_ms).await?;
    for run in derived.into_iter().chain(recent).filter(|run| run.slot_ms <= end_ms) {
        runs.insert((run.slot_ms, run.job.clone(), run.shard.clone(), run.attempt), run);
    }
    Ok(runs.into_values().collect())
}
