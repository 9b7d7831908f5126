//! How long what grows will fit: the database into its quota, a disk, the open file limit.
//!
//! Method. The hourly values of up to four weeks are reduced to a median per day, so that compactions, defragmentations
//! and peaks of some hours, which come and go within a day, do not count. The trend is the Theil–Sen slope, the median
//! of the slopes between all pairs of days, and its 95 % interval is Sen's (P. K. Sen, "Estimates of the Regression
//! Coefficient Based on Kendall's Tau", 1968): a few days out of line move neither. Growth is spoken of only if the whole
//! interval is above zero. What is left is divided by the slope and by the interval's ends; a single jump is in the level
//! from the day after it, and not in the slope.
//! Refuses: reading anything (`survey` does), and thresholds (rules have them).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::Series;

/// With fewer days nothing is said.
pub const DAYS_MIN: usize = 3;
/// How far back is looked, days.
pub const DAYS_MAX: i64 = 28;
/// A day of which less is known is left out.
const HOURS_MIN: usize = 6;
/// What lasts longer is called not growing: no trend of four weeks holds for so long.
const DAYS_LEFT_MAX: f64 = 3_650.0;
/// The normal distribution's 97.5 % quantile.
const Z: f64 = 1.96;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// What fills up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Live data of the database against the backend quota: the file grows only when its free pages are used up.
    Quota,
    /// The file system that holds etcd's data.
    Disk,
    FileDescriptors,
}

impl Resource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Disk => "disk",
            Self::FileDescriptors => "file-descriptors",
        }
    }
}

/// The middle of an estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    pub middle: f64,
    pub low: f64,
    pub high: f64,
}

/// What can be said of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "outlook", rename_all = "kebab-case")]
pub enum Outlook {
    /// Days of data are missing.
    TooYoung { days: usize, needed: usize },
    /// No growth that is more than chance, or none that fills it in ten years.
    NotGrowing,
    /// Days until it is full, counted from now; `high` is infinite if the slowest growth never fills it.
    Days(Estimate),
    /// The limit is reached.
    Full,
}

/// One resource of a cluster or member.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    pub resource: Resource,
    /// The member, for what each has of its own.
    pub instance: Option<String>,
    /// In bytes or descriptors, as `limit`.
    pub used: f64,
    pub limit: f64,
    /// Growth per day; `None` while it is too young.
    pub per_day: Option<Estimate>,
    /// Days that the trend rests on.
    pub days: usize,
    #[serde(flatten)]
    pub outlook: Outlook,
}

/// The forecast from hourly values of `history` (NaN and gaps are no values).
pub fn forecast(
    resource: Resource,
    instance: Option<String>,
    history: &Series,
    limit: f64,
    now_ms: i64,
) -> Option<Forecast> {
    let newest = history.values.iter().rev().copied().find(|value| value.is_finite())?;
    let days = daily_medians(history, now_ms);
    let trend = (days.len() >= DAYS_MIN).then(|| slope(&days)).flatten();
    let used = trend.map_or(newest, |per_day| level(&days, per_day.middle));
    let outlook = match trend {
        None => Outlook::TooYoung { days: days.len(), needed: DAYS_MIN },
        Some(_) if used >= limit => Outlook::Full,
        Some(per_day) if per_day.low <= 0.0 => Outlook::NotGrowing,
        Some(per_day) => {
            let left = |per_day: f64| (limit - used) / per_day;
            let estimate =
                Estimate { middle: left(per_day.middle), low: left(per_day.high), high: left(per_day.low) };
            if estimate.middle > DAYS_LEFT_MAX { Outlook::NotGrowing } else { Outlook::Days(estimate) }
        }
    };
    Some(Forecast { resource, instance, used, limit, per_day: trend, days: days.len(), outlook })
}

impl Forecast {
    /// Seconds until it is full: 0 when it is, infinite while it does not grow, `None` while nobody knows.
    pub fn seconds_left(&self) -> Option<f64> {
        match self.outlook {
            Outlook::TooYoung { .. } => None,
            Outlook::NotGrowing => Some(f64::INFINITY),
            Outlook::Days(days) => Some(days.middle * 86_400.0),
            Outlook::Full => Some(0.0),
        }
    }
}

