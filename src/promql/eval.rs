//! Evaluation: each node of the tree is computed once, for all instants of the query together.
//!
//! Owns: the walk over the tree, the sample budget, results. Values of one series lie side by side, one
//! per instant; every function makes one forward pass over them.
//! Refuses: reading anything that `plan` did not announce.

mod aggregate;
mod binary;
mod call;
mod error;
mod histogram;
mod label;
mod matching;
mod number;
mod over_time;
mod quantile;
mod rate;
mod regression;
mod rows;
mod select;
mod set;
#[cfg(test)]
mod tests;
mod window;

use std::cell::Cell;

pub use error::EvalError;

use self::rows::{Computed, Row, is_absent};
use super::ast::{Expr, Kind};
use super::plan::{self, Bounds, Grid};
use super::{EvalOptions, EvalRange, InstantSample, Value};
use crate::model::{Labels, METRIC_NAME, Series, SeriesSource};

/// Evaluates at one instant.
///
/// # Errors
/// When the source fails, the budget is exceeded, or series cannot be matched.
pub fn eval_instant(
    expr: &Expr,
    source: &dyn SeriesSource,
    at_ms: i64,
    options: &EvalOptions,
) -> Result<Value, EvalError> {
    let range = EvalRange::instant(at_ms);
    let evaluation = Evaluation::new(source, &range, options);
    let grid = Grid::of(&range);
    if expr.kind() == Kind::Matrix {
        return Ok(Value::Matrix(evaluation.matrix(expr.bare(), &grid)?));
    }
    Ok(match evaluation.eval(expr, &grid)? {
        Computed::Scalar(values) => Value::Scalar(values.first().copied().unwrap_or(f64::NAN)),
        Computed::Text(text) => Value::String(text),
        Computed::Rows(rows) => Value::Vector(
            rows.into_iter()
                .filter_map(|row| {
                    let value = *row.values.first().filter(|value| !is_absent(**value))?;
                    Some(InstantSample { labels: row.labels, value })
                })
                .collect(),
        ),
    })
}

/// Evaluates at every instant of `range`; the series are sorted by labels, none is empty. A scalar is one
/// series without labels.
///
/// # Errors
/// As [`eval_instant`]; also when the expression is a string or a range vector, or the step is not positive.
pub fn eval_range(
    expr: &Expr,
    source: &dyn SeriesSource,
    range: &EvalRange,
    options: &EvalOptions,
) -> Result<Vec<Series>, EvalError> {
    if range.step_ms <= 0 || range.end_ms < range.start_ms {
        return Err(EvalError::BadRange);
    }
    if !matches!(expr.kind(), Kind::Scalar | Kind::Vector) {
        return Err(EvalError::NotARangeQuery { kind: expr.kind().words() });
    }
    let evaluation = Evaluation::new(source, range, options);
    let grid = Grid::of(range);
    let rows = match evaluation.eval(expr, &grid)? {
        Computed::Scalar(values) => vec![Row { labels: Labels::default(), values }],
        Computed::Rows(rows) => rows,
        Computed::Text(_) => Vec::new(),
    };
    let mut series: Vec<Series> = rows.into_iter().filter_map(|row| row.into_series(&grid)).collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

/// One evaluation: where it reads and how much it may hold.
struct Evaluation<'a> {
    source: &'a dyn SeriesSource,
    options: &'a EvalOptions,
    bounds: Bounds,
    /// Samples held at the moment.
    held: Cell<usize>,
}

impl<'a> Evaluation<'a> {
    fn new(source: &'a dyn SeriesSource, range: &EvalRange, options: &'a EvalOptions) -> Self {
        let bounds = Bounds { start_ms: range.start_ms, end_ms: range.end_ms };
        Self { source, options, bounds, held: Cell::new(0) }
    }

    /// Counts samples about to be held.
    fn hold(&self, samples: usize) -> Result<(), EvalError> {
        let held = self.held.get().saturating_add(samples);
        if held > self.options.max_samples {
            return Err(EvalError::TooManySamples { limit: self.options.max_samples });
        }
        self.held.set(held);
        Ok(())
    }

    /// Computes `expr` at every instant of `grid`. Not for range vectors (see `window`).
    fn eval(&self, expr: &Expr, grid: &Grid) -> Result<Computed, EvalError> {
        let before = self.held.get();
        let own = plan::own_grid(expr, grid);
        let mut computed = self.node(expr, &own)?;
        if own.steps < grid.steps {
            self.hold(computed.samples().saturating_mul(grid.steps))?;
            computed.repeat(grid.steps);
        }
        // The parts below are gone; only the result is still held.
        self.held.set(before.saturating_add(computed.samples()));
        Ok(computed)
    }

    fn node(&self, expr: &Expr, grid: &Grid) -> Result<Computed, EvalError> {
        match expr {
            Expr::Number(number) => {
                self.hold(grid.steps)?;
                Ok(Computed::Scalar(vec![*number; grid.steps]))
            }
            Expr::Text(text) => Ok(Computed::Text(text.clone())),
            Expr::Selector(selector) => self.select(selector, grid).map(Computed::Rows),
            Expr::Range(_) | Expr::Subquery(_) => Err(EvalError::internal("a range vector has no rows")),
            Expr::Call(call) => self.call(call, grid),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, grid).map(Computed::Rows),
            Expr::Binary(binary) => self.binary(binary, grid),
            Expr::Unary(unary) => {
                let computed = self.eval(&unary.expr, grid)?;
                if unary.negative { negate(computed) } else { Ok(computed) }
            }
            Expr::Paren(expr) => self.eval(expr, grid),
        }
    }

    fn rows(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Row>, EvalError> {
        match self.eval(expr, grid)? {
            Computed::Rows(rows) => Ok(rows),
            _ => Err(EvalError::internal("expected an instant vector")),
        }
    }

    fn scalar(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>, EvalError> {
        match self.eval(expr, grid)? {
            Computed::Scalar(values) => Ok(values),
            _ => Err(EvalError::internal("expected a scalar")),
        }
    }
}

fn negate(computed: Computed) -> Result<Computed, EvalError> {
    Ok(match computed {
        Computed::Scalar(values) => Computed::Scalar(values.into_iter().map(|value| -value).collect()),
        Computed::Rows(mut rows) => {
            for row in &mut rows {
                row.labels = row.labels.without(&[METRIC_NAME]);
                row.map(|value| -value);
            }
            Computed::Rows(rows::refuse_equal(rows)?)
        }
        text @ Computed::Text(_) => text,
    })
}
