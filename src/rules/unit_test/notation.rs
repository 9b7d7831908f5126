//! The series notation of unit tests: `1+2x3 _x4 stale 7`.

use crate::model::{Labels, METRIC_NAME, MatchOp, stale_marker};
use crate::promql::{self, Expr};

/// The most samples one series of a test may have: a typo in a repetition must not eat the memory.
const SAMPLES_MAX: usize = 10_000_000;

/// The samples of one series, one per interval; `None` is a gap.
///
/// `a` is one sample, `axn` the same n+1 times, `a+bxn` and `a-bxn` the n+1 samples from `a` on in steps of
/// `b`, `_` one gap, `_xn` n gaps, `stale` a stale marker. The format is described in Prometheus'
/// documentation, "Unit testing for rules".
///
/// # Errors
/// With the item that is none of these.
pub fn samples(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut samples = Vec::new();
    for item in text.split_whitespace() {
        let (value, step, times) =
            read(item).ok_or_else(|| format!("{item:?} is no value, a+bxn, axn, _, _xn or stale"))?;
        if times > SAMPLES_MAX.saturating_sub(samples.len()) {
            return Err(format!("{item:?}: a series may have {SAMPLES_MAX} samples at most"));
        }
        // Adding up as Prometheus does: the rounding is part of the value.
        let mut current = value;
        for _ in 0..times {
            samples.push(current);
            current = current.map(|value| if step == 0.0 { value } else { value + step });
        }
    }
    Ok(samples)
}

/// First value, step, and how many samples.
fn read(item: &str) -> Option<(Option<f64>, f64, usize)> {
    if item == "stale" {
        return Some((Some(stale_marker()), 0.0, 1));
    }
    if let Some(rest) = item.strip_prefix('_') {
        let times = if rest.is_empty() { 1 } else { rest.strip_prefix('x')?.parse().ok()? };
        return Some((None, 0.0, times));
    }
    let (value, rest) = number(item)?;
    if rest.is_empty() {
        return Some((Some(value), 0.0, 1));
    }
    let (step, rest) = if rest.starts_with('x') { (0.0, rest) } else { number(rest)? };
    let times: usize = rest.strip_prefix('x')?.parse().ok()?;
    Some((Some(value), step, times.checked_add(1)?))
}

/// A signed number at the start of `text`, and what follows it. No hexadecimal: `0x3` is a repetition.
fn number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign_length = text.len() - unsigned.len();
    if sign_length > 1 {
        return None;
    }
    let word_length = unsigned.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(unsigned.len());
    let length = if unsigned.starts_with(|c: char| c.is_ascii_alphabetic()) {
        if !["inf", "nan"].contains(&unsigned.get(..word_length)?.to_ascii_lowercase().as_str()) {
            return None;
        }
        word_length
    } else {
        digits_length(unsigned)
    };
    let (number, rest) = text.split_at_checked(sign_length + length)?;
    Some((number.parse().ok()?, rest))
}

fn digits_length(text: &str) -> usize {
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        let is_exponent_sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E');
        if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || is_exponent_sign) {
            return at;
        }
        previous = c;
    }
    text.len()
}

/// The labels of a series written as `name{label="value"}`, of `{}` and of nothing.
///
/// # Errors
/// When it is no such thing.
pub fn labels(text: &str) -> Result<Labels, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(Labels::default());
    }
    // A selector may not match everything, but a result may have no labels.
    let (parsed, stands_in) = match promql::parse(trimmed) {
        Err(_) if trimmed.starts_with('{') => (promql::parse(&format!("unnamed{trimmed}")), true),
        parsed => (parsed, false),
    };
    let Ok(Expr::Selector(selector)) = parsed else {
        return Err(format!("{text:?} is no series: expected name{{label=\"value\", …}}"));
    };
    if selector.matchers.iter().any(|matcher| matcher.op != MatchOp::Equal)
        || selector.shift != Default::default()
    {
        return Err(format!("{text:?} is no series: only label=\"value\" may stand in the braces"));
    }
    let pairs = selector.matchers.iter().map(|matcher| (matcher.name.as_str(), matcher.value.as_str()));
    let labels = Labels::from_pairs(pairs);
    Ok(if stands_in { labels.without(&[METRIC_NAME]) } else { labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_expands_as_documented() {
        for (text, expected) in [
            ("1 2", "1 2"),
            ("1+2x3", "1 3 5 7"),
            ("-2+4x3", "-2 2 6 10"),
            ("1-2x4", "1 -1 -3 -5 -7"),
            ("1x4", "1 1 1 1 1"),
            ("0x2", "0 0 0"),
            ("1e1+1e+1x1", "10 20"),
            ("_x3 4", "_ _ _ 4"),
            ("_ stale Inf -inf", "_ s inf -inf"),
            ("", ""),
        ] {
            let written = samples(text).expect(text).into_iter().map(|sample| match sample {
                None => "_".to_owned(),
                Some(value) if crate::model::is_stale_marker(value) => "s".to_owned(),
                Some(value) => value.to_string(),
            });
            assert_eq!(written.collect::<Vec<_>>().join(" "), expected, "{text}");
        }
        for wrong in
            ["a", "1+x3", "1x", "_y", "1 + 2x3", "stalex3", "--1", "1x99999999999", "0xfg", "NaNx3", "1x-1"]
        {
            assert!(samples(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn series_are_labels() {
        for (text, expected) in [
            ("up", "up{}"),
            ("up{job=\"a\"}", "up{job=\"a\"}"),
            ("{job=\"a\"}", "{job=\"a\"}"),
            ("{__name__=\"up\"}", "up{}"),
            ("{}", "{}"),
            ("", "{}"),
        ] {
            let labels = labels(text).expect(text);
            let named = labels.metric_name();
            let others = labels.without(&[METRIC_NAME]);
            let pairs: Vec<_> = others.iter().map(|l| format!("{}={:?}", l.name, l.value)).collect();
            assert_eq!(format!("{named}{{{}}}", pairs.join(",")), expected);
        }
        for wrong in ["up{job=~\"a\"}", "sum(up)", "up offset 5m", "up{"] {
            assert!(labels(wrong).is_err(), "{wrong}");
        }
    }
}
