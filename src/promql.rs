//! PromQL as Prometheus 2.42 speaks it, over any [`SeriesSource`].
//!
//! Owns: parsing, type checks, evaluation of instant and range queries, and the JSON form of results.
//! Refuses: I/O (the caller loads [`selections`] first), the clock, native histograms, and syntax that came
//! with Prometheus 3.
//!
//! A range query is evaluated once, not once per step: every part gives all its steps as columns, and a
//! function over a range moves one window along each series.

mod ast;
mod error;
mod eval;
pub mod json;
mod lexer;
mod parser;
mod selections;
mod signature;

pub use ast::{AggregateOp, BinaryOp, Expr, ValueType};
pub use error::{EvalError, ParseError};
pub use parser::parse;
pub use selections::selections;

use crate::model::{Labels, Series, SeriesSource};

/// The times of a range query: `start`, `start + step`, … up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalRange {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}

/// What bounds and shapes an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalOptions {
    /// How old the newest sample of a series may be to count as present.
    pub lookback_ms: i64,
    /// Values in memory at once.
    pub max_samples: usize,
}

impl Default for EvalOptions {
    fn default() -> Self {
        Self { lookback_ms: 300_000, max_samples: 50_000_000 }
    }
}

/// The step of subqueries without one: Prometheus' default evaluation interval.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// The result of an instant query.
#[derive(Debug, Clone)]
pub enum Value {
    Scalar(f64),
    String(String),
    /// In the order of evaluation: sorted by labels, or by value after `sort` and `topk`.
    Vector(Vec<InstantSample>),
    Matrix(Vec<Series>),
}

/// One series of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct InstantSample {
    pub labels: Labels,
    pub value: f64,
}

/// Evaluates at one instant.
///
/// # Errors
/// [`EvalError`], when the data cannot be read, a limit is passed, or vectors do not match.
pub fn eval_instant(
    expr: &Expr,
    source: &dyn SeriesSource,
    at_ms: i64,
    options: &EvalOptions,
) -> Result<Value, EvalError> {
    eval::instant(expr, source, at_ms, options)
}

/// Evaluates at every step of `range`. Series are sorted by labels and hold only the steps that have a value.
///
/// # Errors
/// As [`eval_instant`]; and when the range is empty or the expression is a range vector or a string.
pub fn eval_range(
    expr: &Expr,
    source: &dyn SeriesSource,
    range: &EvalRange,
    options: &EvalOptions,
) -> Result<Vec<Series>, EvalError> {
    eval::range(expr, source, range, options)
}
