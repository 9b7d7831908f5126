//! Range vectors: for each series the samples of a moving window.

use std::sync::Arc;

use super::rows::Computed;
use super::{EvalError, Evaluation};
use crate::model::{Labels, Series, is_stale_marker};
use crate::promql::ast::Expr;
use crate::promql::plan::{self, Grid, View};

/// A range vector over a grid: whole series, and the window each instant sees of them.
pub(super) struct Ranges {
    /// Without stale markers, sorted by time.
    pub(super) series: Vec<Arc<Series>>,
    view: View,
    pub(super) range_ms: i64,
}

/// What one instant sees of one series; never empty.
pub(super) struct Window<'a> {
    pub(super) ts_ms: &'a [i64],
    pub(super) values: &'a [f64],
    /// The index of the window's first sample in its series; it only grows.
    pub(super) first: usize,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// The evaluation instant, and its index in the grid.
    pub(super) at_ms: i64,
    pub(super) step: usize,
}

impl Ranges {
    /// One value per instant: that of `function` over the instant's window, `absent` where it has no sample.
    pub(super) fn slide(
        &self,
        series: &Series,
        grid: &Grid,
        mut function: impl FnMut(&Window<'_>) -> f64,
    ) -> Vec<f64> {
        let (mut from, mut to) = (0, 0);
        let times = &series.ts_ms;
        grid.instants()
            .enumerate()
            .map(|(step, at_ms)| {
                let end_ms = self.view.seen_ms(at_ms);
                let start_ms = end_ms.saturating_sub(self.range_ms);
                while times.get(to).is_some_and(|ts_ms| *ts_ms <= end_ms) {
                    to += 1;
                }
                while from < to && times.get(from).is_some_and(|ts_ms| *ts_ms < start_ms) {
                    from += 1;
                }
                match (times.get(from..to), series.values.get(from..to)) {
                    (Some(ts_ms), Some(values)) if !ts_ms.is_empty() => {
                        function(&Window { ts_ms, values, first: from, start_ms, end_ms, at_ms, step })
                    }
                    _ => super::rows::absent(),
                }
            })
            .collect()
    }
}

impl Evaluation<'_> {
    /// The range vector `expr` (a range selector or a subquery).
    pub(super) fn ranges(&self, expr: &Expr, grid: &Grid) -> Result<Ranges, EvalError> {
        match expr.bare() {
            Expr::Range(range) => Ok(Ranges {
                series: self
                    .read(&range.selector, range.range_ms, grid)?
                    .into_iter()
                    .map(without_stale_markers)
                    .collect(),
                view: View::new(&range.selector.shift, self.bounds),
                range_ms: range.range_ms,
            }),
            Expr::Subquery(subquery) => {
                let inner = plan::subquery_grid(subquery, grid, self.bounds);
                let rows = match self.eval(&subquery.expr, &inner)? {
                    Computed::Rows(rows) => rows,
                    _ => return Err(EvalError::internal("a subquery of something else than a vector")),
                };
                let series = rows.into_iter().filter_map(|row| row.into_series(&inner)).map(Arc::new);
                Ok(Ranges {
                    series: series.collect(),
                    view: View::new(&subquery.shift, self.bounds),
                    range_ms: subquery.range_ms,
                })
            }
            _ => Err(EvalError::internal("expected a range vector")),
        }
    }

    /// The samples a range vector sees at the grid's one instant, as an instant query shows them.
    pub(super) fn matrix(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Series>, EvalError> {
        let ranges = self.ranges(expr, grid)?;
        let mut found = Vec::new();
        for series in &ranges.series {
            let mut seen = Series::new(Labels::clone(&series.labels));
            ranges.slide(series, grid, |window| {
                seen.ts_ms.extend_from_slice(window.ts_ms);
                seen.values.extend_from_slice(window.values);
                0.0
            });
            found.extend((!seen.is_empty()).then_some(seen));
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }
}

fn without_stale_markers(series: Arc<Series>) -> Arc<Series> {
    if !series.values.iter().any(|value| is_stale_marker(*value)) {
        return series;
    }
    let mut kept = Series::new(series.labels.clone());
    for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
        if !is_stale_marker(*value) {
            kept.push(*ts_ms, *value);
        }
    }
    Arc::new(kept)
}
