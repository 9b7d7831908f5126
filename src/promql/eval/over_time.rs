//! Functions of a range vector, each computed in one forward pass over a series.

use std::collections::VecDeque;

use super::rate::{self, Slope};
use super::rows::absent;
use super::window::{Ranges, Window};
use super::{EvalError, quantile, regression};
use crate::model::Series;
use crate::promql::function::Function;
use crate::promql::plan::Grid;

/// A range function with its scalar arguments, one value per instant each.
pub(super) struct RangeFunction {
    function: Function,
    scalars: Vec<Vec<f64>>,
}

impl RangeFunction {
    pub(super) fn new(function: Function, scalars: Vec<Vec<f64>>) -> Self {
        Self { function, scalars }
    }

    fn scalar(&self, index: usize, step: usize) -> f64 {
        self.scalars.get(index).and_then(|values| values.get(step)).copied().unwrap_or(f64::NAN)
    }

    /// One value per instant of the grid.
    ///
    /// # Errors
    /// When an argument is out of bounds where it is used: at an instant whose window has a sample.
    pub(super) fn values(
        &self,
        ranges: &Ranges,
        series: &Series,
        grid: &Grid,
    ) -> Result<Vec<f64>, EvalError> {
        let slide = |function: &dyn Fn(&Window<'_>) -> f64| ranges.slide(series, grid, function);
        let last = |values: &[f64]| values.last().copied().unwrap_or_else(absent);
        Ok(match self.function {
            Function::Rate => rate::extrapolated(ranges, series, grid, Slope::Rate),
            Function::Increase => rate::extrapolated(ranges, series, grid, Slope::Increase),
            Function::Delta => rate::extrapolated(ranges, series, grid, Slope::Delta),
            Function::Irate => slide(&|window| rate::instant(window, true)),
            Function::Idelta => slide(&|window| rate::instant(window, false)),
            Function::Changes => count_pairs(ranges, series, grid, |before, now| {
                now != before && !(now.is_nan() && before.is_nan())
            }),
            Function::Resets => count_pairs(ranges, series, grid, |before, now| now < before),
            Function::CountOverTime => slide(&|window| count(window.values)),
            Function::PresentOverTime | Function::AbsentOverTime => slide(&|_| 1.0),
            Function::LastOverTime => slide(&|window| last(window.values)),
            Function::SumOverTime => slide(&|window| sum(window.values)),
            Function::AvgOverTime => slide(&|window| mean(window.values)),
            Function::MaxOverTime => extremes(ranges, series, grid, |a, b| a >= b),
            Function::MinOverTime => extremes(ranges, series, grid, |a, b| a <= b),
            Function::StdvarOverTime => slide(&|window| variance(window.values)),
            Function::StddevOverTime => slide(&|window| variance(window.values).sqrt()),
            Function::QuantileOverTime => {
                slide(&|window| quantile::of(self.scalar(0, window.step), &mut window.values.to_vec()))
            }
            Function::Deriv => slide(&regression::deriv),
            Function::PredictLinear => {
                slide(&|window| regression::predict(window, self.scalar(0, window.step)))
            }
            Function::HoltWinters => return self.holt_winters(ranges, series, grid),
            _ => slide(&|_| absent()),
        })
    }

    fn holt_winters(&self, ranges: &Ranges, series: &Series, grid: &Grid) -> Result<Vec<f64>, EvalError> {
        let mut wrong = None;
        let values = ranges.slide(series, grid, |window| {
            let (smoothing, trend) = (self.scalar(0, window.step), self.scalar(1, window.step));
            match regression::check_factors(smoothing, trend) {
                Ok(()) => regression::holt_winters(window.values, smoothing, trend),
                Err(error) => {
                    wrong.get_or_insert(error);
                    absent()
                }
            }
        });
        wrong.map_or(Ok(values), Err)
    }
}

#[expect(clippy::cast_precision_loss, reason = "no series has 2^53 samples")]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// A sum with the error of its additions kept apart (Neumaier's variant of Kahan's summation).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Compensated {
    pub(super) sum: f64,
    pub(super) rest: f64,
}

