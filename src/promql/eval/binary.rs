//! Binary operators: between scalars, between a vector and a scalar, and between vectors that are matched by
//! their labels.

use std::collections::{HashMap, HashSet};

use super::{Column, Evaluator, Steps, unique};
use crate::model::{Labels, METRIC_NAME};
use crate::promql::EvalError;
use crate::promql::ast::{Binary, BinaryOp, Group, Matching};

impl Evaluator<'_> {
    pub(super) fn binary(&self, binary: &Binary) -> Result<Steps, EvalError> {
        match (self.eval(&binary.left)?, self.eval(&binary.right)?) {
            (Steps::Scalar(left), Steps::Scalar(right)) => {
                let pairs = left.into_iter().zip(right);
                Ok(Steps::Scalar(pairs.map(|(a, b)| scalar_result(binary.op, a, b)).collect()))
            }
            (Steps::Vector(columns), Steps::Scalar(scalars)) => {
                with_scalars(binary, columns, &scalars, |value, scalar| (value, scalar))
            }
            (Steps::Scalar(scalars), Steps::Vector(columns)) => {
                with_scalars(binary, columns, &scalars, |value, scalar| (scalar, value))
            }
            (Steps::Vector(left), Steps::Vector(right)) if binary.op.is_set() => {
                Ok(Steps::Vector(set_operation(binary, left, right)?))
            }
            (Steps::Vector(left), Steps::Vector(right)) => {
                match_vectors(binary, left, right).map(Steps::Vector)
            }
            _ => Err(EvalError::Argument("a string has no operators".to_owned())),
        }
    }
}

/// Arithmetic, or the truth of a comparison.
fn apply(op: BinaryOp, a: f64, b: f64) -> Result<f64, bool> {
    Err(match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Gt => a > b,
        BinaryOp::Le => a <= b,
        BinaryOp::Ge => a >= b,
        BinaryOp::Add => return Ok(a + b),
        BinaryOp::Sub => return Ok(a - b),
        BinaryOp::Mul => return Ok(a * b),
        BinaryOp::Div => return Ok(a / b),
        BinaryOp::Mod => return Ok(a % b),
        BinaryOp::Pow => return Ok(a.powf(b)),
        BinaryOp::Atan2 => return Ok(a.atan2(b)),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => false,
    })
}

fn flag(truth: bool) -> f64 {
    f64::from(u8::from(truth))
}

fn scalar_result(op: BinaryOp, a: f64, b: f64) -> f64 {
    apply(op, a, b).unwrap_or_else(flag)
}

/// The value an element keeps: the result, 0 or 1 with `bool`, or `kept` where the comparison is true.
fn element(binary: &Binary, (a, b): (f64, f64), kept: f64) -> Option<f64> {
    match apply(binary.op, a, b) {
        Ok(value) => Some(value),
        Err(truth) if binary.bool => Some(flag(truth)),
        Err(truth) => truth.then_some(kept),
    }
}

/// Arithmetic changes what a value means, so the metric's name goes; a filter leaves it.
fn drops_name(binary: &Binary) -> bool {
    !binary.op.is_comparison() || binary.bool
}

fn with_scalars(
    binary: &Binary,
    columns: Vec<Column>,
    scalars: &[f64],
    sides: impl Fn(f64, f64) -> (f64, f64),
) -> Result<Steps, EvalError> {
    let computed = columns.into_iter().map(|mut column| {
        for (slot, scalar) in column.values.iter_mut().zip(scalars) {
            *slot = slot.and_then(|value| element(binary, sides(value, *scalar), value));
        }
        if drops_name(binary) {
            column.labels = column.labels.without(&[METRIC_NAME]);
        }
        column
    });
    unique(computed.collect()).map(Steps::Vector)
}

/// What two elements must have in common to be matched.
fn signature(matching: &Matching, labels: &Labels) -> Labels {
    let names: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
    if matching.on { labels.only(&names) } else { labels.without(&names).without(&[METRIC_NAME]) }
}

