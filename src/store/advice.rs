//! What is advised: one sequence per cluster, the truth, and a row of the table for each change of a recommendation.

use arrow::array::ArrayRef;

use super::columns::{Cells, float, instant, int, optional, text};
use super::key::{Prefix, SequenceKey};
use super::scan::{self, TableRow};
use super::sequence::Appended;
use super::table::Table;
use super::{Store, StoreError, Writer, sequence};
use crate::model::{Advice, AdviceArea, AdviceRow, AdviceState, HelpVerdict};

impl TableRow for AdviceRow {
    const TABLE: Table = Table::Advice;

    fn time_ms(&self) -> i64 {
        self.ts_ms
    }

    fn order(&self) -> (String, String, i64, i64) {
        (self.cluster.to_string(), self.rule.clone(), 0, self.ts_ms)
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        vec![
            text(rows.iter().map(|r| Some(r.cluster.as_str()))),
            text(rows.iter().map(|r| Some(r.rule.as_str()))),
            instant(rows.iter().map(|r| r.ts_ms)),
            text(rows.iter().map(|r| Some(r.area.as_str()))),
            text(rows.iter().map(|r| Some(r.state.as_str()))),
            instant(rows.iter().map(|r| r.since_ms)),
            text(rows.iter().map(|r| r.by.as_deref())),
            optional(rows.iter().map(|r| r.note.as_deref())),
            text(rows.iter().map(|r| r.caused_by.as_deref())),
            text(rows.iter().map(|r| r.subject.as_deref())),
            optional(rows.iter().map(|r| r.evidence.as_deref())),
            float(rows.iter().map(|r| r.value)),
            text(rows.iter().map(|r| r.help.map(HelpVerdict::as_str))),
            int(rows.iter().map(|r| r.score.map(i64::from))),
        ]
    }

    fn of_cells(cells: Cells<'_>) -> Option<Self> {
        let owned = |name: &str| cells.text(name).map(str::to_owned);
        let area = cells.text("area")?;
        let help = cells.text("help").and_then(|text| {
            use HelpVerdict::{Helped, NoDifference, Unknown, Worse};
            [Helped, NoDifference, Worse, Unknown].into_iter().find(|verdict| verdict.as_str() == text)
        });
        Some(Self {
            cluster: cells.parsed("cluster")?,
            rule: owned("rule")?,
            ts_ms: cells.instant("ts")?,
            area: AdviceArea::ALL.into_iter().find(|known| known.as_str() == area)?,
            state: AdviceState::parse(cells.text("state")?)?,
            since_ms: cells.instant("since")?,
            by: owned("by"),
            note: owned("note"),
            caused_by: owned("caused_by"),
            subject: owned("subject"),
            evidence: owned("evidence"),
            value: cells.float("value"),
            help,
            score: cells.int("score").and_then(|score| u32::try_from(score).ok()),
        })
    }
}

/// The newest advice for a cluster, with its number; number 0 where there is none.
///
/// # Errors
/// When the store cannot be read.
pub async fn latest(store: &Store, cluster: &str) -> Result<(u64, Option<Advice>), StoreError> {
    let newest = sequence::latest::<Advice>(store, &SequenceKey::advice(cluster)).await?;
    Ok(newest.map_or((0, None), |(number, advice)| (number, Some(advice))))
}

/// The newest advice for every cluster.
///
/// # Errors
/// When the store cannot be read.
pub async fn all(store: &Store) -> Result<Vec<Advice>, StoreError> {
    let newest = sequence::all_latest::<Advice>(store, &Prefix::advice()).await?;
    Ok(newest.into_iter().map(|(_, _, advice)| advice).collect())
}

/// Keeps `advice`, the one after number `number`, and the rows of what changed since `before`. Whether it was kept: another
/// writer may have been before.
///
/// # Errors
/// When the store cannot be written.
pub async fn keep(
    store: &Store,
    writer: &Writer,
    number: u64,
    before: Option<&Advice>,
    advice: &Advice,
) -> Result<bool, StoreError> {
    let sequence = SequenceKey::advice(advice.cluster.as_str());
    match sequence::append(store, &sequence, number + 1, advice, writer).await? {
        Appended::Lost(_) => Ok(false),
        Appended::Won => {
            let rows: Vec<AdviceRow> =
                advice.changes(before).into_iter().map(|item| advice.row(item)).collect();
            scan::write(store, writer, advice.made_ms, &rows).await?;
            Ok(true)
        }
    }
}

/// What changed with `start_ms <= ts <= end_ms`, oldest first.
///
/// # Errors
/// When a file cannot be read.
pub async fn range(store: &Store, start_ms: i64, end_ms: i64) -> Result<Vec<AdviceRow>, StoreError> {
    let mut rows = scan::read::<AdviceRow>(store, start_ms, end_ms).await?;
    rows.sort_by_key(|row| (row.ts_ms, row.order()));
    Ok(rows)
}
