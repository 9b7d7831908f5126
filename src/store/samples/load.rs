//! Loading the series that PromQL selects.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use arrow::error::ArrowError;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use tokio_util::task::AbortOnDropHandle;

use super::prune::prune;
use super::value_at;
use crate::model::{Label, Labels, METRIC_NAME, Selection, Series, SeriesSet};
use crate::store::key::{Day, Key};
use crate::store::table::Table;
use crate::store::{Store, StoreError};

/// Series from the store, and where they are coarser than what was scraped.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub series: SeriesSet,
    /// Days that are beyond the raw retention: one sample per series and five minutes, the last of each.
    pub rollups: Vec<RollupSpan>,
}

/// A stretch of time answered from a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollupSpan {
    pub start_ms: i64,
    pub end_ms: i64,
    pub resolution_ms: i64,
}

/// Files read at once. Each costs up to three requests.
const FILES_AT_ONCE: usize = 16;

/// How often a listing that changed under the reader is taken anew.
const LISTINGS: usize = 3;

/// Loads every series that fits one of the selections, each with the samples from that selection's time;
/// a series that fits two has both. Labels are those scraped, `cluster`, `instance` and `job="etcd"`;
/// those that a recording rule wrote are its own.
///
/// # Errors
/// [`StoreError::TooManySamples`] above `limit_samples`; else when a file cannot be read.
pub async fn load(
    store: &Store,
    selections: &[Selection],
    limit_samples: usize,
) -> Result<Loaded, StoreError> {
    load_as(store, selections, limit_samples, Detail::Finest).await
}

/// As [`load`], but from the rollup wherever there is one: for trends over weeks, which a sample in five minutes tells
/// as well as twenty.
///
/// # Errors
/// As [`load`].
pub async fn load_coarse(
    store: &Store,
    selections: &[Selection],
    limit_samples: usize,
) -> Result<Loaded, StoreError> {
    load_as(store, selections, limit_samples, Detail::Coarse).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Finest,
    Coarse,
}

async fn load_as(
    store: &Store,
    selections: &[Selection],
    limit_samples: usize,
    detail: Detail,
) -> Result<Loaded, StoreError> {
    let mut tried = 1;
    loop {
        match load_once(store, selections, limit_samples, detail).await {
            // A merge or the retention overtook the listing; the next one leads to the same rows.
            Err(error) if error.is_not_found() && tried < LISTINGS => tried += 1,
            result => return result,
        }
    }
}

struct Task {
    key: Key,
    size_bytes: u64,
    table: Table,
    selections: Vec<Selection>,
}

/// How many samples were read, of how many that may be.
struct Budget {
    count: AtomicUsize,
    limit: usize,
}

impl Budget {
    fn take(&self, samples: usize) -> Result<(), StoreError> {
        if self.count.fetch_add(samples, Ordering::Relaxed) + samples > self.limit {
            return Err(StoreError::TooManySamples { limit: self.limit });
        }
        Ok(())
    }
}

type Samples = BTreeMap<Labels, Points>;

/// Samples of one series, times and values side by side.
#[derive(Default)]
struct Points {
    ts_ms: Vec<i64>,
    values: Vec<f64>,
}

impl Points {
    fn append(&mut self, mut other: Self) {
        self.ts_ms.append(&mut other.ts_ms);
        self.values.append(&mut other.values);
    }

    /// In time order, each instant once.
    fn into_series(self, labels: Labels) -> Series {
        if self.ts_ms.is_sorted_by(|a, b| a < b) {
            return Series { labels, ts_ms: self.ts_ms, values: self.values };
        }
        // Files of one day may overlap in time; days come in order.
        let mut points: Vec<(i64, f64)> = self.ts_ms.into_iter().zip(self.values).collect();
        points.sort_by_key(|(ts_ms, _)| *ts_ms);
        points.dedup_by_key(|(ts_ms, _)| *ts_ms);
        let (ts_ms, values) = points.into_iter().unzip();
        Series { labels, ts_ms, values }
    }
}

