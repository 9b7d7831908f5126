//! Sparklines: a line without axes.

use serde::Serialize;

use super::{BOX_WIDTH, path};
use crate::model::Series;

/// Height of the box a sparkline is drawn in.
const HEIGHT: f64 = 24.0;

/// At most this many points: a sparkline is some 100 px wide.
const POINTS_MAX: usize = 48;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Spark {
    pub(crate) path: String,
    /// The limit's height, where it is near the data.
    pub(crate) limit_y: Option<String>,
}

/// A sparkline of the range that ends at `end_ms`; of several points that share a place the highest is
/// drawn. `None` without data.
pub(crate) fn spark(series: &Series, start_ms: i64, end_ms: i64, limit: Option<f64>) -> Option<Spark> {
    let (ts, values) = series.window(start_ms, end_ms);
    let slot_ms = ((end_ms - start_ms) / POINTS_MAX as i64).max(1);
    let mut slots: Vec<Option<f64>> = vec![None; POINTS_MAX];
    for (ts, value) in ts.iter().zip(values).filter(|(_, value)| value.is_finite()) {
        let at = usize::try_from((ts - start_ms) / slot_ms).unwrap_or(0).min(POINTS_MAX - 1);
        if let Some(slot) = slots.get_mut(at) {
            *slot = Some(slot.map_or(*value, |v| v.max(*value)));
        }
    }
    evenly(&slots, limit)
}

/// A sparkline through `values` in their order, evenly spread, from zero; a missing one is a gap. The limit is drawn
/// where it is near the data. `None` with fewer than two places, or without data.
pub(crate) fn evenly(values: &[Option<f64>], limit: Option<f64>) -> Option<Spark> {
    let last = values.len().checked_sub(1).filter(|last| *last > 0)?;
    let highest = values.iter().flatten().copied().reduce(f64::max)?;
    let limit = limit.filter(|limit| *limit <= 3.0 * highest);
    let max = highest.max(limit.unwrap_or(0.0)).max(f64::MIN_POSITIVE) * 1.1;
    let y = |value: f64| HEIGHT * (1.0 - (value / max).clamp(0.0, 1.0));
    let x = |at: usize| (BOX_WIDTH * at as f64 / last as f64).round();
    let points = values.iter().enumerate().map(|(at, value)| value.map(|value| (x(at), y(value))));
    Some(Spark { path: path(points), limit_y: limit.map(|limit| super::coord(y(limit))) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn missing_values_leave_a_gap_and_far_limits_are_left_out() {
        let mut series = Series::new(Labels::default());
        for n in 0..48 {
            series.push(n * 10, if n == 20 { f64::NAN } else { 1.0 });
        }
        let drawn = spark(&series, 0, 480, Some(2.0)).expect("has data");
        assert_eq!(drawn.path.matches('M').count(), 2);
        assert!(drawn.limit_y.is_some());
        assert_eq!(spark(&series, 0, 480, Some(10.0)).expect("has data").limit_y, None);
        assert_eq!(spark(&series, 10_000, 20_000, None), None);
    }
}
