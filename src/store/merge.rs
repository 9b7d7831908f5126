//! Sorted files of one table into one sorted stream without duplicates.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch, partition, take};
use arrow::datatypes::{Int32Type, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;

use super::StoreError;
use super::file;
use super::key::Key;
use super::table::Table;

/// Rows per batch of the merged stream.
const BATCH_ROWS: usize = 65_536;

/// The batches of one input, checked and given one after another.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// The merged stream. Of rows equal in all sort columns the first input's stays.
pub(super) struct Merge {
    table: Table,
    converter: Arc<RowConverter>,
    cursors: Vec<Cursor>,
    heap: BinaryHeap<Reverse<Position>>,
    last: Option<(Arc<[u8]>, i64)>,
}

/// Where a cursor stands: its row's sort columns, and which cursor.
type Position = (Arc<[u8]>, i64, usize);

struct Cursor {
    key: Key,
    batches: Batches,
    batch: RecordBatch,
    times: Vec<i64>,
    /// The runs of rows of one group that are still to come, with the group's sortable bytes.
    runs: VecDeque<(Range<usize>, Arc<[u8]>)>,
}

impl Cursor {
    fn position(&self, index: usize) -> Option<Position> {
        let (rows, group) = self.runs.front()?;
        Some((Arc::clone(group), self.times.get(rows.start).copied()?, index))
    }

    /// Takes the current row; false when the batch is used up.
    fn advance(&mut self) -> bool {
        if let Some((rows, _)) = self.runs.front_mut() {
            rows.start += 1;
            if rows.start >= rows.end {
                self.runs.pop_front();
            }
        }
        !self.runs.is_empty()
    }

    /// Moves to the next batch with rows; false at the end.
    fn refill(&mut self, table: Table, converter: &RowConverter) -> Result<bool, ArrowError> {
        for batch in self.batches.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.load(table, converter, batch)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn load(&mut self, table: Table, converter: &RowConverter, batch: RecordBatch) -> Result<(), ArrowError> {
        let missing = |name: &str| ArrowError::SchemaError(format!("no column {name}"));
        let groups: Vec<ArrayRef> = table
            .group_columns()
            .iter()
            .map(|name| batch.column_by_name(name).cloned().ok_or_else(|| missing(name)))
            .collect::<Result<_, _>>()?;
        let times = batch
            .column_by_name(table.time_column())
            .and_then(|column| column.as_primitive_opt::<TimestampMillisecondType>())
            .ok_or_else(|| missing(table.time_column()))?;
        let runs = partition(&groups)?.ranges();
        let starts: arrow::array::UInt64Array = runs.iter().map(|run| run.start as u64).collect();
        let heads: Vec<ArrayRef> =
            groups.iter().map(|column| take(column, &starts, None)).collect::<Result<_, _>>()?;
        let rows = converter.convert_columns(&heads)?;
        self.times = times.values().to_vec();
        self.runs =
            runs.into_iter().zip(rows.iter()).map(|(run, row)| (run, Arc::from(row.as_ref()))).collect();
        self.batch = batch;
        Ok(())
    }
}

/// What sorts groups of a table as bytes. One converter for all inputs, or the bytes do not compare.
pub(super) fn converter(table: Table) -> Result<RowConverter, ArrowError> {
    let schema = table.schema();
    let fields = table
        .group_columns()
        .iter()
        .map(|name| Ok(SortField::new(schema.field_with_name(name)?.data_type().clone())))
        .collect::<Result<_, ArrowError>>()?;
    RowConverter::new(fields)
}

/// One input of a merge: the file's key and body.
pub(super) type Input = (Key, Bytes);

impl Merge {
    /// Opens the inputs. With `metrics`, only rows of those metrics come out (for tables of series).
    pub(super) fn open(
        table: Table,
        inputs: Vec<Input>,
        metrics: Option<&Arc<HashSet<String>>>,
    ) -> Result<Self, StoreError> {
        let decoded = inputs.into_iter().map(|(key, body)| {
            let (_, reader) = file::decode(&key, body)?;
            Ok((key, Box::new(reader) as Batches))
        });
        Self::over(table, decoded.collect::<Result<_, StoreError>>()?, metrics)
    }

    /// [`Self::open`] over batches that come from elsewhere than a body in memory.
    pub(super) fn over(
        table: Table,
        inputs: Vec<(Key, Batches)>,
        metrics: Option<&Arc<HashSet<String>>>,
    ) -> Result<Self, StoreError> {
        let arrow = |key: &Key, source| StoreError::Arrow { key: key.to_string(), source };
        let whole = Key::listed(&format!("data/{}", table.as_str()));
        let converter = Arc::new(converter(table).map_err(|source| arrow(&whole, source))?);
        let mut merge = Self { table, converter, cursors: Vec::new(), heap: BinaryHeap::new(), last: None };
        for (key, batches) in inputs {
            let metrics = metrics.cloned();
            let batches: Batches = Box::new(batches.map(move |batch| match &metrics {
                Some(metrics) => only_metrics(&batch?, metrics),
                None => batch,
            }));
            let mut cursor = Cursor {
                key,
                batches,
                batch: RecordBatch::new_empty(table.schema()),
                times: Vec::new(),
                runs: VecDeque::new(),
            };
            if cursor.refill(table, &merge.converter).map_err(|source| arrow(&cursor.key, source))? {
                merge.heap.extend(cursor.position(merge.cursors.len()).map(Reverse));
                merge.cursors.push(cursor);
            }
        }
        Ok(merge)
    }

    /// The next batch, or `None` at the end.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        let mut picked: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
        while picked.len() < BATCH_ROWS {
            let Some(Reverse((group, ts_ms, index))) = self.heap.pop() else { break };
            let Some(cursor) = self.cursors.get_mut(index) else { break };
            let next = self.heap.peek().map(|Reverse((group, ts_ms, _))| (Arc::clone(group), *ts_ms));
            let mut position = Some((group, ts_ms));
            // While this cursor is ahead of all others its rows go out without asking them.
            while let Some((group, ts_ms)) = position.take() {
                if next.as_ref().is_some_and(|next| *next < (Arc::clone(&group), ts_ms))
                    || picked.len() >= BATCH_ROWS
                {
                    self.heap.push(Reverse((group, ts_ms, index)));
                    break;
                }
                let row = cursor.runs.front().map_or(0, |(rows, _)| rows.start);
                if self.last.as_ref() != Some(&(Arc::clone(&group), ts_ms)) {
                    picked.push((index, row));
                    self.last = Some((group, ts_ms));
                }
                if cursor.advance() {
                    position = cursor.position(index).map(|(group, ts_ms, _)| (group, ts_ms));
                }
            }
            if cursor.runs.is_empty() {
                // Its batch is replaced, so what was picked from it must go out first.
                let batch = self.gather(&picked)?;
                self.refill(index)?;
                if batch.as_ref().is_some_and(|batch| batch.num_rows() > 0) {
                    return Ok(batch);
                }
                picked.clear();
            }
        }
        self.gather(&picked)
    }

    fn refill(&mut self, index: usize) -> Result<(), StoreError> {
        let Some(cursor) = self.cursors.get_mut(index) else { return Ok(()) };
        let more = cursor
            .refill(self.table, &self.converter)
            .map_err(|source| StoreError::Arrow { key: cursor.key.to_string(), source })?;
        if more {
            self.heap.extend(cursor.position(index).map(Reverse));
        } else {
            cursor.batch = RecordBatch::new_empty(self.table.schema());
        }
        Ok(())
    }

    fn gather(&self, picked: &[(usize, usize)]) -> Result<Option<RecordBatch>, StoreError> {
        if picked.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.cursors.iter().map(|cursor| &cursor.batch).collect();
        interleave_record_batch(&batches, picked).map(Some).map_err(|source| StoreError::Arrow {
            key: format!("a merge of {} files of {}", self.cursors.len(), self.table.as_str()),
            source,
        })
    }
}

fn only_metrics(batch: &RecordBatch, metrics: &HashSet<String>) -> Result<RecordBatch, ArrowError> {
    let column = batch
        .column_by_name("metric")
        .and_then(|column| column.as_dictionary_opt::<Int32Type>())
        .ok_or_else(|| ArrowError::SchemaError("no column metric".to_owned()))?;
    let wanted: Vec<bool> = column
        .values()
        .as_string::<i32>()
        .iter()
        .map(|name| name.is_some_and(|name| metrics.contains(name)))
        .collect();
    let keep: BooleanArray = column
        .keys()
        .values()
        .iter()
        .map(|key| usize::try_from(*key).ok().and_then(|key| wanted.get(key).copied()))
        .collect();
    filter_record_batch(batch, &keep)
}
