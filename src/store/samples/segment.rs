//! Writing samples as they come: one segment per flush and hour.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringDictionaryBuilder, TimestampMillisecondBuilder,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

use super::value::as_exact_integer;
use crate::model::{Labels, METRIC_NAME, is_stale_marker};
use crate::store::file::{Encoder, Provenance};
use crate::store::key::{HOUR_MS, Key};
use crate::store::table::{Table, raw_key};
use crate::store::{Create, Store, StoreError, Writer};

/// One sample to write.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub cluster: &'a str,
    pub instance: &'a str,
    /// The series, with `__name__`. `cluster`, `instance` and `job` are not repeated in the file.
    pub labels: &'a Labels,
    /// The scrape's start, ms since the epoch, UTC.
    pub ts_ms: i64,
    /// The stale marker ends the series.
    pub value: f64,
}

struct Line<'a> {
    cluster: &'a str,
    metric: &'a str,
    instance: &'a str,
    labels: String,
    ts_ms: i64,
    value: f64,
}

/// Writes a flush as the writer's `n`th; rows may come in any order. One object per UTC hour of the rows,
/// mostly one. Of two rows with one series and time the later in `rows` stays. A repeat with the same
/// arguments finds its own objects and succeeds.
///
/// # Errors
/// When the store cannot be written; objects of other hours may have been.
pub async fn write_segment(
    store: &Store,
    writer: &Writer,
    flush_ms: i64,
    n: u64,
    rows: &[Row<'_>],
) -> Result<Vec<Key>, StoreError> {
    // Readers skip segments flushed before the time they ask for, so a name must not be older than its rows.
    let flush_ms = rows.iter().map(|row| row.ts_ms).fold(flush_ms, i64::max);
    let mut lines: Vec<Line<'_>> = rows.iter().map(line).collect();
    lines.sort_by(|a, b| (a.ts_ms / HOUR_MS, identity(a)).cmp(&(b.ts_ms / HOUR_MS, identity(b))));
    let mut files = Vec::new();
    for hour in lines.chunk_by(|a, b| a.ts_ms / HOUR_MS == b.ts_ms / HOUR_MS) {
        let Some(first) = hour.first() else { continue };
        let key = raw_key(Table::Samples, first.ts_ms, flush_ms, &writer.id().to_string(), n);
        let batch = batch_of(hour).map_err(|source| StoreError::Arrow { key: key.to_string(), source })?;
        let mut encoder = Encoder::new(&key, Table::Samples, &Provenance::default())?;
        encoder.write(&batch)?;
        files.push((key, encoder.finish()?.0));
    }
    let mut keys = Vec::with_capacity(files.len());
    for (key, body) in files {
        if let Create::Exists(_) = store.create(&key, body).await? {
            return Err(StoreError::Body {
                key: key.to_string(),
                reason: "this writer used the number for other rows before".to_owned(),
            });
        }
        keys.push(key);
    }
    Ok(keys)
}

fn line<'a>(row: &Row<'a>) -> Line<'a> {
    Line {
        cluster: row.cluster,
        metric: row.labels.metric_name(),
        instance: row.instance,
        labels: row.labels.without(&[METRIC_NAME, "cluster", "instance", "job"]).canonical(),
        ts_ms: row.ts_ms,
        value: row.value,
    }
}

type Identity<'a> = (&'a str, &'a str, &'a str, &'a str, i64);

fn identity<'a>(line: &'a Line<'_>) -> Identity<'a> {
    (line.cluster, line.metric, line.instance, &line.labels, line.ts_ms)
}

/// Sorted lines as columns; of equal ones the last.
fn batch_of(lines: &[Line<'_>]) -> Result<RecordBatch, ArrowError> {
    let mut text: [StringDictionaryBuilder<Int32Type>; 4] = Default::default();
    let mut times = TimestampMillisecondBuilder::new().with_timezone("UTC");
    let mut ints = Int64Builder::new();
    let mut floats = Float64Builder::new();
    for same in lines.chunk_by(|a, b| identity(a) == identity(b)) {
        let Some(line) = same.last() else { continue };
        for (column, value) in text.iter_mut().zip([line.cluster, line.metric, line.instance, &line.labels]) {
            column.append(value)?;
        }
        times.append_value(line.ts_ms);
        let int = as_exact_integer(line.value);
        ints.append_option(int);
        floats.append_option((int.is_none() && !is_stale_marker(line.value)).then_some(line.value));
    }
    let mut columns: Vec<ArrayRef> =
        text.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
    columns.push(Arc::new(times.finish()));
    columns.push(Arc::new(ints.finish()));
    columns.push(Arc::new(floats.finish()));
    RecordBatch::try_new(Table::Samples.schema(), columns)
}
