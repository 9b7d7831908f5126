//! Instant selectors: for each instant the last sample within the look-back.

use std::sync::Arc;

use super::rows::{Row, absent, is_absent};
use super::{EvalError, Evaluation};
use crate::model::{Series, is_stale_marker};
use crate::promql::ast::Selector;
use crate::promql::plan::{self, Grid, View};

impl Evaluation<'_> {
    /// The selector's rows; a series without a value at any instant gives none.
    pub(super) fn select(&self, selector: &Selector, grid: &Grid) -> Result<Vec<Row>, EvalError> {
        self.select_with(selector, grid, |_, value| value)
    }

    /// As [`Self::select`], with `pick(sample's time, value)` in place of the value.
    pub(super) fn select_with(
        &self,
        selector: &Selector,
        grid: &Grid,
        pick: impl Fn(i64, f64) -> f64,
    ) -> Result<Vec<Row>, EvalError> {
        let lookback_ms = self.options.lookback_ms;
        let view = View::new(&selector.shift, self.bounds);
        let mut rows = Vec::new();
        for series in self.read(selector, lookback_ms, grid)? {
            self.hold(grid.steps)?;
            let values = last_values(&series, grid, view, lookback_ms, &pick);
            if values.iter().any(|value| !is_absent(*value)) {
                rows.push(Row { labels: series.labels.clone(), values });
            }
        }
        Ok(rows)
    }

    /// The series a selector needs that looks back by `back_ms`.
    pub(super) fn read(
        &self,
        selector: &Selector,
        back_ms: i64,
        grid: &Grid,
    ) -> Result<Vec<Arc<Series>>, EvalError> {
        if grid.steps == 0 {
            return Ok(Vec::new());
        }
        let series = self.source.select(&plan::selection(selector, back_ms, grid, self.bounds))?;
        self.hold(series.iter().map(|series| series.len()).sum())?;
        Ok(series)
    }
}

fn last_values(
    series: &Series,
    grid: &Grid,
    view: View,
    lookback_ms: i64,
    pick: &impl Fn(i64, f64) -> f64,
) -> Vec<f64> {
    let mut samples = series.ts_ms.iter().copied().zip(series.values.iter().copied()).peekable();
    let mut last = None;
    grid.instants()
        .map(|at_ms| {
            let seen_ms = view.seen_ms(at_ms);
            while let Some(sample) = samples.next_if(|(ts_ms, _)| *ts_ms <= seen_ms) {
                last = Some(sample);
            }
            match last {
                Some((ts_ms, value))
                    if ts_ms >= seen_ms.saturating_sub(lookback_ms) && !is_stale_marker(value) =>
                {
                    pick(ts_ms, value)
                }
                _ => absent(),
            }
        })
        .collect()
}