async fn load_once(
    store: &Store,
    selections: &[Selection],
    limit_samples: usize,
    detail: Detail,
) -> Result<Loaded, StoreError> {
    let mut rollups = Vec::new();
    let tasks = tasks(store, selections, detail, &mut rollups).await?;
    let budget = Arc::new(Budget { count: AtomicUsize::new(0), limit: limit_samples });
    let names = Arc::new(SeriesNames::new(selections));
    // Tasks of their own: decoding takes longer than fetching, and so it has every core.
    let reads = tasks.into_iter().map(|task| {
        let (store, budget, names) = (store.clone(), Arc::clone(&budget), Arc::clone(&names));
        async move {
            let key = task.key.clone();
            let read = AbortOnDropHandle::new(tokio::spawn(read_file(store, task, budget, names)));
            read.await.unwrap_or_else(|source| {
                Err(StoreError::object("read", key.as_str(), object_store::Error::JoinError { source }))
            })
        }
    });
    let mut reads = stream::iter(reads).buffered(FILES_AT_ONCE);
    let mut samples = Samples::new();
    while let Some(part) = reads.next().await {
        for (labels, points) in part? {
            samples.entry(labels).or_default().append(points);
        }
    }
    let mut loaded = Loaded { series: SeriesSet::default(), rollups };
    for (labels, points) in samples {
        loaded.series.insert(points.into_series(labels));
    }
    Ok(loaded)
}

/// The files to read, days in order; days without samples from the rollup.
async fn tasks(
    store: &Store,
    selections: &[Selection],
    detail: Detail,
    rollups: &mut Vec<RollupSpan>,
) -> Result<Vec<Task>, StoreError> {
    let wanted = |start_ms: i64, end_ms: i64| -> Vec<Selection> {
        selections.iter().filter(|s| s.start_ms <= end_ms && s.end_ms >= start_ms).cloned().collect()
    };
    let mut days: Vec<(Day, Table)> =
        store.days(Table::Samples).await?.into_iter().map(|d| (d, Table::Samples)).collect();
    // The finer first: hours answer where nothing finer is left.
    for rollup in [Table::Rollup5m, Table::Rollup1h] {
        for day in store.days(rollup).await? {
            match days.binary_search_by_key(&day, |(day, _)| *day) {
                Err(at) => days.insert(at, (day, rollup)),
                Ok(at) if detail == Detail::Coarse && rollup == Table::Rollup5m => {
                    if let Some((_, table)) = days.get_mut(at) {
                        *table = rollup;
                    }
                }
                Ok(_) => {}
            }
        }
    }
    days.retain(|(day, _)| !wanted(day.start_ms(), Day(day.0 + 1).start_ms() - 1).is_empty());
    let listings: Vec<_> = days.iter().map(|(day, table)| store.day_files(*table, *day)).collect();
    let listed: Vec<_> = stream::iter(listings).buffered(FILES_AT_ONCE).try_collect().await?;
    let mut tasks = Vec::new();
    for ((day, table), files) in days.iter().zip(&listed) {
        if let Some(resolution_ms) = table.bucket_ms() {
            let (start_ms, end_ms) = (day.start_ms(), Day(day.0 + 1).start_ms() - 1);
            rollups.push(RollupSpan { start_ms, end_ms, resolution_ms });
        }
        for file in files.visible() {
            let (start_ms, end_ms) = file.key.span_ms();
            // What was flushed before the time asked for has none of it: a rule's last minutes are in few of
            // the hour's segments.
            let selections = wanted(start_ms, file.key.flush_ms.unwrap_or(end_ms).min(end_ms));
            if !selections.is_empty() {
                let (key, size_bytes) = (file.entry.key.clone(), file.entry.size_bytes);
                tasks.push(Task { key, size_bytes, table: *table, selections });
            }
        }
    }
    Ok(tasks)
}

