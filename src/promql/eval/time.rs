//! Calendar functions, in UTC.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

/// The calendar function called `name` of a time in seconds; NaN where there is no such time.
pub(super) fn calendar(name: &str, seconds: f64) -> f64 {
    let time = if seconds.is_finite() { DateTime::<Utc>::from_timestamp(seconds as i64, 0) } else { None };
    let Some(time) = time else { return f64::NAN };
    match name {
        "minute" => f64::from(time.minute()),
        "hour" => f64::from(time.hour()),
        "day_of_week" => f64::from(time.weekday().num_days_from_sunday()),
        "day_of_month" => f64::from(time.day()),
        "day_of_year" => f64::from(time.ordinal()),
        "days_in_month" => days_in_month(time.year(), time.month()),
        "month" => f64::from(time.month()),
        _ => f64::from(time.year()),
    }
}

fn days_in_month(year: i32, month: u32) -> f64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let last = NaiveDate::from_ymd_opt(next_year, next_month, 1).and_then(|first| first.pred_opt());
    last.map_or(f64::NAN, |last| f64::from(last.day()))
}
