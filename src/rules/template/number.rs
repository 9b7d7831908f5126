//! Numbers as Go and Prometheus' template functions print them.

use chrono::{DateTime, SecondsFormat, Utc};

/// `%v` of a float64: the fewest digits that give the value back, with an exponent below -4 and from 6 on.
pub(super) fn shortest(value: f64) -> String {
    special(value).unwrap_or_else(|| general(&format!("{value:e}"), 6))
}

/// `%.4g` for `precision` 4: so many significant digits at most, without zeros at the end.
pub(super) fn digits(value: f64, precision: usize) -> String {
    special(value)
        .unwrap_or_else(|| general(&format!("{value:.decimals$e}", decimals = precision - 1), precision))
}

/// `%.2f` for `decimals` 2.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    special(value).unwrap_or_else(|| format!("{value:.decimals$}"))
}

/// `%.2e` for `decimals` 2.
pub(super) fn exponent(value: f64, decimals: usize) -> String {
    special(value).unwrap_or_else(|| {
        let text = format!("{value:.decimals$e}");
        let (mantissa, exponent) = parts(&text);
        with_exponent(mantissa, exponent)
    })
}

fn special(value: f64) -> Option<String> {
    match value {
        _ if value.is_nan() => Some("NaN".to_owned()),
        f64::INFINITY => Some("+Inf".to_owned()),
        f64::NEG_INFINITY => Some("-Inf".to_owned()),
        _ => None,
    }
}

fn parts(scientific: &str) -> (&str, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa, exponent.parse().unwrap_or(0))
}

/// Go writes the sign and at least two digits of the exponent.
fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// `scientific` as `%g` shows it: with an exponent below -4 and from `limit` on.
fn general(scientific: &str, limit: usize) -> String {
    let (mantissa, exponent) = parts(scientific);
    let (sign, magnitude) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let all: String = magnitude.chars().filter(char::is_ascii_digit).collect();
    let significant = match all.trim_end_matches('0') {
        "" => "0",
        significant => significant,
    };
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        let (first, others) = significant.split_at(1);
        let point = if others.is_empty() { "" } else { "." };
        return format!("{sign}{}", with_exponent(&format!("{first}{point}{others}"), exponent));
    }
    let Ok(before) = usize::try_from(exponent) else {
        let zeros = usize::try_from(exponent.unsigned_abs()).unwrap_or(1) - 1;
        return format!("{sign}0.{}{significant}", "0".repeat(zeros));
    };
    if significant.len() <= before + 1 {
        return format!("{sign}{significant:0<width$}", width = before + 1);
    }
    let (whole, fraction) = significant.split_at(before + 1);
    format!("{sign}{whole}.{fraction}")
}

/// Divides or multiplies by `base` while there are prefixes.
fn scaled(mut value: f64, base: f64, prefixes: &[&'static str], small: bool) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if if small { value.abs() >= 1.0 } else { value.abs() < base } {
            break;
        }
        prefix = next;
        value = if small { value * base } else { value / base };
    }
    (value, prefix)
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return digits(value, 4);
    }
    let (value, prefix) = if value.abs() >= 1.0 {
        scaled(value, 1_000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"], false)
    } else {
        scaled(value, 1_000.0, &SMALL, true)
    };
    format!("{}{prefix}", digits(value, 4))
}

pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return digits(value, 4);
    }
    let (value, prefix) = scaled(value, 1_024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"], false);
    format!("{}{prefix}", digits(value, 4))
}

pub(super) fn humanize_percentage(value: f64) -> String {
    format!("{}%", digits(value * 100.0, 4))
}

/// Seconds as `1h 2m 5s` from one minute on, as `28.4ms` below a second.
pub(super) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return digits(seconds, 4);
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() < 1.0 {
        let (value, prefix) = scaled(seconds, 1_000.0, &SMALL, true);
        return format!("{}{prefix}s", digits(value, 4));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole seconds; Rust saturates"
    )]
    let whole = seconds.abs() as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", digits(seconds.abs(), 4)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// Seconds since the epoch as ms, cut off as Prometheus does, within the 292 years that nanoseconds reach.
pub(super) fn ms_of(seconds: f64) -> Result<i64, String> {
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    let ns = seconds * 1e9;
    if ns.abs() >= i64::MAX as f64 {
        let text = shortest(seconds);
        return Err(format!(
            "{text} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds")]
    Ok(ns as i64 / 1_000_000)
}

/// As Go prints an instant in UTC: `2026-11-23 10:00:00.5 +0000 UTC`.
pub(super) fn timestamp(ms: i64) -> String {
    let Some(time) = DateTime::<Utc>::from_timestamp_millis(ms) else { return ms.to_string() };
    let text = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let text = text.trim_end_matches('Z').replacen('T', " ", 1);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} +0000 UTC")
}
