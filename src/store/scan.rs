//! Writing segments of, and reading whole, the small tables: readings, events, job runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};

use super::columns::Cells;
use super::file::{self, Encoder, Provenance};
use super::key::{Day, HOUR_MS, Key};
use super::table::{Table, raw_key};
use super::{Create, Store, StoreError, Writer};

/// How a row of a small table becomes columns, and back.
pub(super) trait TableRow: Sized + Send {
    const TABLE: Table;
    fn time_ms(&self) -> i64;
    /// What sorts rows, with the time last, as the table's columns do.
    fn order(&self) -> (String, String, i64, i64);
    fn columns(rows: &[&Self]) -> Vec<arrow::array::ArrayRef>;
    /// `None` when a cell does not hold what the column promises.
    fn of_cells(cells: Cells<'_>) -> Option<Self>;
}

/// Sorted rows as one batch.
pub(super) fn batch_of<R: TableRow>(key: &Key, rows: &mut Vec<&R>) -> Result<RecordBatch, StoreError> {
    rows.sort_by_cached_key(|row| row.order());
    rows.dedup_by_key(|row| row.order());
    RecordBatch::try_new(R::TABLE.schema(), R::columns(rows))
        .map_err(|source| StoreError::Arrow { key: key.to_string(), source })
}

/// One object per UTC hour of the rows. A repeat with the same arguments finds its own objects.
pub(super) async fn write<R: TableRow>(
    store: &Store,
    writer: &Writer,
    flush_ms: i64,
    rows: &[R],
) -> Result<Vec<Key>, StoreError> {
    let mut hours: BTreeMap<i64, Vec<&R>> = BTreeMap::new();
    for row in rows {
        hours.entry(row.time_ms().div_euclid(HOUR_MS)).or_default().push(row);
    }
    let n = writer.nonce();
    let mut keys = Vec::new();
    for (hour, mut rows) in hours {
        let key = raw_key(R::TABLE, hour * HOUR_MS, flush_ms, &writer.id().to_string(), n);
        let mut encoder = Encoder::new(&key, R::TABLE, &Provenance::default())?;
        encoder.write(&batch_of(&key, &mut rows)?)?;
        match store.create(&key, encoder.finish()?.0).await? {
            Create::Won => keys.push(key),
            Create::Exists(_) => {
                let reason = "this writer used the name for other rows before".to_owned();
                return Err(StoreError::Body { key: key.to_string(), reason });
            }
        }
    }
    Ok(keys)
}

/// Whether a row is wanted, by its cells: what is not is never parsed.
pub(super) type Wanted = Arc<dyn Fn(Cells<'_>) -> bool + Send + Sync>;

/// Every row with `start_ms <= time <= end_ms`, in no promised order, duplicates of overlapping witnesses
/// included.
pub(super) async fn read<R: TableRow + 'static>(
    store: &Store,
    start_ms: i64,
    end_ms: i64,
) -> Result<Vec<R>, StoreError> {
    read_wanted(store, start_ms, end_ms, &(Arc::new(|_: Cells<'_>| true) as Wanted)).await
}

/// [`read`], of the rows that `wanted` lets through.
pub(super) async fn read_wanted<R: TableRow + 'static>(
    store: &Store,
    start_ms: i64,
    end_ms: i64,
    wanted: &Wanted,
) -> Result<Vec<R>, StoreError> {
    let mut tried = 1;
    loop {
        match read_once(store, start_ms, end_ms, wanted).await {
            // A merge or the retention overtook the listing.
            Err(error) if error.is_not_found() && tried < 3 => tried += 1,
            result => return result,
        }
    }
}

async fn read_once<R: TableRow + 'static>(
    store: &Store,
    start_ms: i64,
    end_ms: i64,
    wanted: &Wanted,
) -> Result<Vec<R>, StoreError> {
    let mut keys = Vec::new();
    for day in store.days(R::TABLE).await? {
        if day < Day::of(start_ms) || day > Day::of(end_ms) {
            continue;
        }
        let files = store.day_files(R::TABLE, day).await?;
        keys.extend(
            files
                .visible()
                .filter(|file| file.key.span_ms().0 <= end_ms && file.key.span_ms().1 >= start_ms)
                .map(|file| file.entry.key.clone()),
        );
    }
    let decoded: Vec<Vec<R>> = stream::iter(keys)
        .map(|key| async move {
            let body = store.get_table_file(&key).await?;
            let wanted = Arc::clone(wanted);
            // A task each: files are decoded on all cores.
            let decoded = tokio::spawn(async move { decode::<R>(&key, body, &wanted) }).await;
            decoded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        })
        .buffered(16)
        .try_collect()
        .await?;
    let within = |row: &R| (start_ms..=end_ms).contains(&row.time_ms());
    Ok(decoded.into_iter().flatten().filter(within).collect())
}

fn decode<R: TableRow>(key: &Key, body: bytes::Bytes, wanted: &Wanted) -> Result<Vec<R>, StoreError> {
    let mut rows = Vec::new();
    let (_, batches) = file::decode(key, body)?;
    for batch in batches {
        let batch = batch.map_err(|source| StoreError::Arrow { key: key.to_string(), source })?;
        for row in 0..batch.num_rows() {
            let cells = Cells { batch: &batch, row };
            if wanted(cells) {
                rows.push(R::of_cells(cells).ok_or_else(|| StoreError::Body {
                    key: key.to_string(),
                    reason: format!("row {row} lacks a value or has a malformed one"),
                })?);
            }
        }
    }
    Ok(rows)
}

impl Store {
    /// A whole file that a listing named; its absence is an error that a new listing cures.
    pub(super) async fn get_table_file(&self, key: &Key) -> Result<bytes::Bytes, StoreError> {
        match self.get(key).await? {
            Some(body) => Ok(body),
            None => Err(StoreError::object(
                "read",
                key.as_str(),
                object_store::Error::NotFound {
                    path: key.to_string(),
                    source: "gone since it was listed".into(),
                },
            )),
        }
    }
}
