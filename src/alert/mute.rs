//! Time intervals in which a route is muted. Alertmanager's words and meaning.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use chrono_tz::Tz;
use serde::Deserialize;

/// `[[alert.time-interval]]`: a name for times that routes refer to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TimeIntervalConfig {
    pub name: String,
    /// An instant is inside when one of these contains it.
    pub intervals: Vec<IntervalConfig>,
}

/// One interval; every field that is given must contain the instant, an absent one contains all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct IntervalConfig {
    pub times: Vec<TimesConfig>,
    /// `monday`, `monday:friday`.
    pub weekdays: Vec<String>,
    /// `1`, `1:5`; from the month's end with a minus: `-3:-1`.
    pub days_of_month: Vec<String>,
    /// `january`, `1:3`, `may:august`.
    pub months: Vec<String>,
    /// `2026`, `2026:2028`.
    pub years: Vec<String>,
    /// A name of the IANA time zone database, such as `Europe/Berlin`; UTC when absent.
    pub location: Option<String>,
}

/// From `start-time` until before `end-time`, as `HH:MM`; `24:00` is the end of the day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TimesConfig {
    pub start_time: String,
    pub end_time: String,
}

/// Text that is no part of a time interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text:?} is not {wanted}")]
pub struct IntervalError {
    field: &'static str,
    text: String,
    wanted: &'static str,
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Both ends are inside.
type Span = (i64, i64);

/// One interval, ready to use.
#[derive(Debug, Clone)]
pub struct Interval {
    /// Minutes of the day; the end is outside.
    times: Vec<Span>,
    /// Sunday is 0.
    weekdays: Vec<Span>,
    days_of_month: Vec<Span>,
    months: Vec<Span>,
    years: Vec<Span>,
    location: Tz,
}

impl Interval {
    /// # Errors
    /// The first text that is not what its field wants.
    pub fn new(config: &IntervalConfig) -> Result<Self, IntervalError> {
        let zone = config.location.as_deref().unwrap_or("UTC");
        let fail = |field, text: &str, wanted| IntervalError { field, text: text.to_owned(), wanted };
        let location = zone.parse::<Tz>().map_err(|_| fail("location", zone, "a time zone's IANA name"))?;
        let mut times = Vec::new();
        for TimesConfig { start_time, end_time } in &config.times {
            let wanted = "a time of day like 09:00, before the end";
            let start = minute(start_time).ok_or_else(|| fail("start-time", start_time, wanted))?;
            let end =
                minute(end_time).ok_or_else(|| fail("end-time", end_time, "a time of day like 17:00"))?;
            if start >= end {
                return Err(fail("start-time", start_time, wanted));
            }
            times.push((start, end));
        }
        let spans = |field, texts: &[String], wanted, one: fn(&str) -> Option<i64>| {
            let read = |text: &String| span(text, one).ok_or_else(|| fail(field, text, wanted));
            texts.iter().map(read).collect::<Result<Vec<Span>, _>>()
        };
        Ok(Self {
            times,
            weekdays: spans("weekdays", &config.weekdays, "a weekday, or like monday:friday", weekday)?,
            days_of_month: spans(
                "days-of-month",
                &config.days_of_month,
                "a day from 1 to 31 or -31 to -1, or like 1:5",
                |text| text.parse().ok().filter(|day| (1..=31).contains(day) || (-31..=-1).contains(day)),
            )?,
            months: spans("months", &config.months, "a month, or like may:august", month)?,
            years: spans("years", &config.years, "a year, or like 2026:2028", |text| text.parse().ok())?,
            location,
        })
    }

    /// Whether the instant is inside.
    pub fn contains(&self, now_ms: i64) -> bool {
        let Some(utc) = DateTime::from_timestamp_millis(now_ms) else { return false };
        let local = utc.with_timezone(&self.location);
        let minute = i64::from(local.hour()) * 60 + i64::from(local.minute());
        let day = i64::from(local.day());
        let length = days_in_month(local.year(), local.month());
        let from_start = |bound: i64| if bound < 0 { length + bound + 1 } else { bound };
        let in_any = |spans: &[Span], value: i64| {
            spans.is_empty() || spans.iter().any(|(first, last)| (*first..=*last).contains(&value))
        };
        (self.times.is_empty() || self.times.iter().any(|(start, end)| (*start..*end).contains(&minute)))
            && in_any(&self.weekdays, i64::from(local.weekday().num_days_from_sunday()))
            && in_any(&self.months, i64::from(local.month()))
            && in_any(&self.years, i64::from(local.year()))
            && (self.days_of_month.is_empty()
                || self
                    .days_of_month
                    .iter()
                    .any(|(first, last)| (from_start(*first)..=from_start(*last)).contains(&day)))
    }
}

/// A single value, or two with a colon between; the second is not before the first. Of days, a negative one
/// may follow a positive one.
fn span(text: &str, one: fn(&str) -> Option<i64>) -> Option<Span> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let (first, last) = (one(first.trim())?, one(last.trim())?);
    let may_rise = first > 0 && last < 0;
    (first <= last || may_rise).then_some((first, last))
}

