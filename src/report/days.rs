//! The last 90 days, one word per day.

use serde::Serialize;

use crate::model::{Incident, Series, Severity};

const DAY_MS: i64 = 86_400_000;

/// A day is called "no data" when fewer checks than this share of it were made.
const COVERAGE_MIN: f64 = 0.5;

/// What a day was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DayWord {
    Healthy,
    NoData,
    Degraded,
    Outage,
}

/// One day of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DayState {
    /// Midnight UTC at which it begins, ms since the epoch.
    pub day_ms: i64,
    pub word: DayWord,
    /// Share of the checks in which a majority of members answered; `None` without checks.
    pub quorum_ratio: Option<f64>,
}

/// The days up to the one that holds `data_through_ms`, oldest first, from the panels `day_quorum`,
/// `day_members` and `day_checks` and the incidents of that time.
///
/// A sample of these panels at midnight speaks of the 24 h before it; the sample at `data_through_ms`
/// speaks of today. An outage is a check without a majority; a degraded day had a member that did not
/// answer or a warning or worse that fired.
pub fn day_states(
    quorum: &[Series],
    members: &[Series],
    checks: &[Series],
    incidents: &[Incident],
    data_through_ms: i64,
    days: usize,
) -> Vec<DayState> {
    let today = data_through_ms.div_euclid(DAY_MS);
    let count = i64::try_from(days).unwrap_or(90);
    (today - count + 1..=today)
        .map(|day| {
            let day_ms = day * DAY_MS;
            let quorum_ratio = value_of_day(quorum, day_ms);
            let coverage = value_of_day(checks, day_ms).unwrap_or(0.0);
            // Today is not over: any check counts.
            let enough = if day == today { coverage > 0.0 } else { coverage >= COVERAGE_MIN };
            let word = match quorum_ratio {
                Some(ratio) if ratio < 1.0 => DayWord::Outage,
                Some(_) if enough => {
                    let all_up = value_of_day(members, day_ms).is_none_or(|share| share >= 1.0);
                    if all_up && !fired_on(incidents, day_ms) { DayWord::Healthy } else { DayWord::Degraded }
                }
                _ => DayWord::NoData,
            };
            DayState { day_ms, word, quorum_ratio }
        })
        .collect()
}

fn value_of_day(series: &[Series], day_ms: i64) -> Option<f64> {
    series
        .iter()
        .flat_map(|s| s.ts_ms.iter().zip(&s.values))
        .filter(|(ts, value)| (day_ms + 1..=day_ms + DAY_MS).contains(*ts) && value.is_finite())
        .map(|(_, value)| *value)
        .reduce(f64::min)
}

fn fired_on(incidents: &[Incident], day_ms: i64) -> bool {
    incidents.iter().any(|incident| {
        let until_ms = if incident.state.is_active() { i64::MAX } else { incident.changed_ms };
        incident.severity >= Severity::Warning && incident.fired_ms < day_ms + DAY_MS && until_ms >= day_ms
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn series(values: &[(i64, f64)]) -> Vec<Series> {
        let mut series = Series::new(Labels::default());
        for (day, value) in values {
            series.push(day * DAY_MS, *value);
        }
        vec![series]
    }

    #[test]
    fn each_day_gets_the_word_its_checks_support() {
        let quorum = series(&[(101, 1.0), (102, 0.99), (103, 1.0), (104, 1.0)]);
        let members = series(&[(101, 1.0), (102, 0.3), (103, 0.6), (104, 1.0)]);
        let checks = series(&[(101, 1.0), (102, 1.0), (103, 1.0), (104, 0.2)]);
        let words: Vec<DayWord> = day_states(&quorum, &members, &checks, &[], 105 * DAY_MS + 1, 6)
            .iter()
            .map(|day| day.word)
            .collect();
        use DayWord::{Degraded, Healthy, NoData, Outage};
        assert_eq!(words, [Healthy, Outage, Degraded, NoData, NoData, NoData]);
    }
}
