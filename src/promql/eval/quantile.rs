//! The quantile of plain values, linear between the two nearest.

use std::cmp::Ordering;

/// The `q`-quantile; sorts `values` (NaN counts as the smallest). ±Inf outside of 0..=1.
pub(super) fn of(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| {
        a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())).then(Ordering::Equal)
    });
    #[expect(clippy::cast_precision_loss, reason = "no vector has 2^53 elements")]
    let rank = q * (values.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= rank < len")]
    let lower = rank.floor() as usize;
    let weight = rank - rank.floor();
    let at = |index: usize| values.get(index.min(values.len() - 1)).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at(lower + 1) * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_between_the_nearest_values() {
        for (q, values, expected) in [
            (0.5, vec![3.0, 1.0], 2.0),
            (0.9, vec![1.0, 2.0, 3.0], 2.8),
            (1.0, vec![1.0], 1.0),
            (-0.1, vec![1.0], f64::NEG_INFINITY),
            (1.1, vec![1.0], f64::INFINITY),
            (1.0, vec![2.0, f64::NAN, 1.0], 2.0),
        ] {
            let got = of(q, &mut values.clone());
            assert!((got - expected).abs() < 1e-12 || got == expected, "{q} of {values:?}: {got}");
        }
        assert!(of(f64::NAN, &mut [1.0]).is_nan() && of(0.5, &mut []).is_nan());
        assert!(of(0.0, &mut [1.0, f64::NAN]).is_nan());
    }
}
