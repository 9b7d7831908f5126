//! One value in two columns: integers apart from floats, because each compresses with its own encoding.
//!
//! `value_int` holds finite integers that an f64 holds exactly, `value` everything else; neither means the
//! stale marker. Within a run of one series all values are in one column. `docs/decisions/0004` has the
//! measurement.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Builder, Int64Builder, RecordBatch};
use arrow::compute::partition;
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::error::ArrowError;

use crate::model::stale_marker;

/// Integers up to here are exact in an f64.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The integer that stands for `value`, if one does. Negative zero is not an integer: its sign would go.
pub(super) fn as_exact_integer(value: f64) -> Option<i64> {
    let whole =
        value.abs() <= EXACT_MAX && value.fract() == 0.0 && !(value == 0.0 && value.is_sign_negative());
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    whole.then_some(value as i64)
}

/// A row's value as Prometheus has it, the stale marker for a row without one.
pub(in crate::store) fn value_at(
    ints: &arrow::array::Int64Array,
    floats: &arrow::array::Float64Array,
    row: usize,
) -> f64 {
    if ints.is_valid(row) {
        #[expect(clippy::cast_precision_loss, reason = "at most 2^53, see as_exact_integer")]
        let value = ints.value(row) as f64;
        value
    } else if floats.is_valid(row) {
        floats.value(row)
    } else {
        stale_marker()
    }
}

/// Puts every series' values of a sorted batch into one of the two columns: into the floats as soon as one
/// of them is no integer. A change of column in mid-series costs more than it saves.
pub(in crate::store) fn settle_values(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| ArrowError::SchemaError(format!("samples have no column {name}")))
    };
    let series: Vec<ArrayRef> = ["cluster", "metric", "instance", "labels"]
        .into_iter()
        .map(|name| column(name).cloned())
        .collect::<Result<_, _>>()?;
    let ints = column("value_int")?.as_primitive::<Int64Type>();
    let floats = column("value")?.as_primitive::<Float64Type>();
    let mut int_column = Int64Builder::with_capacity(batch.num_rows());
    let mut float_column = Float64Builder::with_capacity(batch.num_rows());
    for run in partition(&series)?.ranges() {
        let stale = |row: &usize| ints.is_null(*row) && floats.is_null(*row);
        let all_integers = run
            .clone()
            .filter(|row| !stale(row))
            .all(|row| ints.is_valid(row) || as_exact_integer(floats.value(row)).is_some());
        for row in run {
            let value = value_at(ints, floats, row);
            let is_stale = stale(&row);
            let int = if all_integers && !is_stale { as_exact_integer(value) } else { None };
            int_column.append_option(int);
            float_column.append_option((!is_stale && int.is_none()).then_some(value));
        }
    }
    let columns = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| -> ArrayRef {
            match field.name().as_str() {
                "value_int" => Arc::new(int_column.finish()),
                "value" => Arc::new(float_column.finish()),
                _ => Arc::clone(column),
            }
        })
        .collect();
    RecordBatch::try_new(batch.schema(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_integers_count_as_integers() {
        for (value, expected) in [
            (0.0, Some(0)),
            (-0.0, None),
            (-3.0, Some(-3)),
            (0.5, None),
            (EXACT_MAX, Some(1 << 53)),
            (EXACT_MAX * 2.0, None),
            (f64::INFINITY, None),
            (f64::NAN, None),
        ] {
            assert_eq!(as_exact_integer(value), expected, "{value}");
        }
    }
}
