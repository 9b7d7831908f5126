//! Aggregation operators.

use std::collections::BTreeMap;

use super::{Column, Evaluator, over_time};
use crate::model::{Labels, METRIC_NAME};
use crate::promql::ast::{Aggregate, AggregateOp, Expr};
use crate::promql::{EvalError, json};

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate) -> Result<Vec<Column>, EvalError> {
        let columns = self.vector(&aggregate.expr)?;
        let steps = self.times()?.len();
        let mut groups: BTreeMap<Labels, Vec<Column>> = BTreeMap::new();
        for column in columns {
            groups.entry(group_labels(aggregate, &column.labels)).or_default().push(column);
        }
        match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk => {
                let k = self.parameter(aggregate)?;
                Ok(groups.into_values().flat_map(|group| select_k(aggregate.op, &k, &group)).collect())
            }
            AggregateOp::CountValues => {
                let Some(Expr::Text(label)) = &aggregate.parameter else {
                    return Err(EvalError::Argument("count_values needs a label's name".to_owned()));
                };
                Ok(groups
                    .iter()
                    .flat_map(|(labels, group)| count_values(labels, label, group, steps))
                    .collect())
            }
            op => {
                let q = if op == AggregateOp::Quantile { self.parameter(aggregate)? } else { Vec::new() };
                let aggregated = groups.into_iter().map(|(labels, group)| {
                    let mut values = Vec::with_capacity(group.len());
                    let of_step = |step: usize| {
                        values.clear();
                        values.extend(
                            group.iter().filter_map(|column| column.values.get(step).copied().flatten()),
                        );
                        (!values.is_empty()).then(|| reduce(op, &values, q.get(step).copied()))
                    };
                    Column { labels, values: (0..steps).map(of_step).collect() }
                });
                Ok(aggregated.collect())
            }
        }
    }

    fn parameter(&self, aggregate: &Aggregate) -> Result<Vec<f64>, EvalError> {
        aggregate.parameter.as_ref().map_or_else(|| Ok(Vec::new()), |parameter| self.scalar(parameter))
    }
}

fn group_labels(aggregate: &Aggregate, labels: &Labels) -> Labels {
    let names: Vec<&str> = aggregate.labels.iter().map(String::as_str).collect();
    if aggregate.without { labels.without(&names).without(&[METRIC_NAME]) } else { labels.only(&names) }
}

fn reduce(op: AggregateOp, values: &[f64], q: Option<f64>) -> f64 {
    match op {
        // 2.42 sums plainly here; the compensated sum is for ranges only.
        AggregateOp::Sum => values.iter().sum(),
        AggregateOp::Avg => mean(values),
        AggregateOp::Count => values.len() as f64,
        AggregateOp::Min => over_time::extreme(values, |value, best| value < best).unwrap_or(f64::NAN),
        AggregateOp::Max => over_time::extreme(values, |value, best| value > best).unwrap_or(f64::NAN),
        AggregateOp::Stddev => variance(values).sqrt(),
        AggregateOp::Stdvar => variance(values),
        AggregateOp::Quantile => over_time::quantile(q.unwrap_or(f64::NAN), values),
        AggregateOp::Group | AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::CountValues => 1.0,
    }
}

fn mean(values: &[f64]) -> f64 {
    let mut mean: f64 = 0.0;
    for (n, value) in values.iter().enumerate() {
        if mean.is_infinite() {
            let same_infinity = value.is_infinite() && (*value > 0.0) == (mean > 0.0);
            if same_infinity || value.is_finite() {
                continue;
            }
        }
        let count = (n + 1) as f64;
        mean += value / count - mean / count;
    }
    mean
}

fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut sum) = (0.0, 0.0);
    for (n, value) in values.iter().enumerate() {
        let delta = value - mean;
        mean += delta / (n + 1) as f64;
        sum += delta * (value - mean);
    }
    sum / values.len() as f64
}

/// At each step the k largest or smallest, NaN last; as columns sorted by the first step's rank, so that an
/// instant query keeps the order.
fn select_k(op: AggregateOp, k: &[f64], group: &[Column]) -> Vec<Column> {
    let descending = op == AggregateOp::Topk;
    let mut kept: Vec<Column> = group
        .iter()
        .map(|column| Column { labels: column.labels.clone(), values: vec![None; column.values.len()] })
        .collect();
    let mut order: Vec<usize> = Vec::new();
    for (step, k) in k.iter().enumerate() {
        let count = if *k >= 1.0 { k.min(group.len() as f64) as usize } else { 0 };
        let mut ranked: Vec<(usize, f64)> = group
            .iter()
            .enumerate()
            .filter_map(|(n, column)| Some((n, column.values.get(step).copied().flatten()?)))
            .collect();
        ranked.sort_by(|(_, a), (_, b)| {
            let by_value = a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
            a.is_nan().cmp(&b.is_nan()).then(if descending { by_value.reverse() } else { by_value })
        });
        for (n, value) in ranked.into_iter().take(count) {
            if !order.contains(&n) {
                order.push(n);
            }
            if let Some(slot) = kept.get_mut(n).and_then(|column| column.values.get_mut(step)) {
                *slot = Some(value);
            }
        }
    }
    let mut by_rank: Vec<Option<Column>> = kept.into_iter().map(Some).collect();
    order.into_iter().filter_map(|n| by_rank.get_mut(n).and_then(Option::take)).collect()
}

fn count_values(labels: &Labels, label: &str, group: &[Column], steps: usize) -> Vec<Column> {
    let mut counts: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for column in group {
        for (step, value) in column.values.iter().enumerate() {
            let Some(value) = value else { continue };
            let counted = counts.entry(json::number(*value)).or_insert_with(|| vec![None; steps]);
            if let Some(slot) = counted.get_mut(step) {
                *slot = Some(slot.unwrap_or(0.0) + 1.0);
            }
        }
    }
    counts.into_iter().map(|(value, values)| Column { labels: labels.with(label, &value), values }).collect()
}
