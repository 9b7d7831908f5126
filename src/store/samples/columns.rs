//! Sorted samples on their way into a record batch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Builder, Int32Array, Int64Builder, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

use super::value::as_exact_integer;
use crate::model::is_stale_marker;
use crate::store::table::Table;

/// The columns of the samples table. Values are settled into their column series by series.
#[derive(Default)]
pub(super) struct Columns {
    cluster: Texts,
    metric: Texts,
    instance: Texts,
    labels: Texts,
    /// Positions of the labels' texts, by address: the texts are shared, so most come many times.
    known_labels: HashMap<usize, i32>,
    ts_ms: Vec<i64>,
    ints: Int64Builder,
    floats: Float64Builder,
}

/// A column of repeated texts.
#[derive(Default)]
struct Texts {
    values: Vec<Arc<str>>,
    /// Positions in `values`.
    known: HashMap<Arc<str>, i32>,
    keys: Vec<i32>,
    current: i32,
}

impl Texts {
    /// Makes `text` the one that [`Texts::repeat`] repeats.
    fn set(&mut self, text: &str) {
        self.current = match self.known.get(text) {
            Some(position) => *position,
            None => {
                let text: Arc<str> = text.into();
                self.values.push(Arc::clone(&text));
                self.known.insert(text, last_of(&self.values));
                last_of(&self.values)
            }
        };
    }

    fn repeat(&mut self, times: usize) {
        self.keys.resize(self.keys.len() + times, self.current);
    }

    fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        self.known.clear();
        let keys = Int32Array::from(std::mem::take(&mut self.keys));
        let values = StringArray::from_iter_values(std::mem::take(&mut self.values));
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(values))?))
    }
}

fn last_of(values: &[Arc<str>]) -> i32 {
    i32::try_from(values.len()).unwrap_or(i32::MAX) - 1
}

impl Columns {
    /// What follows is of this cluster, metric and instance.
    pub(super) fn begin(&mut self, (cluster, metric, instance): (&str, &str, &str)) {
        self.cluster.set(cluster);
        self.metric.set(metric);
        self.instance.set(instance);
    }

    /// One series, in time order.
    pub(super) fn push(&mut self, text: &Arc<str>, samples: &[(i64, f64)]) {
        let values = &mut self.labels.values;
        self.labels.current = *self.known_labels.entry(Arc::as_ptr(text).addr()).or_insert_with(|| {
            values.push(Arc::clone(text));
            last_of(values)
        });
        for column in [&mut self.cluster, &mut self.metric, &mut self.instance, &mut self.labels] {
            column.repeat(samples.len());
        }
        let integers =
            samples.iter().all(|(_, value)| is_stale_marker(*value) || as_exact_integer(*value).is_some());
        for (ts_ms, value) in samples {
            let stale = is_stale_marker(*value);
            self.ts_ms.push(*ts_ms);
            self.ints.append_option(if integers && !stale { as_exact_integer(*value) } else { None });
            self.floats.append_option((!integers && !stale).then_some(*value));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ts_ms.len()
    }

    /// The rows so far, which are no longer here then. The next rows need a `begin`.
    pub(super) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.known_labels.clear();
        let columns: Vec<ArrayRef> = vec![
            self.cluster.take()?,
            self.metric.take()?,
            self.instance.take()?,
            self.labels.take()?,
            Arc::new(TimestampMillisecondArray::from(std::mem::take(&mut self.ts_ms)).with_timezone("UTC")),
            Arc::new(self.ints.finish()),
            Arc::new(self.floats.finish()),
        ];
        RecordBatch::try_new(Table::Samples.schema(), columns)
    }
}
