//! What is usual among clusters, and how far from it is far.
//!
//! Method: the modified z-score (B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers", 1993): the distance
//! from the median against the median of all such distances. Neither moves with a few clusters out of line, as mean and
//! standard deviation would. Where more than half of the clusters are equal the mean of the distances stands in.

use serde::Serialize;

/// With fewer clusters nothing is called usual.
pub const CLUSTERS_MIN: usize = 5;

/// The score from which on a value is an outlier, as the source recommends.
const SCORE_MIN: f64 = 3.5;
/// The standard deviation of a normal distribution in medians of its distances, and in means of them.
const OF_MEDIAN: f64 = 1.4826;
const OF_MEAN: f64 = 1.2533;

/// The middle of some values and how far they are from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Norm {
    pub median: f64,
    /// As a standard deviation, 0 if all are equal.
    pub spread: f64,
    /// Values that it rests on.
    pub of: usize,
}

/// On which side of the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Above,
    Below,
}

/// A value that is far from what is usual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Deviation {
    pub side: Side,
    pub median: f64,
    /// Value by median; `None` where the median is not above zero.
    pub factor: Option<f64>,
}

impl Norm {
    /// `None` for fewer than [`CLUSTERS_MIN`] finite values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        if values.len() < CLUSTERS_MIN {
            return None;
        }
        let middle = median(values.iter().copied())?;
        let distances = || values.iter().map(|value| (value - middle).abs());
        let usual = median(distances())? * OF_MEDIAN;
        let mean = distances().sum::<f64>() / values.len() as f64 * OF_MEAN;
        Some(Self { median: middle, spread: if usual > 0.0 { usual } else { mean }, of: values.len() })
    }

    /// How `value` deviates, if it is far: by score, and by at least `least` (in its unit), for among clusters that
    /// are nearly equal a trifle is out of line.
    pub fn deviation(&self, value: f64, least: f64) -> Option<Deviation> {
        let distance = (value - self.median).abs();
        let is_far = distance.is_finite() && distance >= least && distance > SCORE_MIN * self.spread;
        is_far.then(|| Deviation {
            side: if value > self.median { Side::Above } else { Side::Below },
            median: self.median,
            factor: (self.median > 0.0).then(|| value / self.median),
        })
    }
}

impl Deviation {
    /// `4.2x`, or `high` where there is no factor.
    pub fn text(&self) -> String {
        match (self.factor, self.side) {
            (Some(factor), _) => format!("{}x", crate::model::unit::three_digits(factor)),
            (None, Side::Above) => "high".to_owned(),
            (None, Side::Below) => "low".to_owned(),
        }
    }
}

/// The middle value, or the mean of the two middle ones.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_out_of_line_is_seen_and_does_not_move_the_norm() {
        let ms = |values: &[f64]| values.iter().map(|ms| ms / 1e3).collect::<Vec<f64>>();
        // (what, fsync p99 of all in ms, that of one in ms, what is said of it)
        let cases: [(&str, &[f64], f64, Option<&str>); 7] = [
            ("far above", &[2.0, 2.1, 1.9, 2.2, 2.0, 28.7], 28.7, Some("14x")),
            ("usual", &[2.0, 2.1, 1.9, 2.2, 2.0, 28.0], 2.2, None),
            ("out of line by a trifle", &[2.0, 2.0, 2.0, 2.0, 2.0, 2.5], 2.5, None),
            ("far below", &[90.0, 91.0, 92.0, 90.0, 91.0, 1.82], 1.82, Some("0.02x")),
            ("all differ", &[1.0, 5.0, 12.0, 20.0, 30.0, 44.0], 44.0, None),
            ("the others are equal", &[4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 40.0], 40.0, Some("10x")),
            ("the others are zero", &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 40.0], 40.0, Some("high")),
        ];
        for (what, all, one, wanted) in cases {
            let norm = Norm::of(ms(all)).expect(what);
            let found = norm.deviation(one / 1e3, 0.005).map(|found| found.text());
            assert_eq!(found.as_deref(), wanted, "{what}: {norm:?}");
        }
        assert_eq!(Norm::of([1.0, 1.0, 1.0, 1.0, f64::NAN]), None, "four values are no fleet");
    }

    proptest! {
        #[test]
        fn a_norm_knows_no_unit(values in proptest::collection::vec(0.001_f64..1e3, 5..40), scale in 0.01_f64..1e3) {
            let plain = Norm::of(values.iter().copied()).expect("enough");
            let scaled = Norm::of(values.iter().map(|value| value * scale)).expect("enough");
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()));
            prop_assert!(close(plain.median * scale, scaled.median));
            prop_assert!(close(plain.spread * scale, scaled.spread));
        }

        #[test]
        fn at_least_half_of_all_are_usual(values in proptest::collection::vec(-1e3_f64..1e3, 5..40)) {
            let norm = Norm::of(values.iter().copied()).expect("enough");
            let far = values.iter().filter(|value| norm.deviation(**value, 0.0).is_some()).count();
            prop_assert!(far * 2 <= values.len(), "{far} of {}: {norm:?}", values.len());
        }
    }
}