async fn read_file(
    store: Store,
    task: Task,
    budget: Arc<Budget>,
    names: Arc<SeriesNames>,
) -> Result<Samples, StoreError> {
    let failed = |source| StoreError::Parquet { key: task.key.to_string(), source };
    let malformed = |source| StoreError::Arrow { key: task.key.to_string(), source };
    let mut reader = store.file_reader(&task.key, task.size_bytes)?;
    let footer = store.footer(&task.key, &mut reader).await?;
    let pruned = prune(&footer, &task.selections).map_err(failed)?;
    if pruned.row_groups.is_empty() {
        return Ok(Samples::new());
    }
    let schema = footer.arrow.parquet_schema();
    let columns: &[&str] = match task.table {
        table if table.bucket_ms().is_some() => {
            &["cluster", "metric", "instance", "labels", "last_ts", "last"]
        }
        _ => &["cluster", "metric", "instance", "labels", "ts", "value_int", "value"],
    };
    let projection = ProjectionMask::columns(schema, columns.iter().copied());
    let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, footer.arrow.clone())
        .with_row_groups(pruned.row_groups)
        .with_batch_size(8192)
        .with_projection(projection);
    if let Some(rows) = pruned.rows {
        builder = builder.with_row_selection(rows);
    }
    let mut batches = builder.build().map_err(failed)?;
    // Rows of other series come along in the pages: decoding their times and values costs less than looking at
    // the series columns twice.
    let mut samples = Samples::new();
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        budget.take(collect(&batch, task.table, &names, &mut samples).map_err(malformed)?)?;
    }
    Ok(samples)
}

/// Adds the batch's samples that lie in the time of a selection that their series fits.
fn collect(
    batch: &RecordBatch,
    table: Table,
    names: &SeriesNames,
    samples: &mut Samples,
) -> Result<usize, ArrowError> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))
    };
    let rollup = table.bucket_ms().is_some();
    let times = column(if rollup { "last_ts" } else { "ts" })?.as_primitive::<TimestampMillisecondType>();
    let floats = column(if rollup { "last" } else { "value" })?.as_primitive::<Float64Type>();
    let no_ints;
    let ints = if rollup {
        no_ints = arrow::array::Int64Array::new_null(batch.num_rows());
        &no_ints
    } else {
        column("value_int")?.as_primitive::<Int64Type>()
    };
    let mut added = 0;
    for (run, series) in names.runs(batch)? {
        let Some((labels, windows)) = series else { continue };
        let run_ms = times.values().get(run.clone()).unwrap_or_default();
        let whole = |(start_ms, end_ms): &(i64, i64)| {
            // Rows of one series are in time order.
            run_ms.first().is_some_and(|first| start_ms <= first)
                && run_ms.last().is_some_and(|last| last <= end_ms)
        };
        let points = samples.entry(labels).or_default();
        let before = points.ts_ms.len();
        if windows.iter().any(whole) {
            points.ts_ms.extend_from_slice(run_ms);
            points.values.extend(run.map(|row| value_at(ints, floats, row)));
        } else {
            for (row, ts_ms) in run.zip(run_ms) {
                if windows.iter().any(|(start_ms, end_ms)| (start_ms..=end_ms).contains(&ts_ms)) {
                    points.ts_ms.push(*ts_ms);
                    points.values.push(value_at(ints, floats, row));
                }
            }
        }
        added += points.ts_ms.len() - before;
    }
    samples.retain(|_, points| !points.ts_ms.is_empty());
    Ok(added)
}

type Windows = Arc<[(i64, i64)]>;

/// Answers which selections a row's series fits, once per series: most files of a load have the same ones.
struct SeriesNames {
    /// Those that demand one metric, by it. Rows of other metrics, which come along in the pages, cost a look here.
    of_metric: HashMap<String, Vec<Selection>>,
    of_any: Vec<Selection>,
    known: RwLock<HashMap<String, Option<(Labels, Windows)>>>,
}

impl SeriesNames {
    fn new(selections: &[Selection]) -> Self {
        let mut names = Self { of_metric: HashMap::new(), of_any: Vec::new(), known: RwLock::default() };
        for selection in selections.iter().cloned() {
            match selection.demanded(METRIC_NAME).map(str::to_owned) {
                Some(metric) => names.of_metric.entry(metric).or_default().push(selection),
                None => names.of_any.push(selection),
            }
        }
        names
    }

