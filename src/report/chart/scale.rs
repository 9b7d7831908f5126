//! Axes: round ticks for values, whole hours or days for time.

use crate::model::catalogue::Unit;

/// A value axis that begins at zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ValueScale {
    pub(crate) max: f64,
    pub(crate) ticks: Vec<f64>,
    /// What one labelled unit is, in the metric's base unit, and its name.
    divisor: f64,
    unit: &'static str,
}

impl ValueScale {
    /// An axis for values up to `max` with about four ticks at 1, 2 or 5 times a power of ten of the shown
    /// unit.
    pub(crate) fn up_to(max: f64, unit: Unit) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let (divisor, name) = shown_unit(max, unit);
        let shown = max / divisor;
        let rough = shown / 3.5;
        let power = 10_f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
        let count = (shown * 1.04 / step).ceil().max(1.0);
        // At most about five ticks: the step is at least a 3.5th of the maximum.
        let ticks = (0..=count as usize).map(|n| n as f64 * step * divisor).collect();
        Self { max: count * step * divisor, ticks, divisor, unit: name }
    }

    /// Distance from the top, px.
    pub(crate) fn y(&self, value: f64, height: f64) -> f64 {
        height * (1.0 - (value / self.max).clamp(0.0, 1.0))
    }

    /// The tick's number; the topmost carries the unit.
    pub(crate) fn tick(&self, value: f64) -> String {
        let number = crate::model::unit::three_digits(value / self.divisor);
        let top = self.ticks.last().is_some_and(|last| *last == value);
        if top && !self.unit.is_empty() { format!("{number} {}", self.unit) } else { number }
    }

    /// A value as a line's end label shows it: without the unit.
    pub(crate) fn number(&self, value: f64) -> String {
        crate::model::unit::three_digits(value / self.divisor)
    }

    pub(crate) fn unit(&self) -> &'static str {
        self.unit
    }
}

fn shown_unit(max: f64, unit: Unit) -> (f64, &'static str) {
    match unit {
        Unit::Seconds if max >= 1.0 => (1.0, "s"),
        Unit::Seconds if max >= 1e-3 => (1e-3, "ms"),
        Unit::Seconds => (1e-6, "µs"),
        Unit::Bytes => [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
            .into_iter()
            .find(|(divisor, _)| max >= *divisor as f64)
            .map_or((1.0, "B"), |(divisor, name)| (divisor as f64, name)),
        Unit::Ratio => (0.01, "%"),
        Unit::Count => (1.0, ""),
        Unit::PerSecond => (1.0, "/s"),
        Unit::BytesPerSecond if max >= 1_048_576.0 => (1_048_576.0, "MiB/s"),
        Unit::BytesPerSecond if max >= 1024.0 => (1024.0, "KiB/s"),
        Unit::BytesPerSecond => (1.0, "B/s"),
        Unit::Cores => (1.0, "cores"),
    }
}

/// A time axis in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeScale {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

impl TimeScale {
    /// Share of the range before `ts_ms`, 0 to 1.
    pub(crate) fn share(self, ts_ms: i64) -> f64 {
        let span = (self.end_ms - self.start_ms).max(1) as f64;
        ((ts_ms - self.start_ms) as f64 / span).clamp(0.0, 1.0)
    }

    /// Whole multiples of a round step that lie inside, with their texts.
    pub(crate) fn ticks(self) -> Vec<(i64, String)> {
        const MINUTE_MS: i64 = 60_000;
        const HOUR_MS: i64 = 60 * MINUTE_MS;
        let span_ms = self.end_ms - self.start_ms;
        let step_ms = [
            MINUTE_MS,
            5 * MINUTE_MS,
            HOUR_MS / 4,
            HOUR_MS,
            2 * HOUR_MS,
            4 * HOUR_MS,
            12 * HOUR_MS,
            24 * HOUR_MS,
            7 * 24 * HOUR_MS,
        ]
        .into_iter()
        .find(|step| span_ms / step <= 7)
        .unwrap_or(30 * 24 * HOUR_MS);
        let format = if step_ms < 24 * HOUR_MS { "%H:%M" } else { "%-d %b" };
        let first = self.start_ms.div_euclid(step_ms) + 1;
        (first..=self.end_ms.div_euclid(step_ms))
            .map(|n| n * step_ms)
            .filter_map(|ts| {
                Some((ts, chrono::DateTime::from_timestamp_millis(ts)?.format(format).to_string()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round_and_named() {
        let labels = |max, unit| {
            let scale = ValueScale::up_to(max, unit);
            scale.ticks.iter().map(|t| scale.tick(*t)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(0.0166, Unit::Seconds), "0 5 10 15 20 ms");
        assert_eq!(labels(0.000_4, Unit::Seconds), "0 200 400 600 µs");
        assert_eq!(labels(2.87 * 1_073_741_824.0, Unit::Bytes), "0 1 2 3 GiB");
        assert_eq!(labels(0.8, Unit::Ratio), "0 50 100 %");
        assert_eq!(labels(0.0, Unit::Count), "0 0.5 1 1.5");
    }

    #[test]
    fn time_ticks_are_whole_hours_inside_the_range() {
        let end_ms = 1_763_733_912_000; // 2025-11-21T14:05:12Z
        let day = TimeScale { start_ms: end_ms - 86_400_000, end_ms };
        let texts: Vec<String> = day.ticks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["16:00", "20:00", "00:00", "04:00", "08:00", "12:00"]);
        assert_eq!(TimeScale { start_ms: end_ms - 3_600_000, end_ms }.ticks().len(), 4);
    }

    proptest! {
        #[test]
        fn any_positive_maximum_is_below_the_top_tick(max in 1e-9_f64..1e15) {
            for unit in [Unit::Seconds, Unit::Bytes, Unit::Ratio, Unit::Count] {
                let scale = ValueScale::up_to(max, unit);
                prop_assert!(scale.max >= max);
                prop_assert!((2..=8).contains(&scale.ticks.len()));
                let y = scale.y(max, 200.0);
                prop_assert!((0.0..=200.0).contains(&y));
            }
        }
    }
}
