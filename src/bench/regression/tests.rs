//! False alarms and power, on histories made from seeds.

use proptest::prelude::*;

use super::*;
use crate::bench::keys::scatter;

/// Normally distributed, by Box and Muller, from a seed.
fn normal(seed: u64, n: u64) -> f64 {
    let uniform = |n: u64| ((scatter(seed, n) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    (-2.0 * uniform(2 * n).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * n + 1)).cos()
}

/// Runs whose latencies scatter by `sigma`; from run `shift_at` on they are worse by `shift`.
fn runs(seed: u64, sigma: f64, length: usize, shift_at: usize, shift: f64) -> Vec<Option<f64>> {
    let value = |n: usize| {
        let level = if n >= shift_at { 1.0 + shift } else { 1.0 };
        Some(0.01 * level * (sigma * normal(seed, n as u64)).exp())
    };
    (0..length).map(value).collect()
}

fn verdicts(values: &[Option<f64>]) -> Vec<Verdict> {
    judge_values(values, Measure::P99)
        .into_iter()
        .map(|c| c.map_or(Verdict::Unknown, |c| c.verdict))
        .collect()
}

fn is_found(values: &[Option<f64>], within: usize) -> bool {
    let judged = verdicts(values);
    judged.iter().rev().take(within).any(|verdict| *verdict == Verdict::Regression)
}

/// The share of 4,000 histories for which `holds`.
fn share(holds: impl Fn(u64) -> bool) -> f64 {
    (0..4_000).filter(|seed| holds(*seed)).count() as f64 / 4_000.0
}

#[test]
fn fewer_than_one_run_in_a_hundred_is_called_worse_when_nothing_changed() {
    for sigma in [0.005, 0.01, 0.02, 0.05, 0.08] {
        // Three measures of one run, as they are looked at together.
        let false_alarms = share(|seed| {
            (0..3).any(|measure| is_found(&runs(seed * 3 + measure, sigma, 26, usize::MAX, 0.0), 1))
        });
        assert!(false_alarms < 0.01, "noise {sigma}: {false_alarms}");
    }
}

#[test]
fn five_percent_are_found_within_five_runs() {
    for (sigma, least) in [(0.005, 0.999), (0.01, 0.999), (0.015, 0.98), (0.02, 0.85)] {
        let found = share(|seed| is_found(&runs(seed, sigma, 25, 20, 0.05), 5));
        assert!(found >= least, "noise {sigma}: {found}");
    }
}

#[test]
fn twenty_percent_are_always_found_within_five_runs() {
    for (sigma, least) in [(0.01, 1.0), (0.02, 1.0), (0.05, 0.999), (0.08, 0.91)] {
        let found = share(|seed| is_found(&runs(seed, sigma, 25, 20, 0.21), 5));
        assert!(found >= least, "noise {sigma}: {found}");
    }
}

#[test]
fn what_became_worse_does_not_become_usual() {
    let judged = verdicts(&runs(3, 0.01, 80, 20, 0.3));
    assert!(judged[24..].iter().all(|verdict| *verdict == Verdict::Regression), "{judged:?}");
    let back: Vec<_> =
        runs(3, 0.01, 40, 20, 0.3).into_iter().chain(runs(4, 0.01, 20, usize::MAX, 0.0)).collect();
    assert!(verdicts(&back)[46..].iter().all(|verdict| *verdict < Verdict::Suspected));
}

#[test]
fn too_short_a_history_says_so() {
    assert_eq!(verdicts(&runs(1, 0.01, 5, 9, 0.0)), [Verdict::Unknown; 5]);
    let mut values = runs(1, 0.01, 3, 9, 0.0);
    values.push(Some(0.02));
    assert_eq!(verdicts(&values)[3], Verdict::Suspected);
}

#[test]
fn the_quantiles_are_students() {
    // The density integrated numerically up to where it comes to what the normal one does at 3.15.
    for (freedom, quantile) in
        [(4.0, 7.57), (5.0, 6.167), (10.0, 4.272), (19.0, 3.669), (30.0, 3.462), (1e6, 3.15)]
    {
        let ours = student(freedom);
        assert!((ours / quantile - 1.0).abs() < 0.03, "{freedom}: {ours}");
    }
}

proptest! {
    #[test]
    fn a_rate_that_falls_and_a_latency_that_rises_are_the_same_news(
        values in prop::collection::vec(0.001_f64..100.0, 6..30),
        now in 0.001_f64..100.0,
    ) {
        let inverse: Vec<f64> = values.iter().map(|value| 1.0 / value).collect();
        let latency = compare(&values, &[now], Measure::P99).expect("values");
        let rate = compare(&inverse, &[1.0 / now], Measure::Rate).expect("values");
        prop_assert_eq!(latency.verdict, rate.verdict);
        prop_assert!((latency.worse - rate.worse).abs() <= 1e-9 * latency.worse.abs().max(1.0));
    }

    #[test]
    fn twice_as_slow_is_never_the_same(sigma in 0.0_f64..0.08, seed in any::<u64>()) {
        let values = runs(seed, sigma, 21, 20, 1.0);
        prop_assert!(verdicts(&values)[20] >= Verdict::Suspected);
    }
}
