//! The threshold of an alert rule: the number its result is compared with.
//!
//! Prometheus' rule format has no named thresholds, and files with keys of our own would not be Prometheus'
//! files any more. So the threshold is found in the parsed expression: the constant on the right of the
//! comparison that decides whether the rule fires. That is the outermost `>`, `>=`, `<` or `<=` (not `bool`);
//! of `a and b` and `a unless b` the one in `a`, whose value the alert shows; of `a or b` the one in both,
//! if they are the same number. A rule without such a constant has no threshold.

use serde::{Deserialize, Serialize};

use crate::model::unit::{ByteSize, format_duration, parse_duration};
use crate::promql::ast::{AggregateOp, Binary, BinaryOp};
use crate::promql::{Expr, Function};

/// What a threshold's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Seconds,
    Bytes,
    /// A share, 0 to 1.
    Ratio,
    /// A bare number: members, changes, requests per second.
    Number,
}

/// An alert rule's limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Threshold {
    pub value: f64,
    pub unit: Unit,
}

/// A threshold as configuration writes it: a number in the rule's own unit, or a text with a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, or a text with a unit like \"20ms\", \"5%\" or \"2GiB\"")]
pub enum ThresholdText {
    Number(f64),
    Text(String),
}

impl Threshold {
    /// The threshold of `expr`, if it has one.
    pub fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Paren(inner) => Self::of(inner),
            Expr::Binary(binary) => match binary.op {
                BinaryOp::And | BinaryOp::Unless => Self::of(&binary.lhs),
                BinaryOp::Or => {
                    let (left, right) = (Self::of(&binary.lhs)?, Self::of(&binary.rhs)?);
                    (left.value == right.value).then_some(left)
                }
                _ if is_limit(binary) => {
                    Some(Self { value: constant(&binary.rhs)?, unit: unit_of(&binary.lhs).into() })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// `expr` with its threshold replaced; unchanged where it has none.
    #[must_use]
    pub fn put(expr: &Expr, value: f64) -> Expr {
        let mut changed = expr.clone();
        if Self::of(expr).is_some() {
            put(&mut changed, value);
        }
        changed
    }

    /// Reads what configuration wants in this threshold's place.
    ///
    /// # Errors
    /// With what was expected, when the text is in another unit.
    pub fn read(self, wanted: &ThresholdText) -> Result<f64, String> {
        let text = match wanted {
            ThresholdText::Number(number) if number.is_finite() => return Ok(*number),
            ThresholdText::Number(number) => return Err(format!("{number} is no limit")),
            ThresholdText::Text(text) => text.trim(),
        };
        if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            return Ok(number);
        }
        let read = match self.unit {
            Unit::Seconds => parse_duration(text).ok().map(|duration| duration.as_secs_f64()),
            Unit::Bytes => text.parse::<ByteSize>().ok().map(|size| size.0 as f64),
            Unit::Ratio => percentage(text),
            Unit::Number => None,
        };
        let expected = match self.unit {
            Unit::Seconds => "the rule compares seconds: write a duration like \"20ms\" or a number",
            Unit::Bytes => "the rule compares bytes: write a size like \"2GiB\" or a number",
            Unit::Ratio => "the rule compares a share: write it like \"85%\" or 0.85",
            Unit::Number => "the rule compares a bare number: write it without a unit",
        };
        read.ok_or_else(|| format!("{text:?} does not fit; {expected} (it is {self} now)"))
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.value * 1e3;
        match self.unit {
            Unit::Seconds if ms >= 1.0 && (ms - ms.round()).abs() < 1e-6 && ms < 1e15 => {
                f.write_str(&format_duration(std::time::Duration::from_millis(ms.round() as u64)))
            }
            Unit::Seconds => write!(f, "{}s", self.value),
            Unit::Bytes if self.value >= 0.0 && self.value.fract() == 0.0 && self.value < 1e18 => {
                write!(f, "{}", ByteSize(self.value as u64))
            }
            Unit::Ratio => write!(f, "{}%", (self.value * 1e8).round() / 1e6),
            Unit::Bytes | Unit::Number => write!(f, "{}", self.value),
        }
    }
}

fn percentage(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    number.is_finite().then_some(number / 100.0)
}

fn is_limit(binary: &Binary) -> bool {
    use BinaryOp::{Greater, GreaterOrEqual, Less, LessOrEqual};
    matches!(binary.op, Greater | GreaterOrEqual | Less | LessOrEqual) && !binary.return_bool
}

fn put(expr: &mut Expr, value: f64) {
    match expr {
        Expr::Paren(inner) => put(inner, value),
        Expr::Binary(binary) => match binary.op {
            BinaryOp::And | BinaryOp::Unless => put(&mut binary.lhs, value),
            BinaryOp::Or => {
                put(&mut binary.lhs, value);
                put(&mut binary.rhs, value);
            }
            _ => binary.rhs = Expr::Number(value),
        },
        _ => {}
    }
}

/// The value of an expression of numbers alone, such as `14 * 86400`.
fn constant(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Number(number) => Some(*number),
        Expr::Paren(inner) => constant(inner),
        Expr::Unary(unary) => constant(&unary.expr).map(|value| if unary.negative { -value } else { value }),
        Expr::Binary(binary) => {
            let (left, right) = (constant(&binary.lhs)?, constant(&binary.rhs)?);
            match binary.op {
                BinaryOp::Add => Some(left + right),
                BinaryOp::Sub => Some(left - right),
                BinaryOp::Mul => Some(left * right),
                BinaryOp::Div => Some(left / right),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What an expression counts, as far as its metric names tell; `None` for a bare constant, which takes the
/// unit of what it is combined with.
fn unit_of(expr: &Expr) -> Option<Unit> {
    match expr {
        Expr::Number(_) | Expr::Text(_) => None,
        Expr::Paren(inner) => unit_of(inner),
        Expr::Unary(unary) => unit_of(&unary.expr),
        Expr::Selector(selector) => Some(of_metric(selector.name.as_deref().unwrap_or(""))),
        Expr::Range(range) => Some(of_metric(range.selector.name.as_deref().unwrap_or(""))),
        Expr::Subquery(subquery) => unit_of(&subquery.expr),
        Expr::Aggregate(aggregate) => match aggregate.op {
            AggregateOp::Count | AggregateOp::CountValues | AggregateOp::Group => Some(Unit::Number),
            _ => unit_of(&aggregate.expr),
        },
        Expr::Call(call) => match call.function {
            Function::Time | Function::Timestamp => Some(Unit::Seconds),
            Function::Changes | Function::Resets | Function::CountOverTime | Function::Absent => {
                Some(Unit::Number)
            }
            _ => call.args.iter().find_map(unit_of),
        },
        Expr::Binary(binary) => {
            let (left, right) = (unit_of(&binary.lhs), unit_of(&binary.rhs));
            match (binary.op, left, right) {
                // A part of a whole; how many there are is no part of them.
                (BinaryOp::Div, Some(left), Some(right)) if left == right => Some(Unit::Ratio),
                (BinaryOp::Div, left, _) => left.or(Some(Unit::Number)),
                _ => left.or(right),
            }
        }
    }
}

fn of_metric(name: &str) -> Unit {
    let stem = ["_bucket", "_sum", "_total", "_p99", "_p50"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name);
    // Recorded series carry the operation behind a colon.
    let stem =
        stem.rsplit_once(':').map_or(stem, |(front, _)| if front.contains(':') { front } else { stem });
    if stem.ends_with("_seconds") || stem.ends_with("_seconds_max") {
        Unit::Seconds
    } else if stem.ends_with("_bytes") || stem.ends_with("_size_in_use") {
        Unit::Bytes
    } else if stem.ends_with("_ratio") {
        Unit::Ratio
    } else {
        Unit::Number
    }
}

impl From<Option<Unit>> for Unit {
    fn from(unit: Option<Unit>) -> Self {
        unit.unwrap_or(Self::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::parse;

    #[test]
    fn the_threshold_is_the_constant_of_the_deciding_comparison() {
        for (expr, shown, raised) in [
            ("a_seconds > 0.01", Some("10ms"), "a_seconds > 7"),
            ("(sum(rate(a_total[5m])) >= 14 * 60)", Some("840"), "(sum(rate(a_total[5m])) >= 7)"),
            ("x_bytes / y_bytes > 0.8 and on() z > 3", Some("80%"), "x_bytes / y_bytes > 7 and on() z > 3"),
            ("a_bytes > 1073741824 or b_bytes > 1073741824", Some("1GiB"), "a_bytes > 7 or b_bytes > 7"),
            ("expiry_seconds - time() < 14 * 86400", Some("14d"), "expiry_seconds - time() < 7"),
            (
                "histogram_quantile(0.99, sum by (le) (rate(a_seconds_bucket[5m]))) > 0.1",
                Some("100ms"),
                "histogram_quantile(0.99, sum by (le) (rate(a_seconds_bucket[5m]))) > 7",
            ),
            ("rate(bad_total[5m]) / rate(all_total[5m]) > 0.01", Some("1%"), ""),
            ("a > 3 or b > 4", None, ""),
            ("up == 0", None, ""),
            ("a > bool 1", None, ""),
            ("a > 3 * b", None, ""),
            ("absent(up)", None, ""),
        ] {
            let parsed = parse(expr).expect(expr);
            let found = Threshold::of(&parsed);
            assert_eq!(found.map(|threshold| threshold.to_string()).as_deref(), shown, "{expr}");
            let expected = if shown.is_none() { expr } else { raised };
            if !expected.is_empty() {
                assert_eq!(Threshold::put(&parsed, 7.0), parse(expected).expect(expected), "{expr}");
            }
        }
    }

    #[test]
    fn a_threshold_is_read_in_its_own_unit() {
        let text = |text: &str| ThresholdText::Text(text.to_owned());
        for (unit, wanted, value) in [
            (Unit::Seconds, text("20ms"), Some(0.02)),
            (Unit::Seconds, text("20MiB"), None),
            (Unit::Seconds, ThresholdText::Number(0.5), Some(0.5)),
            (Unit::Bytes, text("2KiB"), Some(2048.0)),
            (Unit::Bytes, text("2s"), None),
            (Unit::Ratio, text("85 %"), Some(0.85)),
            (Unit::Ratio, text("85ms"), None),
            (Unit::Number, text("7"), Some(7.0)),
            (Unit::Number, text("7%"), None),
            (Unit::Number, ThresholdText::Number(f64::NAN), None),
        ] {
            assert_eq!(Threshold { value: 1.0, unit }.read(&wanted).ok(), value, "{unit:?} {wanted:?}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for (value, unit) in
            [(0.02, Unit::Seconds), (0.0005, Unit::Seconds), (0.855, Unit::Ratio), (4096.0, Unit::Bytes)]
        {
            let threshold = Threshold { value, unit };
            let printed = threshold.to_string();
            let read = threshold.read(&ThresholdText::Text(printed.clone()));
            if unit == Unit::Seconds && value < 0.001 {
                assert_eq!(printed, "0.0005s");
            } else {
                assert_eq!(read, Ok(value), "{printed}");
            }
        }
    }
}
