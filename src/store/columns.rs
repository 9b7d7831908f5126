//! Rows to columns and back, for the tables that are read whole.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    StringDictionaryBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) fn text<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    for value in values {
        builder.append_option(value);
    }
    Arc::new(builder.finish())
}

pub(super) fn plain<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Texts that hardly ever repeat, where some are missing.
pub(super) fn optional<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(super) fn int(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

pub(super) fn float(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

/// Counters of etcd are u64 on the wire and far below 2^63 in life.
pub(super) fn unsigned(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    int(values.map(|value| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))))
}

pub(super) fn flag(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.collect::<BooleanArray>())
}

pub(super) fn instant(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(values).with_timezone("UTC"))
}

/// JSON text of a list or object: the form of nested data in a table.
pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// One row of a batch, cell by cell. A missing column reads like an empty one, so that a file without a
/// column that came later stays readable.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) row: usize,
}

impl<'a> Cells<'a> {
    fn column(self, name: &str) -> Option<&'a ArrayRef> {
        self.batch.column_by_name(name).filter(|column| column.is_valid(self.row))
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        let column = self.column(name)?;
        if matches!(column.data_type(), DataType::Utf8) {
            return Some(column.as_string::<i32>().value(self.row));
        }
        let dictionary = column.as_dictionary_opt::<Int32Type>()?;
        let key = usize::try_from(dictionary.keys().value(self.row)).ok()?;
        Some(dictionary.values().as_string_opt::<i32>()?.value(key))
    }

    pub(super) fn parsed<T: std::str::FromStr>(self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn json<T: DeserializeOwned>(self, name: &str) -> Option<T> {
        serde_json::from_str(self.text(name)?).ok()
    }

    pub(super) fn int(self, name: &str) -> Option<i64> {
        Some(self.column(name)?.as_primitive_opt::<Int64Type>()?.value(self.row))
    }

    pub(super) fn float(self, name: &str) -> Option<f64> {
        Some(self.column(name)?.as_primitive_opt::<Float64Type>()?.value(self.row))
    }

    pub(super) fn unsigned(self, name: &str) -> Option<u64> {
        u64::try_from(self.int(name)?).ok()
    }

    pub(super) fn flag(self, name: &str) -> Option<bool> {
        Some(self.column(name)?.as_boolean_opt()?.value(self.row))
    }

    pub(super) fn instant(self, name: &str) -> Option<i64> {
        Some(self.column(name)?.as_primitive_opt::<TimestampMillisecondType>()?.value(self.row))
    }
}
