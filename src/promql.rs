//! PromQL over [`SeriesSource`](crate::model::SeriesSource): parsing, type checks, evaluation.
//!
//! Owns: the language of Prometheus 2.42, its results to the last detail, and Prometheus' JSON for them.
//! Refuses: I/O and the clock (the caller loads what [`selections`] names, then evaluates), native
//! histograms, and syntax of later versions (`docs/decisions/0003-own-promql-parser.md`).

pub mod ast;
mod eval;
mod float;
mod function;
pub mod json;
mod lexer;
mod parse;
mod plan;

pub use ast::Expr;
pub use eval::{EvalError, eval_instant, eval_range};
pub use function::{Function, Signature};
pub use parse::{ParseError, parse};
pub use plan::selections;

use crate::model::{Labels, Series};

/// The instants of a range query: `start_ms`, then every `step_ms` up to and including `end_ms`
/// (milliseconds since the Unix epoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalRange {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}

impl EvalRange {
    /// The one instant of an instant query.
    pub fn instant(at_ms: i64) -> Self {
        Self { start_ms: at_ms, end_ms: at_ms, step_ms: 1 }
    }
}

/// What bounds an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalOptions {
    /// How far back an instant selector looks for its last sample.
    pub lookback_ms: i64,
    /// Samples (16 bytes each at most) that an evaluation may hold at one time.
    pub max_samples: usize,
}

/// Prometheus' defaults: 5 minutes, 50 million.
impl Default for EvalOptions {
    fn default() -> Self {
        Self { lookback_ms: 300_000, max_samples: 50_000_000 }
    }
}

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct InstantSample {
    pub labels: Labels,
    pub value: f64,
}

/// The result of an instant query.
#[derive(Debug, Clone)]
pub enum Value {
    Scalar(f64),
    String(String),
    /// In no order, except after `sort`, `sort_desc`, `topk` and `bottomk`.
    Vector(Vec<InstantSample>),
    Matrix(Vec<Series>),
}