/// (days before now, median), oldest first.
fn daily_medians(history: &Series, now_ms: i64) -> Vec<(f64, f64)> {
    let mut by_day: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
    for (ts_ms, value) in history.ts_ms.iter().zip(&history.values) {
        if value.is_finite() && now_ms - ts_ms <= DAYS_MAX * DAY_MS {
            // Whole days back from now, so that the newest is as long as the others.
            by_day.entry((ts_ms - now_ms - 1).div_euclid(DAY_MS)).or_default().push((*ts_ms, *value));
        }
    }
    let full = by_day.into_values().filter(|points| points.len() >= HOURS_MIN);
    full.filter_map(|points| {
        let at = median(points.iter().map(|(ts_ms, _)| (ts_ms - now_ms) as f64 / DAY_MS as f64))?;
        Some((at, median(points.iter().map(|(_, value)| *value))?))
    })
    .collect()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Theil–Sen slope per day and Sen's interval.
fn slope(days: &[(f64, f64)]) -> Option<Estimate> {
    let mut slopes: Vec<f64> = Vec::new();
    for (n, (at, value)) in days.iter().enumerate() {
        let later = days.iter().skip(n + 1);
        slopes.extend(later.map(|(other_at, other)| (other - value) / (other_at - at)));
    }
    slopes.sort_by(f64::total_cmp);
    let (n, pairs) = (days.len() as f64, slopes.len() as f64);
    // The variance of Kendall's S without ties.
    let spread = Z * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let at = |rank: f64| slopes.get(rank.clamp(0.0, pairs - 1.0) as usize).copied();
    Some(Estimate {
        middle: median(slopes.iter().copied())?,
        low: at(((pairs - spread) / 2.0).floor())?,
        high: at(((pairs + spread) / 2.0).ceil())?,
    })
}

/// Where the trend is now; a jump of the last day counts at once.
fn level(days: &[(f64, f64)], per_day: f64) -> f64 {
    let fitted = median(days.iter().map(|(at, value)| value - per_day * at));
    let last = days.last().map(|(at, value)| value - per_day * at);
    fitted.into_iter().chain(last).fold(f64::NEG_INFINITY, f64::max)
}

/// The step of a history, ms.
pub const STEP_MS: i64 = HOUR_MS;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Labels;

    const NOW_MS: i64 = 1_800_000_000_000;
    const GIB: f64 = 1_073_741_824.0;

    /// Hourly values of `days` before now; `value` gets the days since the beginning.
    fn history(days: i64, value: impl Fn(f64) -> f64) -> Series {
        let mut series = Series::new(Labels::from_pairs([("__name__", "x")]));
        for hour in 0..=days * 24 {
            series.push(NOW_MS - (days * 24 - hour) * HOUR_MS, value(hour as f64 / 24.0));
        }
        series
    }

    fn of(history: &Series, limit: f64) -> Forecast {
        forecast(Resource::Quota, None, history, limit, NOW_MS).expect("there are values")
    }

    /// A number from -1 to 1 that looks like chance and is always the same.
    fn noise(day: f64) -> f64 {
        (day * 12.9898).sin() * 43_758.547 % 1.0
    }

    /// Days left of growth by 50 MiB a day from 1 GiB to 8 GiB.
    fn days_left(days: f64) -> f64 {
        (8.0 * GIB - GIB) / (0.05 * GIB) - days
    }

    #[test]
    fn days_left_are_right_within_a_tenth_whatever_goes_on_within_days_and_weeks() {
        let growth = |day: f64| GIB + 0.05 * GIB * day;
        // A compaction every five hours takes back what the writes of these hours left behind.
        let saw_tooth = |day: f64| growth(day) + 0.2 * GIB * (day * 24.0 % 5.0) / 5.0 - 0.1 * GIB;
        let weekly = |day: f64| growth(day) + 0.05 * GIB * (day / 7.0 * std::f64::consts::TAU).sin();
        let noisy = |day: f64| growth(day) * (1.0 + 0.02 * noise(day));
        // Somebody filled it for a day and took it back.
        let spike = |day: f64| growth(day) + if (10.0..11.0).contains(&day) { 4.0 * GIB } else { 0.0 };
        type Case<'a> = (&'a str, i64, &'a dyn Fn(f64) -> f64);
        let cases: [Case<'_>; 6] = [
            ("linear, 3 days", 3, &growth),
            ("linear", 14, &growth),
            ("saw-tooth", 14, &saw_tooth),
            ("weekly season", 28, &weekly),
            ("noise of 2 %", 14, &noisy),
            ("a spike of a day", 21, &spike),
        ];
        for (what, days, value) in cases {
            let found = of(&history(days, value), 8.0 * GIB);
            let Outlook::Days(left) = found.outlook else { panic!("{what}: {found:?}") };
            let truth = days_left(days as f64);
            assert!((left.middle / truth - 1.0).abs() < 0.1, "{what}: {left:?}, truth {truth}");
            assert!(left.low <= left.middle && left.middle <= left.high, "{what}: {left:?}");
        }
    }

    #[test]
    fn what_does_not_grow_has_no_days_left() {
        for (what, value) in [
            ("flat", (&|_| GIB) as &dyn Fn(f64) -> f64),
            ("noise", &|day| GIB * (1.0 + 0.1 * noise(day))),
            ("shrinking", &|day| 4.0 * GIB - 0.1 * GIB * day),
            ("so slow that nobody will see its end", &|day| GIB + 1000.0 * day),
        ] {
            assert_eq!(of(&history(14, value), 8.0 * GIB).outlook, Outlook::NotGrowing, "{what}");
        }
    }

    #[test]
    fn a_jump_counts_in_the_level_at_once_and_hardly_in_the_slope() {
        let jump = |day: f64| GIB + 0.05 * GIB * day + if day >= 19.0 { 3.0 * GIB } else { 0.0 };
        let found = of(&history(20, jump), 8.0 * GIB);
        let Outlook::Days(left) = found.outlook else { panic!("{found:?}") };
        let truth = (8.0 * GIB - jump(20.0)) / (0.05 * GIB);
        assert!((left.middle / truth - 1.0).abs() < 0.15, "{left:?}, truth {truth}");
    }

    #[test]
    fn young_full_and_patchy_histories_say_so() {
        assert_eq!(of(&history(2, |day| day), 8.0).outlook, Outlook::TooYoung { days: 2, needed: 3 });
        assert_eq!(of(&history(9, |day| day), 8.0).outlook, Outlook::Full);
        let mut patchy = history(9, |day| 1.0 + day);
        // Five hours of each day are known: too little for a median of the day.
        let keep = |ts_ms: i64| (ts_ms - NOW_MS).rem_euclid(DAY_MS) < 5 * HOUR_MS;
        let kept: Vec<(i64, f64)> =
            patchy.ts_ms.iter().copied().zip(patchy.values.clone()).filter(|(ts, _)| keep(*ts)).collect();
        (patchy.ts_ms, patchy.values) = kept.into_iter().unzip();
        assert_eq!(of(&patchy, 80.0).outlook, Outlook::TooYoung { days: 0, needed: 3 });
        assert_eq!(forecast(Resource::Quota, None, &Series::default(), 8.0, NOW_MS), None);
    }

    proptest! {
        #[test]
        fn days_left_know_no_unit_and_no_origin(
            steps in proptest::collection::vec(-1.0_f64..3.0, 24 * 6),
            scale in 0.01_f64..1e6,
            shift in 0.0_f64..1e6,
        ) {
            let at = |day: f64| steps.iter().take((day * 24.0) as usize).sum::<f64>();
            let plain = of(&history(6, at), 1_000.0);
            let scaled = of(&history(6, |day| at(day) * scale), 1_000.0 * scale);
            let shifted = of(&history(6, |day| at(day) + shift), 1_000.0 + shift);
            for other in [scaled, shifted] {
                match (&plain.outlook, &other.outlook) {
                    (Outlook::Days(a), Outlook::Days(b)) => {
                        prop_assert!((a.middle / b.middle - 1.0).abs() < 1e-3, "{a:?} {b:?}");
                    }
                    (a, b) => prop_assert_eq!(a, b),
                }
            }
        }
    }
}
