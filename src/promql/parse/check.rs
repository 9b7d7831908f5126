//! The type rules of PromQL. Each check gives the message alone; the parser adds the place.

use crate::promql::ast::{Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, Kind};

use super::print;

type Checked = Result<(), String>;

pub(super) fn binary(binary: &Binary) -> Checked {
    let (lhs, rhs, op) = (binary.lhs.kind(), binary.rhs.kind(), binary.op);
    let name = print::operator_name(op);
    let is_operand = |kind| matches!(kind, Kind::Scalar | Kind::Vector);
    if !is_operand(lhs) || !is_operand(rhs) {
        let wrong = if is_operand(lhs) { rhs } else { lhs };
        let message = "binary expression must contain only scalar and instant vector types";
        return Err(format!("{message}, not {}", wrong.words()));
    }
    if binary.return_bool && !op.is_comparison() {
        return Err("bool modifier can only be used on comparison operators".to_owned());
    }
    let both_scalar = lhs == Kind::Scalar && rhs == Kind::Scalar;
    if op.is_comparison() && both_scalar && !binary.return_bool {
        return Err("comparisons between scalars must use the bool modifier".to_owned());
    }
    let any_scalar = lhs == Kind::Scalar || rhs == Kind::Scalar;
    if op.is_set() && any_scalar {
        return Err(format!("set operator {name} not allowed in binary scalar expression"));
    }
    let Some(matching) = &binary.matching else { return Ok(()) };
    if any_scalar {
        let without_labels = matching.labels.is_empty();
        return without_labels
            .then_some(())
            .ok_or_else(|| "vector matching only allowed between instant vectors".to_owned());
    }
    let (Cardinality::GroupLeft(include) | Cardinality::GroupRight(include)) = &matching.cardinality else {
        return Ok(());
    };
    if op.is_set() {
        return Err(format!("no grouping allowed for {name} operation"));
    }
    match include.iter().find(|label| matching.on && matching.labels.contains(label)) {
        Some(label) => Err(format!("label {label:?} must not occur in on and group clause at once")),
        None => Ok(()),
    }
}

pub(super) fn unary(expr: &Expr) -> Checked {
    match expr.kind() {
        Kind::Scalar | Kind::Vector => Ok(()),
        kind => Err(format!(
            "unary expression only allowed on expressions of type scalar or instant vector, got {}",
            kind.words()
        )),
    }
}

/// The kind of the operator's parameter, if it takes one.
pub(super) fn aggregate_param(op: AggregateOp) -> Option<Kind> {
    match op {
        AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::Quantile => Some(Kind::Scalar),
        AggregateOp::CountValues => Some(Kind::Text),
        _ => None,
    }
}

pub(super) fn aggregate(aggregate: &Aggregate) -> Checked {
    let name = print::aggregate_name(aggregate.op);
    expect_kind(&aggregate.expr, Kind::Vector, &format!("aggregation {name}"))?;
    match (&aggregate.param, aggregate_param(aggregate.op)) {
        (Some(param), Some(kind)) => expect_kind(param, kind, &format!("the parameter of {name}")),
        _ => Ok(()),
    }
}

pub(super) fn call(call: &Call) -> Checked {
    let signature = call.function.signature();
    let (given, most, name) = (call.args.len(), signature.args.len(), signature.name);
    let least = most - signature.optional;
    if given < least || given > most && !signature.variadic {
        let expected = match (least == most, signature.variadic) {
            (_, true) => format!("at least {least}"),
            (true, false) => format!("{most}"),
            (false, false) => format!("{least} to {most}"),
        };
        return Err(format!("expected {expected} argument(s) in call to {name}, got {given}"));
    }
    let kinds =
        signature.args.iter().chain(std::iter::repeat(signature.args.last().unwrap_or(&Kind::Scalar)));
    for (arg, kind) in call.args.iter().zip(kinds) {
        expect_kind(arg, *kind, &format!("call to function {name}"))?;
    }
    Ok(())
}

pub(super) fn expect_kind(expr: &Expr, kind: Kind, place: &str) -> Checked {
    if expr.kind() == kind {
        return Ok(());
    }
    Err(format!("expected type {} in {place}, got {}", kind.words(), expr.kind().words()))
}
