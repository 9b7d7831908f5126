//! Five-minute aggregates of whole days, and from them those of hours.
//!
//! A day is rolled up once, two hours after it ended; samples that arrive later are in the samples table
//! only. The sample that stands for a bucket is its last one, at its own time, so that `rate` over rollups
//! counts no increase twice.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Builder, Int64Builder, RecordBatch, StringDictionaryBuilder,
    TimestampMillisecondBuilder,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use arrow::error::ArrowError;

use super::feed::feed;
use super::merging::blocking;
use super::{Compacted, Run, Step};
use crate::store::StoreError;
use crate::store::columns::Cells;
use crate::store::file::{Encoder, Provenance};
use crate::store::key::{DAY_MS, Day, HOUR_MS, Key};
use crate::store::merge::Merge;
use crate::store::samples::value_at;
use crate::store::table::{Level, Table, day_key};
use crate::store::visible::TableFile;

impl Run<'_> {
    pub(super) async fn roll_up(&self, done: &mut Compacted) -> Result<(), StoreError> {
        if self.plan.rollup_metrics.is_empty() {
            return Ok(());
        }
        self.roll_up_from(Table::Samples, Table::Rollup5m, done).await?;
        self.roll_up_from(Table::Rollup5m, Table::Rollup1h, done).await
    }

    /// Every day of `source` that is over and that `target` does not have.
    async fn roll_up_from(
        &self,
        source: Table,
        target: Table,
        done: &mut Compacted,
    ) -> Result<(), StoreError> {
        let rolled: HashSet<Day> = self.store.days(target).await?.into_iter().collect();
        for day in self.store.days(source).await? {
            let over = day.start_ms() + DAY_MS + 2 * HOUR_MS <= self.now_ms;
            if !over || rolled.contains(&day) {
                continue;
            }
            let files = self.store.day_files(source, day).await?;
            let sources: Vec<&TableFile> = files.visible().collect();
            // Without a day file the day is not merged yet: its compaction comes first.
            if !files.files.iter().any(|file| file.key.level == Level::Day) {
                continue;
            }
            let key = day_key(target, day, 0);
            (self.on_step)(&Step::Merging { key: key.clone(), sources: sources.len() });
            let (feed, inputs) = feed(self.store, &sources).await?;
            let metrics = Arc::new(self.plan.rollup_metrics.clone());
            let (to, now_ms) = (key.clone(), self.now_ms);
            let rolled = blocking(&key, move || {
                let merge = Merge::over(source, inputs, Some(&metrics))?;
                roll_up_rows((&to, target), (merge, source), now_ms)
            });
            let (body, rows) = rolled.await?;
            feed.finish(&key).await?;
            self.commit(key, body, rows, done).await?;
        }
        Ok(())
    }
}

fn roll_up_rows(
    (key, target): (&Key, Table),
    (mut merge, source): (Merge, Table),
    now_ms: i64,
) -> Result<(bytes::Bytes, u64), StoreError> {
    let failed = |source| StoreError::Arrow { key: key.to_string(), source };
    // A rollup hides nothing, so it names no sources.
    let provenance = Provenance { sources: Vec::new(), merged_ms: Some(now_ms) };
    let mut encoder = Encoder::new(key, target, &provenance)?;
    let mut buckets = Buckets::of(target);
    while let Some(batch) = merge.next_batch()? {
        match source {
            Table::Samples => buckets.add(&batch),
            _ => buckets.add_buckets(&batch),
        }
        .map_err(failed)?;
        if buckets.rows >= 65_536 {
            encoder.write(&buckets.take().map_err(failed)?)?;
        }
    }
    buckets.close().map_err(failed)?;
    encoder.write(&buckets.take().map_err(failed)?)?;
    encoder.finish()
}

/// The bucket being filled.
struct Bucket {
    series: [String; 4],
    start_ms: i64,
    of: Aggregate,
}

/// What became of some samples in a row.
#[derive(Clone, Copy)]
struct Aggregate {
    last_ms: i64,
    last: f64,
    min: f64,
    max: f64,
    sum: f64,
    count: i64,
}

