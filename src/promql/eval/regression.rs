//! `deriv`, `predict_linear` (least squares) and `holt_winters` (double exponential smoothing).

use super::EvalError;
use super::call::seconds;
use super::over_time::Compensated;
use super::rows::absent;
use super::window::Window;

/// Slope per second and the value at `origin_ms` of the least-squares line.
fn line(window: &Window<'_>, origin_ms: i64) -> (f64, f64) {
    let Some(first) = window.values.first() else { return (f64::NAN, f64::NAN) };
    // A constant series has no slope at all, whatever rounding would say.
    if window.values.iter().skip(1).all(|value| value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, *first) };
    }
    let mut sums = [Compensated::default(); 4];
    let mut count = 0.0;
    for (ts_ms, y) in window.ts_ms.iter().zip(window.values) {
        count += 1.0;
        let x = seconds(ts_ms - origin_ms);
        for (sum, term) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
            sum.add(term);
        }
    }
    let [x, y, xy, xx] = sums.map(Compensated::total);
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

pub(super) fn deriv(window: &Window<'_>) -> f64 {
    match window.ts_ms {
        [first_ms, _, ..] => line(window, *first_ms).0,
        _ => absent(),
    }
}

pub(super) fn predict(window: &Window<'_>, ahead_seconds: f64) -> f64 {
    if window.values.len() < 2 {
        return absent();
    }
    let (slope, intercept) = line(window, window.at_ms);
    slope * ahead_seconds + intercept
}

/// Both factors lie strictly between 0 and 1.
pub(super) fn check_factors(smoothing: f64, trend: f64) -> Result<(), EvalError> {
    for (name, factor) in [("smoothing", smoothing), ("trend", trend)] {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(EvalError::BadArgument {
                function: "holt_winters",
                reason: format!("invalid {name} factor: expected 0 < factor < 1, got {factor}"),
            });
        }
    }
    Ok(())
}

pub(super) fn holt_winters(values: &[f64], smoothing: f64, trend: f64) -> f64 {
    let [first, second, ..] = values else { return absent() };
    let (mut before, mut smoothed, mut slope) = (0.0, *first, second - first);
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        (before, smoothed) = (smoothed, smoothing * value + (1.0 - smoothing) * (smoothed + slope));
    }
    smoothed
}
