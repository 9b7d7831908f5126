//! How much a metric moved at an instant: the points before it against those after.

use serde::Serialize;

use crate::model::catalogue::{Unit, Worse};
use crate::model::unit::{human_bytes, human_seconds, three_digits};
use crate::model::{Labels, Series};

/// Fewer points than this on a side say nothing of what is usual there.
const POINTS_MIN: usize = 2;
/// The median absolute deviation times this estimates the standard deviation of normally distributed points
/// (Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993).
const MAD_TO_DEVIATION: f64 = 1.4826;
/// A level that moved by less than this many deviations is noise.
const SCORE_MIN: f64 = 4.0;
/// The highest of ten points of pure noise lies one to three deviations out; only a peak is no new level, so it
/// counts by a third.
const PEAK_WEIGHT: f64 = 1.0 / 3.0;
/// Of a steady metric the deviation is nil; a move counts against this part of its level at least.
const LEVEL_SHARE: f64 = 0.05;

/// The stretch of time that is compared with the one of equal length before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The event, ms since the epoch.
    pub at_ms: i64,
    /// How far before and after it points count, ms.
    pub span_ms: i64,
}

/// One series that moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shift {
    /// The catalogue's id.
    pub metric: String,
    pub title: String,
    /// The labels that tell this series from the metric's others.
    pub labels: std::collections::BTreeMap<String, String>,
    pub unit: Unit,
    /// The medians of both sides, in the metric's unit.
    pub before: f64,
    pub after: f64,
    /// The point after the event that is farthest from `before`.
    pub peak: f64,
    /// How many usual deviations it moved; the larger, the more remarkable.
    pub score: f64,
    /// Whether it moved to where the metric is worse; `None` where neither direction is.
    pub worse: Option<bool>,
}

/// What a metric is, as far as its moves are judged and told.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub id: &'a str,
    pub title: &'a str,
    pub unit: Unit,
    pub worse: Worse,
}

/// The move of one series, if it is more than noise. A point at the event itself belongs to the time before: what
/// it says was measured earlier.
pub fn of_series(subject: Subject<'_>, series: &Series, window: Window) -> Option<Shift> {
    let finite = |points: &[f64]| points.iter().copied().filter(|v| v.is_finite()).collect::<Vec<f64>>();
    let Window { at_ms, span_ms } = window;
    let before = finite(series.window(at_ms.saturating_sub(span_ms), at_ms).1);
    let after = finite(series.window(at_ms.saturating_add(1), at_ms.saturating_add(span_ms)).1);
    if before.len() < POINTS_MIN || after.len() < POINTS_MIN {
        return None;
    }
    let level = median(&before)?;
    let now = median(&after)?;
    let deviations: Vec<f64> = before.iter().map(|value| (value - level).abs()).collect();
    let usual = (MAD_TO_DEVIATION * median(&deviations)?)
        .max(LEVEL_SHARE * level.abs())
        .max(smallest_move(subject.unit) / SCORE_MIN);
    let farthest = |a: &f64, b: &f64| (a - level).abs().total_cmp(&(b - level).abs());
    let peak = after.iter().copied().max_by(farthest)?;
    let score = ((now - level).abs() / usual).max((peak - level).abs() / usual * PEAK_WEIGHT);
    // The new level says where it went; where only a peak stands out, the peak does.
    let went = if (now - level).abs() >= SCORE_MIN * usual { now } else { peak };
    (score >= SCORE_MIN).then(|| Shift {
        metric: subject.id.to_owned(),
        title: subject.title.to_owned(),
        labels: telling(&series.labels),
        unit: subject.unit,
        before: level,
        after: now,
        peak,
        score,
        worse: match subject.worse {
            Worse::High => Some(went > level),
            Worse::Low => Some(went < level),
            Worse::None => None,
        },
    })
}

/// The `most` strongest, those of `instance` first: what happened to a member shows there. Of each metric at most
/// two series are named, so that one metric with many series does not hide the others.
pub fn strongest(mut shifts: Vec<Shift>, instance: Option<&str>, most: usize) -> Vec<Shift> {
    let is_its =
        |shift: &Shift| instance.is_some() && shift.labels.get("instance").map(String::as_str) == instance;
    shifts.sort_by(|a, b| {
        is_its(b)
            .cmp(&is_its(a))
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| (&a.metric, &a.labels).cmp(&(&b.metric, &b.labels)))
    });
    let mut kept: Vec<Shift> = Vec::new();
    for shift in shifts {
        if kept.iter().filter(|known| known.metric == shift.metric).count() < 2 {
            kept.push(shift);
        }
    }
    kept.truncate(most);
    kept
}

impl Shift {
    /// `WAL fsync of 10.0.0.1:2379 p99: 2 ms → 180 ms (at most 1.2 s)`. `name` says what an instance is called.
    pub fn sentence(&self, name: impl Fn(&str) -> String) -> String {
        let mut who: Vec<String> = Vec::new();
        for (label, value) in &self.labels {
            who.push(match label.as_str() {
                "instance" => format!("of {}", name(value)),
                "quantile" => value.clone(),
                _ => format!("{label}={value}"),
            });
        }
        let who = if who.is_empty() { String::new() } else { format!(" {}", who.join(" ")) };
        let shown = |value| figure(self.unit, value);
        let (before, after, peak) = (shown(self.before), shown(self.after), shown(self.peak));
        let title = &self.title;
        match (after == before, peak == after) {
            (true, _) => format!("{title}{who}: {before}, for a while {peak}"),
            (false, true) => format!("{title}{who}: {before} → {after}"),
            (false, false) => format!("{title}{who}: {before} → {after} (up to {peak})")
                .replace("(up to", if self.peak < self.after { "(down to" } else { "(up to" }),
        }
    }
}

