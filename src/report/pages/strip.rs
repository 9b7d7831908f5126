//! The last 90 days as a strip of bars.

use serde::Serialize;

use crate::report::chart::coord;
use crate::report::{DayState, DayWord};

/// How many days a strip shows.
pub(crate) const DAYS: usize = 90;

/// Height of the box; a healthy bar leaves a quarter free, an outage fills it.
const HEIGHT: f64 = 24.0;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Strip {
    /// One path per state: class and `d`, in a box of 900 by 24.
    pub(crate) paths: Vec<(&'static str, String)>,
    /// One per day, for the tooltips of the cluster page: left edge and text.
    pub(crate) days: Vec<(String, String)>,
    pub(crate) summary: String,
}

/// Bars for the last days; days that the list lacks count as days without data.
pub(crate) fn strip(days: &[DayState], now_ms: i64) -> Strip {
    const DAY_MS: i64 = 86_400_000;
    let today = now_ms.div_euclid(DAY_MS);
    let all: Vec<DayState> = (0..DAYS as i64)
        .map(|n| {
            let day_ms = (today - DAYS as i64 + 1 + n) * DAY_MS;
            let known = days.iter().find(|day| day.day_ms == day_ms).cloned();
            known.unwrap_or(DayState { day_ms, word: DayWord::NoData, quorum_ratio: None })
        })
        .collect();
    let paths = [DayWord::Healthy, DayWord::NoData, DayWord::Degraded, DayWord::Outage]
        .into_iter()
        .map(|word| (class(word), bars(&all, word)))
        .filter(|(_, d)| !d.is_empty());
    Strip {
        paths: paths.collect(),
        days: all.iter().enumerate().map(|(n, day)| (coord(n as f64 * 10.0), tooltip(day))).collect(),
        summary: summary(&all),
    }
}

fn class(word: DayWord) -> &'static str {
    match word {
        DayWord::Healthy => "ok",
        DayWord::NoData => "none",
        DayWord::Degraded => "warn",
        DayWord::Outage => "crit",
    }
}

fn bars(all: &[DayState], word: DayWord) -> String {
    let top = match word {
        DayWord::Outage => 0.0,
        DayWord::Degraded => 3.0,
        DayWord::Healthy => 6.0,
        DayWord::NoData => 14.0,
    };
    // Days of one state in a row are one bar: fewer bytes, and no seams on a small strip.
    let mut d = String::new();
    let mut at = 0;
    for run in all.chunk_by(|a, b| a.word == b.word) {
        if run.first().is_some_and(|day| day.word == word) {
            let width = run.len() * 10;
            d.push_str(&format!("M{} {}h{width}v{}h-{width}z", at * 10, coord(top), coord(HEIGHT - top)));
        }
        at += run.len();
    }
    d
}

fn tooltip(day: &DayState) -> String {
    let date = chrono::DateTime::from_timestamp_millis(day.day_ms)
        .map_or_else(String::new, |t| t.format("%-d %b %Y").to_string());
    let word = match day.word {
        DayWord::Healthy => "healthy",
        DayWord::NoData => "no data",
        DayWord::Degraded => "degraded",
        DayWord::Outage => "outage",
    };
    match day.quorum_ratio.filter(|ratio| *ratio < 1.0) {
        Some(ratio) => format!("{date}: {word}, {} with quorum", ratio_text(ratio)),
        None => format!("{date}: {word}"),
    }
}

/// Never rounds an outage away: 99.999 % at most unless it is whole.
pub(crate) fn ratio_text(ratio: f64) -> String {
    let text = format!("{:.3}", (ratio * 100.0).min(if ratio < 1.0 { 99.999 } else { 100.0 }));
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn summary(all: &[DayState]) -> String {
    let of = |word| all.iter().filter(|day| day.word == word).count();
    let ratios: Vec<f64> = all.iter().filter_map(|day| day.quorum_ratio).collect();
    if ratios.is_empty() {
        return "no data yet".to_owned();
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let days = |n: usize, what: &str| format!("{n} {what} day{}", if n == 1 { "" } else { "s" });
    format!(
        "{} with quorum · {} · {} · {} without data",
        ratio_text(mean),
        days(of(DayWord::Outage), "outage"),
        days(of(DayWord::Degraded), "degraded"),
        days(of(DayWord::NoData), "").replace("  ", " "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_days_are_days_without_data() {
        let now_ms = 20_000 * 86_400_000 + 5;
        let day = |n: i64, word, quorum_ratio| DayState { day_ms: n * 86_400_000, word, quorum_ratio };
        let days = [day(20_000, DayWord::Healthy, Some(1.0)), day(19_999, DayWord::Outage, Some(0.5))];
        let strip = strip(&days, now_ms);
        let bars: Vec<(&str, usize)> =
            strip.paths.iter().map(|(c, d)| (*c, d.matches('M').count())).collect();
        assert_eq!(bars, [("ok", 1), ("none", 1), ("crit", 1)]);
        assert_eq!(strip.summary, "75 % with quorum · 1 outage day · 0 degraded days · 88 days without data");
        assert_eq!(super::strip(&[], now_ms).summary, "no data yet");
    }

    #[test]
    fn an_outage_is_never_rounded_away() {
        assert_eq!(ratio_text(1.0), "100 %");
        assert_eq!(ratio_text(0.999_999_99), "99.999 %");
        assert_eq!(ratio_text(0.9998), "99.98 %");
    }
}
