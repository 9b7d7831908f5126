//! Aggregations that fold a group's series into one, series by series.

use super::super::rows::{Row, absent, is_absent};
use crate::promql::ast::AggregateOp;

/// What one instant of one group has seen so far.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    count: f64,
    /// Sum, extreme, or the sum of squared distances from the mean.
    value: f64,
    mean: f64,
}

/// One value per instant, absent where no row has one.
pub(super) fn of(op: AggregateOp, rows: &[Row], steps: usize) -> Vec<f64> {
    let mut seen = vec![Seen::default(); steps];
    let add = adder(op);
    for row in rows {
        for (seen, value) in seen.iter_mut().zip(&row.values).filter(|(_, value)| !is_absent(**value)) {
            seen.count += 1.0;
            add(seen, *value);
        }
    }
    let finish = |seen: Seen| match op {
        _ if seen.count == 0.0 => absent(),
        AggregateOp::Avg => seen.mean,
        AggregateOp::Count => seen.count,
        AggregateOp::Group => 1.0,
        AggregateOp::Stdvar => seen.value / seen.count,
        AggregateOp::Stddev => (seen.value / seen.count).sqrt(),
        _ => seen.value,
    };
    seen.into_iter().map(finish).collect()
}

fn adder(op: AggregateOp) -> fn(&mut Seen, f64) {
    match op {
        AggregateOp::Sum => {
            |seen, value| seen.value = if seen.count == 1.0 { value } else { seen.value + value }
        }
        AggregateOp::Min => |seen, value| {
            if seen.count == 1.0 || value < seen.value || seen.value.is_nan() {
                seen.value = value;
            }
        },
        AggregateOp::Max => |seen, value| {
            if seen.count == 1.0 || value > seen.value || seen.value.is_nan() {
                seen.value = value;
            }
        },
        AggregateOp::Avg => running_mean,
        AggregateOp::Stddev | AggregateOp::Stdvar => welford,
        _ => |_, _| {},
    }
}

/// A running mean, which does not overflow where the sum would.
fn running_mean(seen: &mut Seen, value: f64) {
    if seen.count == 1.0 {
        seen.mean = value;
        return;
    }
    if seen.mean.is_infinite() {
        let same_infinity = value.is_infinite() && (seen.mean > 0.0) == (value > 0.0);
        if same_infinity || value.is_finite() {
            return;
        }
    }
    seen.mean += value / seen.count - seen.mean / seen.count;
}

fn welford(seen: &mut Seen, value: f64) {
    // The first value sets the mean: an infinite one would make a NaN of the distance.
    if seen.count == 1.0 {
        seen.mean = value;
        return;
    }
    let delta = value - seen.mean;
    seen.mean += delta / seen.count;
    seen.value += delta * (value - seen.mean);
}
