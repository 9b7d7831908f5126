//! `rate`, `increase`, `delta` and their instant forms, with Prometheus' extrapolation.

use super::call::seconds;
use super::rows::absent;
use super::window::{Ranges, Window};
use crate::model::Series;
use crate::promql::plan::Grid;

/// How the difference over a window is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slope {
    /// Per second; the series is a counter.
    Rate,
    /// Over the whole range; the series is a counter.
    Increase,
    /// Over the whole range; the series is a gauge.
    Delta,
}

/// A sample gap of up to this many average gaps at a window's edge is taken for the usual spacing.
const EDGE_GAPS: f64 = 1.1;

/// The difference of each window's last and first sample, corrected for counter resets and extrapolated
/// to the window's edges: <https://prometheus.io/docs/prometheus/latest/querying/functions/#increase>.
pub(super) fn extrapolated(ranges: &Ranges, series: &Series, grid: &Grid, slope: Slope) -> Vec<f64> {
    // The samples after which a counter fell, so that a window adds up its few resets and not its samples.
    let pairs = series.values.iter().zip(series.values.iter().skip(1)).enumerate();
    let resets: Vec<(usize, f64)> = match slope {
        Slope::Delta => Vec::new(),
        _ => pairs.filter(|(_, (before, now))| now < before).map(|(at, (before, _))| (at, *before)).collect(),
    };
    let mut first_reset = 0;
    let range_seconds = seconds(ranges.range_ms);
    ranges.slide(series, grid, |window| {
        while resets.get(first_reset).is_some_and(|(at, _)| *at < window.first) {
            first_reset += 1;
        }
        let (Some(first), Some(last)) = (window.values.first(), window.values.last()) else {
            return absent();
        };
        if window.values.len() < 2 {
            return absent();
        }
        let last_index = window.first + window.values.len() - 1;
        let mut difference = last - first;
        for (_, lost) in resets.iter().skip(first_reset).take_while(|(at, _)| *at < last_index) {
            difference += lost;
        }
        let counter_start = (slope != Slope::Delta).then_some(*first);
        let whole = difference * extrapolation(window, difference, counter_start);
        if slope == Slope::Rate { whole / range_seconds } else { whole }
    })
}

/// By how much the samples' own span falls short of the span they stand for.
fn extrapolation(window: &Window<'_>, difference: f64, counter_start: Option<f64>) -> f64 {
    let (Some(first_ms), Some(last_ms)) = (window.ts_ms.first(), window.ts_ms.last()) else {
        return f64::NAN;
    };
    #[expect(clippy::cast_precision_loss, reason = "no window has 2^53 samples")]
    let gaps = (window.ts_ms.len() - 1) as f64;
    let sampled = seconds(last_ms - first_ms);
    let gap = sampled / gaps;
    let mut to_start = seconds(first_ms - window.start_ms);
    let to_end = seconds(window.end_ms - last_ms);
    // A counter is not below zero: it cannot have started before it would have been.
    if let Some(start) = counter_start
        && difference > 0.0
        && start >= 0.0
    {
        let to_zero = sampled * (start / difference);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    let edge = |distance: f64| if distance < gap * EDGE_GAPS { distance } else { gap / 2.0 };
    (sampled + edge(to_start) + edge(to_end)) / sampled
}

/// `irate` (per second, resets allowed) or `idelta`, of the window's last two samples.
pub(super) fn instant(window: &Window<'_>, per_second: bool) -> f64 {
    let ([.., before_ms, now_ms], [.., before, now]) = (window.ts_ms, window.values) else { return absent() };
    let difference = if per_second && now < before { *now } else { now - before };
    if now_ms == before_ms {
        return absent();
    }
    if per_second { difference / seconds(now_ms - before_ms) } else { difference }
}
