//! One window moving along a series: what every function over a range is computed from.

use super::{Column, Evaluator, Matrix, Steps, unique};
use crate::model::{METRIC_NAME, Series, is_stale_marker};
use crate::promql::EvalError;

/// The samples of one series in one step's window, `start <= ts <= end`, without stale markers.
pub(super) struct Samples<'a> {
    pub(super) ts_ms: &'a [i64],
    pub(super) values: &'a [f64],
    /// The window's bounds.
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// The step's time, which `offset` does not move.
    pub(super) time_ms: i64,
    /// Which step it is.
    pub(super) step: usize,
}

impl Samples<'_> {
    pub(super) fn range_seconds(&self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1000.0
    }
}

impl Evaluator<'_> {
    /// Applies `f` to the window of every series at every step; empty windows give nothing.
    pub(super) fn over_windows(
        &self,
        matrix: &Matrix,
        keep_name: bool,
        f: impl Fn(&Samples<'_>) -> Option<f64>,
    ) -> Result<Steps, EvalError> {
        let times = self.times()?;
        self.limit(matrix.series.len().saturating_mul(times.len()))?;
        let columns = matrix.series.iter().map(|series| {
            let labels =
                if keep_name { series.labels.clone() } else { series.labels.without(&[METRIC_NAME]) };
            Column { labels, values: windows(series, matrix, &times, &f) }
        });
        unique(columns.collect()).map(Steps::Vector)
    }
}

fn windows(
    series: &Series,
    matrix: &Matrix,
    times: &[i64],
    f: &impl Fn(&Samples<'_>) -> Option<f64>,
) -> Vec<Option<f64>> {
    let alive = without_stale(series);
    let (ts_ms, values) = alive.as_ref().map_or((&series.ts_ms, &series.values), |(ts, values)| (ts, values));
    let (mut from, mut to) = (0, 0);
    let step = |(step, (end_ms, time_ms)): (usize, (&i64, &i64))| {
        let start_ms = end_ms - matrix.range_ms;
        // Ends never go back, so both edges only move forward.
        to += ts_ms.get(to..).unwrap_or_default().partition_point(|ts| ts <= end_ms);
        from += ts_ms.get(from..to).unwrap_or_default().partition_point(|ts| *ts < start_ms);
        let samples = Samples {
            ts_ms: ts_ms.get(from..to).unwrap_or_default(),
            values: values.get(from..to).unwrap_or_default(),
            start_ms,
            end_ms: *end_ms,
            time_ms: *time_ms,
            step,
        };
        if samples.values.is_empty() { None } else { f(&samples) }
    };
    matrix.ends_ms.iter().zip(times).enumerate().map(step).collect()
}

/// A copy without stale markers, or `None` where there are none, which is the usual case.
fn without_stale(series: &Series) -> Option<(Vec<i64>, Vec<f64>)> {
    if !series.values.iter().any(|value| is_stale_marker(*value)) {
        return None;
    }
    let alive = series.ts_ms.iter().zip(&series.values).filter(|(_, value)| !is_stale_marker(**value));
    Some(alive.map(|(ts, value)| (*ts, *value)).unzip())
}
