//! Functions over a range of samples. The formulas are Prometheus 2.42's, down to the compensated sums.

use super::window::Samples;

/// Rate, increase and delta: the change over the window, extrapolated to its edges where samples come close
/// to them, but never below zero for a counter.
pub(super) fn extrapolated(samples: &Samples<'_>, counter: bool, per_second: bool) -> Option<f64> {
    let (first_ts, last_ts) = (*samples.ts_ms.first()?, *samples.ts_ms.last()?);
    let (first, last) = (*samples.values.first()?, *samples.values.last()?);
    let count = samples.values.len();
    if count < 2 {
        return None;
    }
    let mut change = last - first;
    if counter {
        change +=
            pairs(samples.values).filter(|(before, now)| now < before).map(|(before, _)| before).sum::<f64>();
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let mut to_start = seconds(first_ts - samples.start_ms);
    let to_end = seconds(samples.end_ms - last_ts);
    let sampled = seconds(last_ts - first_ts);
    let average = sampled / (count - 1) as f64;
    if counter && change > 0.0 && first >= 0.0 {
        to_start = to_start.min(sampled * (first / change));
    }
    // An edge further away than a sample and a bit is a series that began or ended inside the window.
    let threshold = average * 1.1;
    let reach = |edge: f64| if edge < threshold { edge } else { average / 2.0 };
    let mut factor = (sampled + reach(to_start) + reach(to_end)) / sampled;
    if per_second {
        factor /= samples.range_seconds();
    }
    Some(change * factor)
}

/// irate and idelta: from the last two samples.
pub(super) fn instant_change(samples: &Samples<'_>, rate: bool) -> Option<f64> {
    let [.., before_ts, now_ts] = samples.ts_ms else { return None };
    let [.., before, now] = samples.values else { return None };
    let change = if rate && now < before { *now } else { now - before };
    let interval_ms = now_ts - before_ts;
    if interval_ms == 0 {
        return None;
    }
    Some(if rate { change / (interval_ms as f64 / 1000.0) } else { change })
}

fn pairs(values: &[f64]) -> impl Iterator<Item = (f64, f64)> + '_ {
    values.iter().zip(values.iter().skip(1)).map(|(a, b)| (*a, *b))
}

pub(super) fn changes(values: &[f64]) -> f64 {
    pairs(values).filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64
}

pub(super) fn resets(values: &[f64]) -> f64 {
    pairs(values).filter(|(a, b)| b < a).count() as f64
}

/// A sum that carries what rounding loses (Kahan, in Neumaier's form).
#[derive(Default, Clone, Copy)]
struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        // An infinite sum has lost nothing that could be found again.
        self.lost = if sum.is_infinite() {
            0.0
        } else if self.sum.abs() >= value.abs() {
            self.lost + ((self.sum - sum) + value)
        } else {
            self.lost + ((value - sum) + self.sum)
        };
        self.sum = sum;
    }

    fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

pub(super) fn sum(values: &[f64]) -> f64 {
    let mut sum = Compensated::default();
    values.iter().for_each(|value| sum.add(*value));
    sum.total()
}

/// The mean as a running one, which does not overflow where the sum would.
pub(super) fn avg(values: &[f64]) -> f64 {
    let mut mean = Compensated::default();
    for (n, value) in values.iter().enumerate() {
        let count = (n + 1) as f64;
        if mean.sum.is_infinite() {
            let same_infinity = value.is_infinite() && (*value > 0.0) == (mean.sum > 0.0);
            if same_infinity || value.is_finite() {
                continue;
            }
        }
        mean.add(value / count - mean.sum / count);
    }
    mean.total()
}

/// A NaN counts only when there is nothing else.
pub(super) fn extreme(values: &[f64], better: impl Fn(f64, f64) -> bool) -> Option<f64> {
    values
        .iter()
        .copied()
        .reduce(|best, value| if better(value, best) || best.is_nan() { value } else { best })
}

/// The population variance, by Welford's method.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut aux) = (Compensated::default(), Compensated::default());
    for (n, value) in values.iter().enumerate() {
        let delta = value - (mean.sum + mean.lost);
        mean.add(delta / (n + 1) as f64);
        aux.add(delta * (value - (mean.sum + mean.lost)));
    }
    (aux.sum + aux.lost) / values.len() as f64
}

/// The φ-quantile of unsorted values, interpolated between the two nearest ranks; NaN sorts first.
pub(super) fn quantile(q: f64, values: &[f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| {
        b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    });
    let rank = q * (sorted.len() - 1) as f64;
    let lower = rank.floor().max(0.0);
    let at = |rank: f64| sorted.get(rank as usize).or(sorted.last()).copied().unwrap_or(f64::NAN);
    let weight = rank - lower;
    at(lower) * (1.0 - weight) + at(lower + 1.0) * weight
}

/// Least squares over the samples: slope per second, and the value at `at_ms`.
pub(super) fn regression(samples: &Samples<'_>, at_ms: i64) -> Option<(f64, f64)> {
    let first = *samples.values.first()?;
    if samples.values.len() < 2 {
        return None;
    }
    if samples.values.iter().all(|value| *value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let [mut x, mut y, mut xy, mut xx] = [Compensated::default(); 4];
    for (ts, value) in samples.ts_ms.iter().zip(samples.values) {
        let seconds = (ts - at_ms) as f64 / 1000.0;
        x.add(seconds);
        y.add(*value);
        xy.add(seconds * value);
        xx.add(seconds * seconds);
    }
    let n = samples.values.len() as f64;
    let of = |sum: Compensated| sum.sum + sum.lost;
    let (x, y, xy, xx) = (of(x), of(y), of(xy), of(xx));
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Some((slope, y / n - slope * x / n))
}

/// Double exponential smoothing; `None` with fewer than two samples.
pub(super) fn holt_winters(values: &[f64], smoothing: f64, trend_factor: f64) -> Option<f64> {
    let [first, second, ..] = values else { return None };
    let (mut smoothed, mut trend) = (*first, second - first);
    let mut previous = 0.0;
    for (n, value) in values.iter().enumerate().skip(1) {
        if n > 1 {
            trend = trend_factor * (smoothed - previous) + (1.0 - trend_factor) * trend;
        }
        previous = smoothed;
        smoothed = smoothing * value + (1.0 - smoothing) * (smoothed + trend);
    }
    Some(smoothed)
}
