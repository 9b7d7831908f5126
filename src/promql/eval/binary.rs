//! Binary operators: on scalars, on a vector and a scalar; on two vectors see `matching` and `set`.

use super::rows::{Computed, Row, absent, is_absent, merge_equal};
use super::{EvalError, Evaluation, matching, set};
use crate::model::METRIC_NAME;
use crate::promql::ast::{Binary, BinaryOp};
use crate::promql::plan::Grid;

impl Evaluation<'_> {
    pub(super) fn binary(&self, binary: &Binary, grid: &Grid) -> Result<Computed, EvalError> {
        let lhs = self.eval(&binary.lhs, grid)?;
        let rhs = self.eval(&binary.rhs, grid)?;
        let op = binary.op;
        match (lhs, rhs) {
            (Computed::Scalar(mut lhs), Computed::Scalar(rhs)) => {
                for (a, b) in lhs.iter_mut().zip(rhs) {
                    let (value, kept) = combine(op, *a, b);
                    *a = if op.is_comparison() { f64::from(kept) } else { value };
                }
                Ok(Computed::Scalar(lhs))
            }
            (Computed::Rows(rows), Computed::Scalar(scalar)) => {
                with_scalar(binary, rows, &scalar, false).map(Computed::Rows)
            }
            (Computed::Scalar(scalar), Computed::Rows(rows)) => {
                with_scalar(binary, rows, &scalar, true).map(Computed::Rows)
            }
            (Computed::Rows(lhs), Computed::Rows(rhs)) if op.is_set() => {
                merge_equal(set::combine(op, binary.matching.as_ref(), lhs, rhs, grid)).map(Computed::Rows)
            }
            (Computed::Rows(lhs), Computed::Rows(rhs)) => {
                matching::combine(binary, &lhs, &rhs, grid, |rows| self.hold(rows * grid.steps))
                    .map(Computed::Rows)
            }
            _ => Err(EvalError::internal("an operator on a string")),
        }
    }
}

/// The operator's value, and whether a comparison holds (always, for arithmetic).
pub(super) fn combine(op: BinaryOp, a: f64, b: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (a + b, true),
        BinaryOp::Sub => (a - b, true),
        BinaryOp::Mul => (a * b, true),
        BinaryOp::Div => (a / b, true),
        BinaryOp::Mod => (a % b, true),
        BinaryOp::Pow => (a.powf(b), true),
        BinaryOp::Atan2 => (a.atan2(b), true),
        BinaryOp::Equal => (a, a == b),
        BinaryOp::NotEqual => (a, a != b),
        BinaryOp::Greater => (a, a > b),
        BinaryOp::Less => (a, a < b),
        BinaryOp::GreaterOrEqual => (a, a >= b),
        BinaryOp::LessOrEqual => (a, a <= b),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => (f64::NAN, false),
    }
}

/// Whether the result is a new quantity, which the metric's name no longer describes. In Prometheus 2.42
/// `atan2` keeps the name.
pub(super) fn drops_name(op: BinaryOp) -> bool {
    !op.is_comparison() && op != BinaryOp::Atan2
}

fn with_scalar(
    binary: &Binary,
    mut rows: Vec<Row>,
    scalar: &[f64],
    scalar_first: bool,
) -> Result<Vec<Row>, EvalError> {
    let op = binary.op;
    let drop = drops_name(op) || binary.return_bool;
    for row in &mut rows {
        if drop {
            row.labels = row.labels.without(&[METRIC_NAME]);
        }
        for (value, scalar) in row.values.iter_mut().zip(scalar).filter(|(value, _)| !is_absent(**value)) {
            let (computed, kept) =
                if scalar_first { combine(op, *scalar, *value) } else { combine(op, *value, *scalar) };
            *value = match (op.is_comparison(), binary.return_bool) {
                (true, true) => f64::from(kept),
                // A filter keeps the vector's value, on whichever side it stands.
                (true, false) if kept => *value,
                (true, false) => absent(),
                (false, _) => computed,
            };
        }
    }
    if drop { merge_equal(rows) } else { Ok(rows) }
}