fn set_operation(binary: &Binary, left: Vec<Column>, right: Vec<Column>) -> Result<Vec<Column>, EvalError> {
    let presence = |columns: &[Column]| {
        let mut there: HashMap<Labels, Vec<bool>> = HashMap::new();
        for column in columns {
            let steps = there
                .entry(signature(&binary.matching, &column.labels))
                .or_insert_with(|| vec![false; column.values.len()]);
            for (slot, value) in steps.iter_mut().zip(&column.values) {
                *slot |= value.is_some();
            }
        }
        there
    };
    // Keeps the steps of each column where the other side's presence is `wanted`.
    let keep = |columns: Vec<Column>, other: &HashMap<Labels, Vec<bool>>, wanted: bool| -> Vec<Column> {
        let kept = columns.into_iter().map(|mut column| {
            let there = other.get(&signature(&binary.matching, &column.labels));
            for (step, slot) in column.values.iter_mut().enumerate() {
                let present = there.and_then(|steps| steps.get(step)).copied().unwrap_or(false);
                if present != wanted {
                    *slot = None;
                }
            }
            column
        });
        kept.filter(|column| !column.is_empty()).collect()
    };
    match binary.op {
        BinaryOp::And => Ok(keep(left, &presence(&right), true)),
        BinaryOp::Unless => Ok(keep(left, &presence(&right), false)),
        _ => {
            let added = keep(right, &presence(&left), false);
            unique(left.into_iter().chain(added).collect())
        }
    }
}

fn match_vectors(binary: &Binary, left: Vec<Column>, right: Vec<Column>) -> Result<Vec<Column>, EvalError> {
    // The "many" side is walked, the "one" side is looked up.
    let swapped = matches!(binary.matching.group, Group::Right(_));
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let mut by_signature: HashMap<Labels, Vec<&Column>> = HashMap::new();
    for column in &one {
        by_signature.entry(signature(&binary.matching, &column.labels)).or_default().push(column);
    }
    let steps = many.iter().chain(&one).map(|column| column.values.len()).max().unwrap_or(0);
    for (labels, columns) in &by_signature {
        check_one_side(labels, columns, steps, swapped)?;
    }
    let grouped = binary.matching.group != Group::OneToOne;
    // Which (signature, step) a one-to-one match has used up already.
    let mut used: HashSet<(Labels, usize)> = HashSet::new();
    let mut matched = Vec::new();
    for column in &many {
        let signature = signature(&binary.matching, &column.labels);
        for partner in by_signature.get(&signature).into_iter().flatten() {
            let mut result = Column {
                labels: result_labels(binary, &column.labels, &partner.labels),
                values: Vec::with_capacity(steps),
            };
            for (step, pair) in column.values.iter().zip(&partner.values).enumerate() {
                let (Some(many), Some(one)) = pair else {
                    result.values.push(None);
                    continue;
                };
                let sides = if swapped { (*one, *many) } else { (*many, *one) };
                let value = element(binary, sides, sides.0);
                if value.is_some() && !grouped && !used.insert((signature.clone(), step)) {
                    return Err(EvalError::ManyToMany {
                        group: signature.to_string(),
                        side: "left hand-side",
                    });
                }
                result.values.push(value);
            }
            matched.push(result);
        }
    }
    unique(matched).map_err(|error| match error {
        EvalError::DuplicateSeries { labels } if grouped => EvalError::MultipleMatches { group: labels },
        other => other,
    })
}

fn check_one_side(
    labels: &Labels,
    columns: &[&Column],
    steps: usize,
    swapped: bool,
) -> Result<(), EvalError> {
    if columns.len() < 2 {
        return Ok(());
    }
    let twice = (0..steps)
        .any(|step| columns.iter().filter(|c| c.values.get(step).is_some_and(Option::is_some)).count() > 1);
    let side = if swapped { "left hand-side" } else { "right hand-side" };
    if twice { Err(EvalError::ManyToMany { group: labels.to_string(), side }) } else { Ok(()) }
}

fn result_labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let mut labels = if drops_name(binary) { many.without(&[METRIC_NAME]) } else { many.clone() };
    let names: Vec<&str> = binary.matching.labels.iter().map(String::as_str).collect();
    match &binary.matching.group {
        Group::OneToOne if binary.matching.on => labels.only(&names),
        Group::OneToOne => labels.without(&names),
        Group::Left(include) | Group::Right(include) => {
            for name in include {
                labels = labels.with(name, one.get(name).unwrap_or(""));
            }
            labels
        }
    }
}