impl Compensated {
    pub(super) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        self.rest += if self.sum.abs() >= value.abs() {
            (self.sum - total) + value
        } else {
            (value - total) + self.sum
        };
        self.sum = total;
    }

    pub(super) fn total(self) -> f64 {
        self.sum + self.rest
    }
}

fn sum(values: &[f64]) -> f64 {
    let mut sum = Compensated::default();
    values.iter().for_each(|value| sum.add(*value));
    if sum.sum.is_infinite() { sum.sum } else { sum.total() }
}

/// Sum by count; where the sum leaves the finite numbers, Prometheus' running mean, which need not.
fn mean(values: &[f64]) -> f64 {
    let mut whole = Compensated::default();
    values.iter().for_each(|value| whole.add(*value));
    if whole.sum.is_finite() { whole.total() / count(values) } else { running_mean(values) }
}

/// A mean that does not overflow where the sum would, and stays infinite once it is.
fn running_mean(values: &[f64]) -> f64 {
    let mut mean = Compensated::default();
    let mut count = 0.0;
    for value in values {
        count += 1.0;
        if mean.sum.is_infinite() {
            let same_infinity = value.is_infinite() && (mean.sum > 0.0) == (*value > 0.0);
            if same_infinity || value.is_finite() {
                continue;
            }
        }
        mean.add(value / count - mean.sum / count);
    }
    if mean.sum.is_infinite() { mean.sum } else { mean.total() }
}

/// Welford's population variance, compensated.
fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Compensated::default(), Compensated::default());
    let mut count = 0.0;
    for value in values {
        count += 1.0;
        let delta = value - mean.total();
        mean.add(delta / count);
        squares.add(delta * (value - mean.total()));
    }
    squares.total() / count
}

/// For each window, how many neighbouring samples `counts` holds for: a difference of running counts.
fn count_pairs(ranges: &Ranges, series: &Series, grid: &Grid, counts: impl Fn(f64, f64) -> bool) -> Vec<f64> {
    let mut running = vec![0_u32; 1];
    let mut total = 0;
    for (before, now) in series.values.iter().zip(series.values.iter().skip(1)) {
        total += u32::from(counts(*before, *now));
        running.push(total);
    }
    let at = |index: usize| running.get(index).copied().unwrap_or(total);
    ranges.slide(series, grid, |window| {
        f64::from(at(window.first + window.values.len() - 1) - at(window.first))
    })
}

/// The extreme of each window, NaN only when all its values are: a queue of candidates, best in front,
/// each later and worse than the one before.
fn extremes(
    ranges: &Ranges,
    series: &Series,
    grid: &Grid,
    at_least_as_good: impl Fn(f64, f64) -> bool,
) -> Vec<f64> {
    let mut candidates: VecDeque<(usize, f64)> = VecDeque::new();
    let mut next = 0;
    ranges.slide(series, grid, |window| {
        let end = window.first + window.values.len();
        let from = next.max(window.first);
        for (index, value) in (from..end).zip(window.values.iter().skip(from - window.first)) {
            if value.is_nan() {
                continue;
            }
            while candidates.back().is_some_and(|(_, other)| at_least_as_good(*value, *other)) {
                candidates.pop_back();
            }
            candidates.push_back((index, *value));
        }
        next = end;
        while candidates.front().is_some_and(|(index, _)| *index < window.first) {
            candidates.pop_front();
        }
        candidates.front().map_or(f64::NAN, |(_, value)| *value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_survives_what_its_sum_does_not() {
        let inf = f64::INFINITY;
        for (values, expected) in [
            (vec![1.0, 2.0, 6.0], 3.0),
            (vec![f64::MAX, f64::MAX], f64::MAX),
            (vec![inf, 1.0], inf),
            (vec![1.0, -inf, -inf], -inf),
            (vec![1e100, 1.0, -1e100], 1.0 / 3.0),
        ] {
            assert_eq!(mean(&values), expected, "{values:?}");
        }
        assert!(mean(&[inf, -inf]).is_nan() && mean(&[1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn a_variance_is_that_of_the_population() {
        assert_eq!(variance(&[2.0, 4.0, 6.0, 8.0]), 5.0);
        assert_eq!(variance(&[1e9 + 1.0, 1e9 + 3.0]), 1.0);
    }
}
