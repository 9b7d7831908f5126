//! Quantities with units: reading them from configuration (`"10ms"`, `"2GiB"`) and printing them for people.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}; write it like {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

const DURATION_UNITS: [(&str, u64); 7] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
    ("y", 31_536_000_000),
];

/// A duration in Prometheus' grammar: `15s`, `1h30m`, `500ms`, `2d`; units in falling order; `0` alone.
///
/// # Errors
/// When the text does not follow it, or overflows.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let fail = || UnitError {
        text: text.to_owned(),
        what: "duration",
        example: "\"10ms\", \"15s\", \"1h30m\" or \"2d\"",
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total_ms: u64 = 0;
    let mut last_unit_ms = u64::MAX;
    let mut rest = text;
    if rest.is_empty() {
        return Err(fail());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, unit_ms) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fail)?;
        let number: u64 = number.parse().map_err(|_| fail())?;
        if *unit_ms >= last_unit_ms {
            return Err(fail());
        }
        total_ms = number.checked_mul(*unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(fail)?;
        last_unit_ms = *unit_ms;
        rest = tail;
    }
    Ok(Duration::from_millis(total_ms))
}

/// The inverse of [`parse_duration`], in the fewest units: `1h30m`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Weeks and years read worse than days and are left out.
    for (unit, unit_ms) in DURATION_UNITS.iter().rev().filter(|(unit, _)| !matches!(*unit, "w" | "y")) {
        if rest >= *unit_ms {
            text.push_str(&format!("{}{unit}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    if text.is_empty() { "0".to_owned() } else { text }
}

/// A [`Duration`] that configuration writes as `"15s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigDuration(pub Duration);

impl<'de> Deserialize<'de> for ConfigDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Quantity {
            expected: "a duration with its unit, like \"15s\"",
            parse: |text| parse_duration(text).map(Self),
        })
    }
}

impl Serialize for ConfigDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(self.0))
    }
}

/// Reads a text with a unit, and says what it wants where it meets something else.
struct Quantity<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, UnitError>,
}

impl<T> serde::de::Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// A number of bytes that configuration writes as `"2GiB"` or `"500MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl std::str::FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fail =
            || UnitError { text: text.to_owned(), what: "size", example: "\"64MiB\", \"2GiB\" or \"500MB\"" };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let (_, unit_bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(fail)?;
        let number: u64 = number.parse().map_err(|_| fail())?;
        number.checked_mul(*unit_bytes).map(Self).ok_or_else(fail)
    }
}

/// In the largest binary unit that divides it, so that it reads back the same.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = SIZE_UNITS
            .iter()
            .find(|(name, bytes)| {
                (name.contains('i') || *bytes == 1) && self.0 >= *bytes && self.0.is_multiple_of(*bytes)
            })
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Quantity { expected: "a size with its unit, like \"2GiB\"", parse: str::parse })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes for people, three significant digits, binary units: `2.87 GiB`.
pub fn human_bytes(bytes: f64) -> String {
    let (unit, divisor) = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, divisor)| bytes.abs() >= *divisor as f64)
        .unwrap_or(("B", 1));
    format!("{} {unit}", three_digits(bytes / divisor as f64))
}

/// Seconds for people: `28.4 ms`, `1.9 s`, `350 µs`.
pub fn human_seconds(seconds: f64) -> String {
    let magnitude = seconds.abs();
    if magnitude >= 1.0 || magnitude == 0.0 {
        format!("{} s", three_digits(seconds))
    } else if magnitude >= 1e-3 {
        format!("{} ms", three_digits(seconds * 1e3))
    } else {
        format!("{} µs", three_digits(seconds * 1e6))
    }
}

/// A span for people, in its two largest units: `4 h 50 min`, `27 min`, `3 d`.
pub fn human_span(span_ms: i64) -> String {
    let seconds = span_ms.max(0) / 1000;
    let (d, h, m, s) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, _) => format!("{m} min"),
        (0, _, 0) => format!("{h} h"),
        (0, _, _) => format!("{h} h {m} min"),
        (_, 0, _) => format!("{d} d"),
        _ => format!("{d} d {h} h"),
    }
}

/// At most three significant digits, no trailing zeros after the point: `16.6`, `2.87`, `120`.
pub fn three_digits(value: f64) -> String {
    if !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs();
    let decimals = if magnitude >= 100.0 {
        0
    } else if magnitude >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `2026-11-23T14:05:12Z`, with milliseconds where they are not zero.
pub fn rfc3339(ts_ms: i64) -> String {
    let format =
        if ts_ms.rem_euclid(1000) == 0 { chrono::SecondsFormat::Secs } else { chrono::SecondsFormat::Millis };
    chrono::DateTime::from_timestamp_millis(ts_ms)
        .map_or_else(|| ts_ms.to_string(), |t| t.to_rfc3339_opts(format, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, ms) in [
            ("10ms", 10),
            ("15s", 15_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0", 0),
            ("1d500ms", 86_400_500),
        ] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(duration.as_millis(), ms, "{text}");
            assert_eq!(format_duration(duration), text);
        }
        for bad in ["", "10", "s", "5 s", "1m1h", "1s1s", "-5s", "1.5h", "99999999999999999999s", "10min"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, printed) in [
            ("2GiB", 2 << 30, "2GiB"),
            ("500MB", 500_000_000, "500000000B"),
            ("64 MiB", 64 << 20, "64MiB"),
            ("1B", 1, "1B"),
            ("0B", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().expect(text);
            assert_eq!((size.0, size.to_string().as_str()), (bytes, printed));
        }
        for bad in ["", "2", "GiB", "2gib", "1.5GiB", "99999999999TiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn people_read_two_units_and_three_digits() {
        assert_eq!(human_bytes(3_081_649_152.0), "2.87 GiB");
        assert_eq!(human_seconds(0.0284), "28.4 ms");
        assert_eq!(human_seconds(0.00035), "350 µs");
        assert_eq!(human_span(17_400_000), "4 h 50 min");
        assert_eq!(human_span(260_000_000), "3 d");
        assert_eq!(three_digits(120.4), "120");
        assert_eq!(rfc3339(1_764_000_000_000), "2025-11-24T16:00:00Z");
    }
}