    /// The batch's runs of one series, with its labels and the times wanted of it.
    #[expect(clippy::type_complexity, reason = "rows of one series, and that series if it is wanted")]
    fn runs(
        &self,
        batch: &RecordBatch,
    ) -> Result<Vec<(std::ops::Range<usize>, Option<(Labels, Windows)>)>, ArrowError> {
        let columns = ["cluster", "metric", "instance", "labels"]
            .map(|name| batch.column_by_name(name).and_then(|c| c.as_dictionary_opt::<Int32Type>()));
        let [Some(cluster), Some(metric), Some(instance), Some(labels)] = columns else {
            return Err(ArrowError::SchemaError("a series column is missing or no dictionary".to_owned()));
        };
        let columns = [cluster, metric, instance, labels];
        let keys = columns.map(|column| column.keys().values().as_ref());
        let mut runs = Vec::new();
        let mut start = 0;
        while start < batch.num_rows() {
            let end = run_end(&keys, start, batch.num_rows());
            let text = columns.map(|column| {
                let key = column.keys().value(start);
                let values = column.values().as_string::<i32>();
                usize::try_from(key).map_or("", |key| values.value(key))
            });
            runs.push((start..end, self.series(text)?));
            start = end;
        }
        Ok(runs)
    }

    fn series(&self, text: [&str; 4]) -> Result<Option<(Labels, Windows)>, ArrowError> {
        let [cluster, metric, instance, canonical] = text;
        let mut selections = self.of_metric.get(metric).into_iter().flatten().chain(&self.of_any).peekable();
        if selections.peek().is_none() {
            return Ok(None);
        }
        let identity = text.join("\n");
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&identity) {
            return Ok(known.clone());
        }
        let scraped =
            Labels::parse_canonical(canonical).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let mut labels: Vec<Label> = scraped.iter().cloned().collect();
        labels.extend(
            [(METRIC_NAME, metric), ("cluster", cluster), ("instance", instance)]
                .map(|(name, value)| Label::new(name, value)),
        );
        // What a recording rule wrote says its job itself, an empty one too. Quotes within values are escaped.
        if !canonical.starts_with("job=\"") && !canonical.contains(",job=\"") {
            labels.push(Label::new("job", "etcd"));
        }
        let labels = Labels::new(labels);
        let windows: Windows = selections
            .filter(|selection| selection.matches(&labels))
            .map(|selection| (selection.start_ms, selection.end_ms))
            .collect();
        let series = (!windows.is_empty()).then_some((labels, windows));
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(identity, series.clone());
        Ok(series)
    }
}

/// The end of the rows from `start` on that have the same four keys. Looks ahead further the longer the run is: in a
/// segment runs are a row or two, in a day's file thousands.
fn run_end(keys: &[&[i32]; 4], start: usize, rows: usize) -> usize {
    let (mut end, mut ahead) = (start, 4);
    loop {
        let limit = end.saturating_add(ahead).min(rows);
        // Column by column, each over what those before it left.
        let same = keys.iter().fold(limit, |limit, keys| {
            let rows = keys.get(end..limit).unwrap_or_default();
            end + rows.iter().take_while(|key| keys.get(start) == Some(key)).count()
        });
        if same < limit || limit == rows {
            return same;
        }
        (end, ahead) = (limit, ahead * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_any_key_changes() {
        let column = |lengths: &[usize]| -> Vec<i32> {
            lengths.iter().zip(0..).flat_map(|(length, key)| std::iter::repeat_n(key, *length)).collect()
        };
        let columns = [column(&[200]), column(&[4, 96, 100]), column(&[1, 1, 98, 100]), column(&[150, 50])];
        let keys = columns.each_ref().map(Vec::as_slice);
        let mut starts = vec![0];
        while let Some(start) = starts.last().copied().filter(|start| *start < 200) {
            starts.push(run_end(&keys, start, 200));
        }
        assert_eq!(starts, [0, 1, 2, 4, 100, 150, 200]);
    }
}
