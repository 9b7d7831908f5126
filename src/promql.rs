//! The interface that rules evaluate expressions through.

use crate::model::{Labels, Selection, SeriesSource};

#[derive(Debug, Clone)]
pub struct Expr;
impl Expr {
    pub fn longest_range_or_offset_ms(&self) -> i64 {
        0
    }
}
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    pub message: String,
    pub position: usize,
    pub line: usize,
    pub column: usize,
}
#[derive(Debug, Clone, thiserror::Error)]
#[error("not there")]
pub struct EvalError;
#[derive(Debug, Clone, Default)]
pub struct EvalOptions;
pub struct EvalRange {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}
pub struct InstantSample {
    pub labels: Labels,
    pub value: f64,
}
pub enum Value {
    Vector(Vec<InstantSample>),
    Scalar(f64),
    String(String),
}
pub fn parse(_: &str) -> Result<Expr, ParseError> {
    Ok(Expr)
}
pub fn eval_instant(_: &Expr, _: &dyn SeriesSource, _: i64, _: &EvalOptions) -> Result<Value, EvalError> {
    Err(EvalError)
}
pub fn selections(_: &Expr, _: &EvalRange, _: &EvalOptions) -> Vec<Selection> {
    Vec::new()
}
