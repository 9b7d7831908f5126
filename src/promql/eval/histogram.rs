//! `histogram_quantile` over classic histograms.

use std::collections::BTreeMap;

use super::{Column, Evaluator, Steps};
use crate::model::{Labels, METRIC_NAME};
use crate::promql::EvalError;

impl Evaluator<'_> {
    pub(super) fn histogram_quantile(&self, q: &[f64], columns: &[Column]) -> Result<Steps, EvalError> {
        let mut histograms: BTreeMap<Labels, Vec<(f64, &Column)>> = BTreeMap::new();
        for column in columns {
            // Prometheus passes over series without a usable `le`.
            let Some(bound) = column.labels.get("le").and_then(bound) else { continue };
            let labels = column.labels.without(&[METRIC_NAME, "le"]);
            histograms.entry(labels).or_default().push((bound, column));
        }
        let quantiles = histograms.into_iter().map(|(labels, mut buckets)| {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let values = q.iter().enumerate().map(|(step, q)| {
                let there = buckets.iter().filter_map(|(bound, column)| {
                    Some((*bound, column.values.get(step).copied().flatten()?))
                });
                let counts: Vec<(f64, f64)> = there.collect();
                (!counts.is_empty()).then(|| quantile(*q, counts))
            });
            Column { labels, values: values.collect() }
        });
        Ok(Steps::Vector(quantiles.filter(|column| !column.is_empty()).collect()))
    }
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok().filter(|bound: &f64| !bound.is_nan()),
    }
}

/// The quantile of cumulative buckets sorted by upper bound: linear inside the bucket the rank falls in, the
/// second highest bound when that is the last one.
fn quantile(q: f64, buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        return f64::NAN;
    }
    let buckets = monotonic(coalesced(buckets));
    let [lower @ .., (_, observations)] = buckets.as_slice() else { return f64::NAN };
    let Some((highest, _)) = lower.last().filter(|_| *observations != 0.0 && !observations.is_nan()) else {
        return f64::NAN;
    };
    let rank = q * observations;
    let at = lower.partition_point(|(_, count)| *count < rank);
    let Some((end, count)) = lower.get(at) else { return *highest };
    let (start, below) = match at.checked_sub(1).and_then(|before| lower.get(before)) {
        Some(before) => *before,
        None if *end <= 0.0 => return *end,
        None => (0.0, 0.0),
    };
    start + (end - start) * ((rank - below) / (count - below))
}

/// Buckets with one bound, as differently written ones are, count together.
fn coalesced(buckets: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::with_capacity(buckets.len());
    for (bound, count) in buckets {
        match kept.last_mut() {
            Some((last, sum)) if *last == bound => *sum += count,
            _ => kept.push((bound, count)),
        }
    }
    kept
}

/// Rates of one histogram's buckets can be a little out of step; counts never fall towards higher bounds.
fn monotonic(mut buckets: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut most = f64::NEG_INFINITY;
    for (n, (_, count)) in buckets.iter_mut().enumerate() {
        if n == 0 || *count > most {
            most = *count;
        } else if *count < most {
            *count = most;
        }
    }
    buckets
}