fn figure(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds => human_seconds(value),
        Unit::Bytes => human_bytes(value),
        Unit::Ratio => format!("{} %", three_digits(value * 100.0)),
        Unit::Count => three_digits(value),
        Unit::Cores => format!("{} cores", three_digits(value)),
        Unit::PerSecond => format!("{}/s", three_digits(value)),
        Unit::BytesPerSecond => format!("{}/s", human_bytes(value)),
    }
}

/// Moves below this are of no interest to anybody, however steady the metric was.
fn smallest_move(unit: Unit) -> f64 {
    match unit {
        Unit::Seconds => 0.002,
        Unit::Bytes => 4.0 * 1024.0 * 1024.0,
        Unit::Ratio => 0.02,
        Unit::Count | Unit::PerSecond => 0.5,
        Unit::BytesPerSecond => 16.0 * 1024.0,
        Unit::Cores => 0.1,
    }
}

fn telling(labels: &Labels) -> std::collections::BTreeMap<String, String> {
    let said = |name: &str| matches!(name, "cluster" | "source" | "__name__" | "job");
    let kept = labels.iter().filter(|label| !said(label.name.as_ref()));
    kept.map(|label| (label.name.to_string(), label.value.to_string())).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(middle.checked_sub(1)?)?;
    Some(lower + (upper - lower) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FSYNC: Subject<'_> =
        Subject { id: "wal_fsync", title: "WAL fsync", unit: Unit::Seconds, worse: Worse::High };
    const WINDOW: Window = Window { at_ms: 300_000, span_ms: 300_000 };

    /// Points every 30 s from 30 s on: ten before the event at 300 s (the tenth is at it), ten after.
    fn series(before: [f64; 10], after: [f64; 10]) -> Series {
        let mut series = Series::new(Labels::from_pairs([("cluster", "a"), ("instance", "h:1")]));
        for (at, value) in before.into_iter().chain(after).enumerate() {
            series.push(30_000 * (at as i64 + 1), value);
        }
        series
    }

    #[test]
    fn what_moved_is_told_with_its_figures() {
        let steady = [0.002; 10];
        let noisy = [0.002, 0.009, 0.004, 0.012, 0.003, 0.008, 0.002, 0.011, 0.005, 0.007];
        let spike = |high: f64| {
            let mut points = steady;
            points[2] = high;
            points[3] = high;
            points
        };
        for (name, before, after, told) in [
            ("a new level", steady, [0.180; 10], Some("WAL fsync of m1: 2 ms → 180 ms")),
            ("and back", [0.180; 10], steady, Some("WAL fsync of m1: 180 ms → 2 ms")),
            ("a spike", steady, spike(1.5), Some("WAL fsync of m1: 2 ms, for a while 1.5 s")),
            ("a small spike", steady, spike(0.004), None),
            ("nothing", steady, steady, None),
            ("less than anybody cares for", steady, [0.003; 10], None),
            ("noise", noisy, noisy.map(|v| v * 1.1), None),
            ("gaps only", steady, [f64::NAN; 10], None),
        ] {
            let shift = of_series(FSYNC, &series(before, after), WINDOW);
            let text = shift.as_ref().map(|shift| shift.sentence(|_| "m1".to_owned()));
            assert_eq!(text.as_deref(), told, "{name}: {shift:?}");
        }
    }

    #[test]
    fn a_move_is_worse_only_where_the_metric_has_a_bad_side() {
        let up = series([1.0; 10], [9.0; 10]);
        for (worse, is_worse) in [(Worse::High, Some(true)), (Worse::Low, Some(false)), (Worse::None, None)] {
            let shift = of_series(Subject { worse, ..FSYNC }, &up, WINDOW).expect("moved");
            assert_eq!(shift.worse, is_worse);
        }
    }

    #[test]
    fn the_members_own_metrics_come_first_and_none_hides_the_others() {
        let shift = |metric: &str, instance: &str, score| Shift {
            metric: metric.to_owned(),
            title: metric.to_owned(),
            labels: [("instance".to_owned(), instance.to_owned())].into(),
            unit: Unit::Count,
            before: 0.0,
            after: 1.0,
            peak: 1.0,
            score,
            worse: None,
        };
        let all = vec![
            shift("rtt", "h:3", 90.0),
            shift("rtt", "h:2", 80.0),
            shift("rtt", "h:4", 70.0),
            shift("cpu", "h:1", 5.0),
            shift("fsync", "h:2", 6.0),
        ];
        let kept = strongest(all, Some("h:1"), 4);
        let order: Vec<_> = kept.iter().map(|s| (s.metric.as_str(), s.labels["instance"].as_str())).collect();
        assert_eq!(order, [("cpu", "h:1"), ("rtt", "h:3"), ("rtt", "h:2"), ("fsync", "h:2")]);
    }

    proptest! {
        /// Two windows of one and the same distribution that differ by less than the deviation are never news.
        #[test]
        fn a_level_that_stays_is_no_news(level in 0.01..100.0_f64, wiggle in prop::collection::vec(-0.04..0.04_f64, 20)) {
            let point = |i: usize| level * (1.0 + wiggle[i]);
            let shift = of_series(FSYNC, &series(std::array::from_fn(point), std::array::from_fn(|i| point(i + 10))), WINDOW);
            prop_assert_eq!(shift, None);
        }

        /// What is ten times as high, and more than a trifle, always is.
        #[test]
        fn ten_times_as_much_is_news(level in 0.01..100.0_f64) {
            let shift = of_series(FSYNC, &series([level; 10], [level * 10.0; 10]), WINDOW);
            prop_assert!(shift.is_some_and(|shift| shift.worse == Some(true)));
        }
    }
}