fn minute(text: &str) -> Option<i64> {
    let (hour, minute) =
        text.split_once(':').filter(|(hour, minute)| (hour.len(), minute.len()) == (2, 2))?;
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let of_day = hour * 60 + minute;
    ((0..60).contains(&minute) && (0..=24 * 60).contains(&of_day)).then_some(of_day)
}

fn weekday(text: &str) -> Option<i64> {
    index_of(&WEEKDAYS, text)
}

fn month(text: &str) -> Option<i64> {
    let number = text.parse().ok().filter(|number| (1..=12).contains(number));
    number.or_else(|| index_of(&MONTHS, text).map(|index| index + 1))
}

fn index_of(names: &[&str], text: &str) -> Option<i64> {
    let at = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    i64::try_from(at).ok()
}

fn days_in_month(year: i32, month: u32) -> i64 {
    let date = |year, month| NaiveDate::from_ymd_opt(year, month, 1);
    let next = if month == 12 { date(year + 1, 1) } else { date(year, month + 1) };
    date(year, month).zip(next).map_or(31, |(first, next)| (next - first).num_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(text: &str) -> Result<Interval, IntervalError> {
        Interval::new(&toml::from_str(text).expect("the right fields"))
    }

    #[test]
    fn an_instant_is_inside_as_alertmanager_says() {
        for (text, instant, inside) in [
            ("", "2026-11-23T12:00:00Z", true),
            ("times = [{start-time='09:00', end-time='17:00'}]", "2026-11-23T09:00:00Z", true),
            ("times = [{start-time='09:00', end-time='17:00'}]", "2026-11-23T16:59:59Z", true),
            ("times = [{start-time='09:00', end-time='17:00'}]", "2026-11-23T17:00:00Z", false),
            ("times = [{start-time='18:00', end-time='24:00'}]", "2026-11-23T23:59:00Z", true),
            // 2026-11-23 is a Monday.
            ("weekdays = ['monday:friday']", "2026-11-23T12:00:00Z", true),
            ("weekdays = ['Saturday', 'sunday']", "2026-11-23T12:00:00Z", false),
            ("weekdays = ['sunday']", "2026-11-22T12:00:00Z", true),
            ("days-of-month = ['-1']", "2026-11-30T12:00:00Z", true),
            ("days-of-month = ['-3:-1']", "2028-02-26T12:00:00Z", false),
            ("days-of-month = ['-3:-1']", "2028-02-27T12:00:00Z", true),
            ("days-of-month = ['31']", "2026-11-30T12:00:00Z", false),
            ("days-of-month = ['20:-2']", "2026-11-29T12:00:00Z", true),
            ("days-of-month = ['20:-2']", "2026-11-30T12:00:00Z", false),
            ("months = ['october:december']", "2026-11-23T12:00:00Z", true),
            ("months = ['1:3', 'december']", "2026-11-23T12:00:00Z", false),
            ("years = ['2026:2028']", "2026-11-23T12:00:00Z", true),
            ("years = ['2027']", "2026-11-23T12:00:00Z", false),
            // Berlin is an hour ahead in winter and two in summer.
            (
                "location = 'Europe/Berlin'\ntimes = [{start-time='09:00', end-time='10:00'}]",
                "2026-11-23T08:30:00Z",
                true,
            ),
            (
                "location = 'Europe/Berlin'\ntimes = [{start-time='09:00', end-time='10:00'}]",
                "2026-07-23T08:30:00Z",
                false,
            ),
            ("location = 'Australia/Sydney'\nweekdays = ['tuesday']", "2026-11-23T20:00:00Z", true),
            ("weekdays = ['monday']\nmonths = ['may']", "2026-11-23T12:00:00Z", false),
        ] {
            let now_ms = DateTime::parse_from_rfc3339(instant).expect("an instant").timestamp_millis();
            assert_eq!(interval(text).expect(text).contains(now_ms), inside, "{text} at {instant}");
        }
    }

    #[test]
    fn what_is_no_interval_is_named() {
        for (text, message) in [
            ("weekdays = ['mon']", "weekdays: \"mon\" is not a weekday"),
            ("weekdays = ['friday:monday']", "friday:monday"),
            ("days-of-month = ['0']", "days-of-month: \"0\""),
            ("days-of-month = ['32']", "\"32\""),
            ("days-of-month = ['-1:-3']", "-1:-3"),
            ("months = ['13']", "months: \"13\""),
            ("years = ['soon']", "years: \"soon\""),
            ("location = 'Mars/Base'", "location: \"Mars/Base\""),
            ("times = [{start-time='17:00', end-time='09:00'}]", "before the end"),
            ("times = [{start-time='9:00', end-time='10:00'}]", "start-time: \"9:00\""),
            ("times = [{start-time='09:00', end-time='24:01'}]", "end-time: \"24:01\""),
        ] {
            let error = interval(text).expect_err(text).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
