//! Intermediate results: rows of values, one per instant of the grid.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::EvalError;
use crate::model::{Labels, Series, is_stale_marker, stale_marker};
use crate::promql::plan::Grid;

/// Stands for "no sample at this instant". Selectors drop stale markers, so no value has these bits.
pub(super) fn absent() -> f64 {
    stale_marker()
}

pub(super) fn is_absent(value: f64) -> bool {
    is_stale_marker(value)
}

/// One series of an instant vector over the whole grid.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) labels: Labels,
    /// As many as the grid has steps, [`absent`] where the vector has no such element.
    pub(super) values: Vec<f64>,
}

impl Row {
    /// Replaces every value that is there.
    pub(super) fn map(&mut self, mut function: impl FnMut(f64) -> f64) {
        for value in self.values.iter_mut().filter(|value| !is_absent(**value)) {
            *value = function(*value);
        }
    }

    /// `None` when the row has no value at all.
    pub(super) fn into_series(self, grid: &Grid) -> Option<Series> {
        if !self.values.iter().any(|value| is_absent(*value)) {
            let series =
                Series { labels: self.labels, ts_ms: grid.instants().collect(), values: self.values };
            return (!series.is_empty()).then_some(series);
        }
        let mut series = Series::new(self.labels);
        for (at_ms, value) in grid.instants().zip(self.values).filter(|(_, value)| !is_absent(*value)) {
            series.push(at_ms, value);
        }
        (!series.is_empty()).then_some(series)
    }
}

/// What a node evaluates to.
#[derive(Debug)]
pub(super) enum Computed {
    /// One value per instant.
    Scalar(Vec<f64>),
    Rows(Vec<Row>),
    Text(String),
}

impl Computed {
    /// How many values it holds.
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Scalar(values) => values.len(),
            Self::Rows(rows) => rows.iter().map(|row| row.values.len()).sum(),
            Self::Text(_) => 0,
        }
    }

    /// Spreads the one instant it was computed for over `steps` instants.
    pub(super) fn repeat(&mut self, steps: usize) {
        let spread = |values: &mut Vec<f64>| {
            let value = values.first().copied().unwrap_or_else(absent);
            values.clear();
            values.resize(steps, value);
        };
        match self {
            Self::Scalar(values) => spread(values),
            Self::Rows(rows) => rows.iter_mut().for_each(|row| spread(&mut row.values)),
            Self::Text(_) => {}
        }
    }
}

/// Joins rows that have become equal in labels. At no instant may two of them have a value.
pub(super) fn merge_equal(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    if rows.len() < 2 {
        return Ok(rows);
    }
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        match places.entry(row.labels.clone()) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(row);
            }
            Entry::Occupied(place) => {
                let there = merged.get_mut(*place.get());
                for (a, b) in there.into_iter().flat_map(|there| there.values.iter_mut()).zip(row.values) {
                    if is_absent(*a) {
                        *a = b;
                    } else if !is_absent(b) {
                        return Err(EvalError::DuplicateLabels { labels: row.labels });
                    }
                }
            }
        }
    }
    Ok(merged)
}

/// Fails when two rows have equal labels, even if no instant has both: what range functions and the minus
/// sign demand of series whose name they drop.
pub(super) fn refuse_equal(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    let mut seen = HashSet::with_capacity(rows.len());
    match rows.iter().find(|row| !seen.insert(&row.labels)) {
        Some(row) => Err(EvalError::DuplicateLabels { labels: row.labels.clone() }),
        None => Ok(rows),
    }
}
