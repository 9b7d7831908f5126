//! Cron expressions in UTC, with seconds: `0 */15 * * * *`.

use chrono::{DateTime, TimeZone, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// A cron expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{expression:?} is not a cron expression with six fields (second minute hour day month weekday, UTC): {reason}"
)]
pub struct ScheduleError {
    expression: String,
    reason: String,
}

/// A parsed cron expression. tokio-cron-scheduler starts the runs; this says which instant a run is for.
#[derive(Debug, Clone)]
pub struct CronSchedule {
    text: String,
    cron: Cron,
}

impl CronSchedule {
    /// # Errors
    /// When the expression does not parse or never comes true.
    pub fn parse(expression: &str) -> Result<Self, ScheduleError> {
        let fail = |reason: String| ScheduleError { expression: expression.to_owned(), reason };
        let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
        let cron = parser.parse(expression).map_err(|error| fail(error.to_string()))?;
        let schedule = Self { text: expression.to_owned(), cron };
        schedule.next_after(0).map(|_| ()).ok_or_else(|| fail("it never comes true".to_owned()))?;
        Ok(schedule)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first slot after `now_ms`.
    pub fn next_after(&self, now_ms: i64) -> Option<i64> {
        let next = self.cron.find_next_occurrence(&at(now_ms)?, false).ok()?;
        Some(next.timestamp_millis())
    }

    /// The newest slot at or before `now_ms`: the instant a run that starts now is for.
    pub fn slot_at(&self, now_ms: i64) -> Option<i64> {
        let slot = self.cron.find_previous_occurrence(&at(now_ms)?, true).ok()?;
        Some(slot.timestamp_millis().div_euclid(1000) * 1000)
    }
}

fn at(now_ms: i64) -> Option<DateTime<Utc>> {
    // Cron knows whole seconds only.
    Utc.timestamp_opt(now_ms.div_euclid(1000), 0).single()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_belongs_to_the_slot_that_has_come() {
        let schedule = CronSchedule::parse("0 */15 * * * *").expect("parses");
        let noon = 1_764_072_000_000; // 2025-11-25T12:00:00Z
        for (now, slot, next) in [
            (noon, noon, noon + 900_000),
            (noon + 450, noon, noon + 900_000),
            (noon + 899_999, noon, noon + 900_000),
            (noon + 900_000, noon + 900_000, noon + 1_800_000),
        ] {
            assert_eq!((schedule.slot_at(now), schedule.next_after(now)), (Some(slot), Some(next)), "{now}");
        }
    }

    #[test]
    fn says_what_a_cron_expression_looks_like() {
        for bad in ["", "* * * * *", "61 * * * * *", "0 0 0 31 2 *", "every minute"] {
            let error = CronSchedule::parse(bad).expect_err(bad).to_string();
            assert!(error.contains("six fields"), "{error}");
        }
    }
}