impl Aggregate {
    /// With those that came after them.
    fn and(self, later: Self) -> Self {
        Self {
            min: self.min.min(later.min),
            max: self.max.max(later.max),
            sum: self.sum + later.sum,
            count: self.count + later.count,
            ..later
        }
    }
}

struct Buckets {
    table: Table,
    width_ms: i64,
    open: Option<Bucket>,
    rows: usize,
    text: [StringDictionaryBuilder<Int32Type>; 4],
    times: [TimestampMillisecondBuilder; 2],
    floats: [Float64Builder; 4],
    counts: Int64Builder,
}

const SERIES: [&str; 4] = ["cluster", "metric", "instance", "labels"];

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))
}

impl Buckets {
    fn of(table: Table) -> Self {
        Self {
            table,
            width_ms: table.bucket_ms().unwrap_or(HOUR_MS),
            open: None,
            rows: 0,
            text: Default::default(),
            times: Default::default(),
            floats: Default::default(),
            counts: Int64Builder::default(),
        }
    }

    /// Adds sorted samples. Stale markers and NaN are no part of an aggregate.
    fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let times = column(batch, "ts")?.as_primitive::<TimestampMillisecondType>();
        let ints = column(batch, "value_int")?.as_primitive::<Int64Type>();
        let floats = column(batch, "value")?.as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let value = value_at(ints, floats, row);
            if (ints.is_null(row) && floats.is_null(row)) || value.is_nan() {
                continue;
            }
            let last_ms = times.value(row);
            let one = Aggregate { last_ms, last: value, min: value, max: value, sum: value, count: 1 };
            self.put(Cells { batch, row }, last_ms, one)?;
        }
        Ok(())
    }

    /// Adds sorted buckets that are narrower.
    fn add_buckets(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let [starts, lasts] = [column(batch, "ts")?, column(batch, "last_ts")?]
            .map(|column| column.as_primitive::<TimestampMillisecondType>());
        let [min, max, last, sum] =
            [column(batch, "min")?, column(batch, "max")?, column(batch, "last")?, column(batch, "sum")?]
                .map(|column| column.as_primitive::<Float64Type>());
        let counts = column(batch, "count")?.as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let of = Aggregate {
                last_ms: lasts.value(row),
                last: last.value(row),
                min: min.value(row),
                max: max.value(row),
                sum: sum.value(row),
                count: counts.value(row),
            };
            self.put(Cells { batch, row }, starts.value(row), of)?;
        }
        Ok(())
    }

    fn put(&mut self, cells: Cells<'_>, ts_ms: i64, of: Aggregate) -> Result<(), ArrowError> {
        let series = SERIES.map(|name| cells.text(name).unwrap_or_default());
        let start_ms = ts_ms.div_euclid(self.width_ms) * self.width_ms;
        let same =
            |open: &Bucket| open.start_ms == start_ms && open.series.iter().zip(series).all(|(a, b)| a == b);
        match &mut self.open {
            Some(open) if same(open) => open.of = open.of.and(of),
            _ => {
                self.close()?;
                self.open = Some(Bucket { series: series.map(str::to_owned), start_ms, of });
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), ArrowError> {
        let Some(bucket) = self.open.take() else { return Ok(()) };
        for (column, value) in self.text.iter_mut().zip(&bucket.series) {
            column.append(value)?;
        }
        for (column, ts_ms) in self.times.iter_mut().zip([bucket.start_ms, bucket.of.last_ms]) {
            column.append_value(ts_ms);
        }
        let floats = [bucket.of.min, bucket.of.max, bucket.of.last, bucket.of.sum];
        for (column, value) in self.floats.iter_mut().zip(floats) {
            column.append_value(value);
        }
        self.counts.append_value(bucket.of.count);
        self.rows += 1;
        Ok(())
    }

    /// The closed buckets as a batch.
    fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = Vec::new();
        columns.extend(self.text.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(
            self.times.iter_mut().map(|column| Arc::new(column.finish().with_timezone("UTC")) as ArrayRef),
        );
        columns.extend(self.floats.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.counts.finish()));
        RecordBatch::try_new(self.table.schema(), columns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, compact};
    use super::*;
    use crate::model::Labels;
    use crate::store::samples::{Row, write_segment};
    use crate::store::{Store, Writer, file};

    /// A day in several files of which some came late: what is rolled up from the streams is what is rolled
    /// up from the files whole.
    #[tokio::test]
    async fn a_rollup_of_streams_is_that_of_the_files_in_memory() {
        let store = Store::in_memory();
        let names = ["a", "b", "not_rolled"].map(|name| Labels::from_pairs([("__name__", name)]));
        let writer = Writer::new(1, 1);
        let segment = async |n: i64, start_ms: i64, step_ms: i64| {
            let at = |i: i64| start_ms + i * step_ms;
            let rows: Vec<Row<'_>> = (0..3000)
                .flat_map(|i| names.iter().map(move |labels| (i, labels)))
                .filter(|(i, _)| at(*i) < DAY_MS)
                .map(|(i, labels)| Row {
                    cluster: "c",
                    instance: if i % 2 == 0 { "h:1" } else { "h:2" },
                    labels,
                    ts_ms: at(i),
                    value: if i % 97 == 0 { f64::NAN } else { i as f64 / 3.0 },
                })
                .collect();
            write_segment(&store, &writer, DAY_MS, n.unsigned_abs(), &rows).await.expect("writes");
        };
        segment(1, 0, 20_000).await;
        segment(2, 7_000, 15_000).await;
        compact(&store, &Plan::default(), DAY_MS + HOUR_MS, &|_| ()).await.expect("compacts");
        segment(3, 3_000, 25_000).await;
        let metrics: HashSet<String> = ["a".to_owned(), "b".to_owned()].into();
        let plan = Plan { rollup_metrics: metrics.clone(), ..Plan::default() };
        let day = Day::of(0);
        let key = day_key(Table::Rollup5m, day, 0);
        let now_ms = DAY_MS + 2 * HOUR_MS;
        let run = Run { store: &store, plan: &plan, now_ms, on_step: &|_| () };
        let files = store.day_files(Table::Samples, day).await.expect("lists");
        let sources: Vec<Key> = files.visible().map(|file| file.entry.key.clone()).collect();
        assert!(sources.len() > 1, "{sources:?}");
        let inputs = run.fetch(&sources).await.expect("reads");
        let whole = Merge::open(Table::Samples, inputs, Some(&Arc::new(metrics))).expect("opens");
        let (expected, rows) =
            roll_up_rows((&key, Table::Rollup5m), (whole, Table::Samples), now_ms).expect("rolls up");
        assert!(rows > 500, "{rows}");

        let mut done = Compacted::default();
        run.roll_up(&mut done).await.expect("rolls up");
        let found = store.get(&key).await.expect("reads").expect("is there");
        let batches = |body| {
            let (_, reader) = file::decode(&key, body).expect("decodes");
            let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().expect("decodes");
            arrow::compute::concat_batches(&Table::Rollup5m.schema(), &batches).expect("one schema")
        };
        let fine = batches(expected);
        assert_eq!(batches(found), fine);
        // Hours are those of the same samples.
        let hours_key = day_key(Table::Rollup1h, day, 0);
        let found = batches(store.get(&hours_key).await.expect("reads").expect("is there"));
        assert_eq!(done.rows, rows + found.num_rows() as u64);
        let inputs = run.fetch(&sources).await.expect("reads");
        let metrics: HashSet<String> = ["a".to_owned(), "b".to_owned()].into();
        let whole = Merge::open(Table::Samples, inputs, Some(&Arc::new(metrics))).expect("opens");
        let direct = roll_up_rows((&hours_key, Table::Rollup1h), (whole, Table::Samples), now_ms);
        let direct = batches(direct.expect("rolls up").0);
        assert!(direct.num_rows() * 6 < fine.num_rows());
        for name in
            ["cluster", "metric", "instance", "labels", "ts", "last_ts", "min", "max", "last", "count"]
        {
            assert_eq!(found.column_by_name(name), direct.column_by_name(name), "{name}");
        }
        // Added up in another order.
        let sums = [&found, &direct].map(|batch| {
            let sums = batch.column_by_name("sum").expect("a column").as_primitive::<Float64Type>();
            sums.values().iter().sum::<f64>()
        });
        assert!((sums[0] / sums[1] - 1.0).abs() < 1e-9, "{sums:?}");
    }
}
