//! Days and hours, by which table files are sorted.

use std::fmt;

use chrono::{DateTime, NaiveDate};

/// Days since the epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

pub(in crate::store) const DAY_MS: i64 = 86_400_000;
pub(in crate::store) const HOUR_MS: i64 = 3_600_000;

impl Day {
    pub fn of(ts_ms: i64) -> Self {
        Self(ts_ms.div_euclid(DAY_MS))
    }

    pub fn start_ms(self) -> i64 {
        self.0.saturating_mul(DAY_MS)
    }

    pub fn parse(text: &str) -> Option<Self> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(Self::of(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.start_ms()) {
            Some(t) => write!(f, "{}", t.format("%Y-%m-%d")),
            None => f.write_str("0000-00-00"),
        }
    }
}
