//! A tree back to canonical text, and the names of the operators.

use std::fmt;
use std::time::Duration;

use crate::model::{METRIC_NAME, MatchOp, Matcher, unit};
use crate::promql::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Cardinality, Expr, Matching, Selector, Shift,
};

const OPERATORS: [(&str, BinaryOp); 16] = [
    ("+", BinaryOp::Add),
    ("-", BinaryOp::Sub),
    ("*", BinaryOp::Mul),
    ("/", BinaryOp::Div),
    ("%", BinaryOp::Mod),
    ("^", BinaryOp::Pow),
    ("atan2", BinaryOp::Atan2),
    ("==", BinaryOp::Equal),
    ("!=", BinaryOp::NotEqual),
    (">", BinaryOp::Greater),
    ("<", BinaryOp::Less),
    (">=", BinaryOp::GreaterOrEqual),
    ("<=", BinaryOp::LessOrEqual),
    ("and", BinaryOp::And),
    ("or", BinaryOp::Or),
    ("unless", BinaryOp::Unless),
];

const AGGREGATES: [(&str, AggregateOp); 12] = [
    ("sum", AggregateOp::Sum),
    ("avg", AggregateOp::Avg),
    ("count", AggregateOp::Count),
    ("min", AggregateOp::Min),
    ("max", AggregateOp::Max),
    ("group", AggregateOp::Group),
    ("stddev", AggregateOp::Stddev),
    ("stdvar", AggregateOp::Stdvar),
    ("topk", AggregateOp::TopK),
    ("bottomk", AggregateOp::BottomK),
    ("count_values", AggregateOp::CountValues),
    ("quantile", AggregateOp::Quantile),
];

pub(super) fn operator_of(name: &str) -> Option<BinaryOp> {
    OPERATORS.iter().find(|(text, _)| *text == name).map(|(_, op)| *op)
}

pub(super) fn operator_name(op: BinaryOp) -> &'static str {
    OPERATORS.iter().find(|(_, other)| *other == op).map_or("", |(text, _)| text)
}

pub(super) fn aggregate_of(name: &str) -> Option<AggregateOp> {
    AGGREGATES.iter().find(|(text, _)| *text == name).map(|(_, op)| *op)
}

pub(super) fn aggregate_name(op: AggregateOp) -> &'static str {
    AGGREGATES.iter().find(|(_, other)| *other == op).map_or("", |(text, _)| text)
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write_number(f, *number),
            Self::Text(text) => write_text(f, text),
            Self::Selector(selector) => write!(f, "{selector}{}", selector.shift),
            Self::Range(range) => {
                let shift = range.selector.shift;
                write!(f, "{}[{}]{shift}", range.selector, duration(range.range_ms))
            }
            Self::Subquery(subquery) => {
                let step = subquery.step_ms.map(duration).unwrap_or_default();
                write!(f, "{}[{}:{step}]{}", subquery.expr, duration(subquery.range_ms), subquery.shift)
            }
            Self::Call(call) => {
                write!(f, "{}(", call.function.signature().name)?;
                for (at, arg) in call.args.iter().enumerate() {
                    write!(f, "{}{arg}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Self::Aggregate(aggregate) => aggregate.fmt(f),
            Self::Binary(binary) => binary.fmt(f),
            Self::Unary(unary) => write!(f, "{}{}", if unary.negative { "-" } else { "+" }, unary.expr),
            Self::Paren(expr) => write!(f, "({expr})"),
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(aggregate_name(self.op))?;
        if let Some(grouping) = &self.grouping {
            let keyword = if grouping.without { "without" } else { "by" };
            write!(f, " {keyword} ({}) ", grouping.labels.join(", "))?;
        }
        match &self.param {
            Some(param) => write!(f, "({param}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.lhs, operator_name(self.op))?;
        if self.return_bool {
            f.write_str(" bool")?;
        }
        if let Some(matching) = &self.matching {
            matching.fmt(f)?;
        }
        write!(f, " {}", self.rhs)
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {} ({})", if self.on { "on" } else { "ignoring" }, self.labels.join(", "))?;
        match &self.cardinality {
            Cardinality::OneToOne => Ok(()),
            Cardinality::GroupLeft(include) => write!(f, " group_left ({})", include.join(", ")),
            Cardinality::GroupRight(include) => write!(f, " group_right ({})", include.join(", ")),
        }
    }
}

/// Without `offset` and `@`, which stand after a range.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or(""))?;
        let shown = |m: &&Matcher| self.name.is_none() || m.name != METRIC_NAME;
        let mut matchers = self.matchers.iter().filter(shown).peekable();
        if matchers.peek().is_none() {
            return Ok(());
        }
        f.write_str("{")?;
        for (at, matcher) in matchers.enumerate() {
            let op = match matcher.op {
                MatchOp::Equal => "=",
                MatchOp::NotEqual => "!=",
                MatchOp::Regex => "=~",
                MatchOp::NotRegex => "!~",
            };
            write!(f, "{}{}{op}", if at == 0 { "" } else { ", " }, matcher.name)?;
            write_text(f, &matcher.value)?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Ms(ms)) => {
                let sign = if ms < 0 { "-" } else { "" };
                write!(f, " @ {sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)?;
            }
        }
        match self.offset_ms {
            0 => Ok(()),
            ms if ms < 0 => write!(f, " offset -{}", duration(ms.saturating_neg())),
            ms => write!(f, " offset {}", duration(ms)),
        }
    }
}

fn duration(ms: i64) -> String {
    unit::format_duration(Duration::from_millis(ms.unsigned_abs()))
}

fn write_number(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    match number {
        n if n.is_nan() => f.write_str("NaN"),
        f64::INFINITY => f.write_str("Inf"),
        f64::NEG_INFINITY => f.write_str("-Inf"),
        n => write!(f, "{n}"),
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}
