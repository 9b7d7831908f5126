//! The syntax tree, and how it prints.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::model::unit::format_duration;
use crate::model::{METRIC_NAME, MatchOp, Matcher};

/// A PromQL expression, type-checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Number(f64),
    Text(String),
    Vector(Selector),
    /// A range selector: the selector and its window, ms.
    Range(Selector, i64),
    Subquery(Box<Subquery>),
    Call(Function, Vec<Expr>),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    Negate(Box<Expr>),
    Paren(Box<Expr>),
}

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    Scalar,
    Vector,
    Matrix,
    Text,
}

impl ValueType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Text => "string",
        }
    }
}

/// `name{matchers} offset … @ …`
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
}

/// `offset` and `@`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shift {
    pub offset_ms: i64,
    pub at: Option<At>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    Start,
    End,
}

/// `expr[range:step]`; without a step, the default interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    pub expr: Expr,
    pub range_ms: i64,
    pub step_ms: Option<i64>,
    pub shift: Shift,
}

/// A function by its name in [`super::functions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function(pub &'static super::signature::Signature);

/// Aggregation operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
}

pub(super) const AGGREGATES: [(&str, AggregateOp); 12] = [
    ("sum", AggregateOp::Sum),
    ("avg", AggregateOp::Avg),
    ("count", AggregateOp::Count),
    ("min", AggregateOp::Min),
    ("max", AggregateOp::Max),
    ("group", AggregateOp::Group),
    ("stddev", AggregateOp::Stddev),
    ("stdvar", AggregateOp::Stdvar),
    ("topk", AggregateOp::Topk),
    ("bottomk", AggregateOp::Bottomk),
    ("count_values", AggregateOp::CountValues),
    ("quantile", AggregateOp::Quantile),
];

impl AggregateOp {
    pub fn as_str(self) -> &'static str {
        AGGREGATES.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    pub fn takes_parameter(self) -> bool {
        matches!(self, Self::Topk | Self::Bottomk | Self::CountValues | Self::Quantile)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub expr: Expr,
    pub parameter: Option<Expr>,
    /// `without` instead of `by`.
    pub without: bool,
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eq,
    Ne,
    Lt,
    Gt,
    Le,
    Ge,
    And,
    Or,
    Unless,
}

pub(super) const BINARY_OPS: [(&str, BinaryOp); 16] = [
    ("+", BinaryOp::Add),
    ("-", BinaryOp::Sub),
    ("*", BinaryOp::Mul),
    ("/", BinaryOp::Div),
    ("%", BinaryOp::Mod),
    ("^", BinaryOp::Pow),
    ("atan2", BinaryOp::Atan2),
    ("==", BinaryOp::Eq),
    ("!=", BinaryOp::Ne),
    ("<", BinaryOp::Lt),
    (">", BinaryOp::Gt),
    ("<=", BinaryOp::Le),
    (">=", BinaryOp::Ge),
    ("and", BinaryOp::And),
    ("or", BinaryOp::Or),
    ("unless", BinaryOp::Unless),
];

impl BinaryOp {
    pub fn as_str(self) -> &'static str {
        BINARY_OPS.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Gt | Self::Le | Self::Ge)
    }

    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// Binding power; `^` binds strongest and to the right.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            op if op.is_comparison() => 3,
            Self::Add | Self::Sub => 4,
            Self::Pow => 6,
            _ => 5,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub left: Expr,
    pub right: Expr,
    /// A comparison that gives 0 or 1 instead of filtering.
    pub bool: bool,
    pub matching: Matching,
}

/// How the samples of two vectors find each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matching {
    /// `on` (true) or `ignoring`.
    pub on: bool,
    pub labels: Vec<String>,
    /// Whether `on` or `ignoring` was written.
    pub explicit: bool,
    pub group: Group,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Group {
    #[default]
    OneToOne,
    /// `group_left`: many on the left, these labels come from the right.
    Left(Vec<String>),
    Right(Vec<String>),
}

impl Expr {
    /// The type of the expression's value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::Text(_) => ValueType::Text,
            Self::Vector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Range(..) | Self::Subquery(_) => ValueType::Matrix,
            Self::Call(function, _) => function.0.returns,
            Self::Negate(inner) | Self::Paren(inner) => inner.value_type(),
            Self::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
        }
    }

    /// The expressions directly inside.
    pub(super) fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Vector(_) | Self::Range(..) => Vec::new(),
            Self::Subquery(subquery) => vec![&subquery.expr],
            Self::Call(_, arguments) => arguments.iter().collect(),
            Self::Aggregate(aggregate) => aggregate.parameter.iter().chain([&aggregate.expr]).collect(),
            Self::Binary(binary) => vec![&binary.left, &binary.right],
            Self::Negate(inner) | Self::Paren(inner) => vec![inner],
        }
    }

    /// The names of the metrics it reads, where a selector names one.
    pub fn metric_names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.children().into_iter().flat_map(Self::metric_names).collect();
        if let Self::Vector(selector) | Self::Range(selector, _) = self {
            let equal = selector.matchers.iter().filter(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal);
            names.extend(equal.map(|m| m.value.clone()));
        }
        names
    }

    /// The longest range or offset that stands in it, nested ones added up, ms. It decides who evaluates a
    /// rule group; the lookback does not count.
    pub fn longest_range_or_offset_ms(&self) -> i64 {
        let inner = self.children().into_iter().map(Self::longest_range_or_offset_ms).max().unwrap_or(0);
        inner
            + match self {
                Self::Vector(selector) => selector.shift.offset_ms.max(0),
                Self::Range(selector, range_ms) => selector.shift.offset_ms.max(0) + range_ms,
                Self::Subquery(subquery) => subquery.shift.offset_ms.max(0) + subquery.range_ms,
                _ => 0,
            }
    }

    /// How far before its time an evaluation reads, ms.
    pub fn reach_ms(&self, options: &super::EvalOptions) -> i64 {
        self.longest_range_or_offset_ms() + options.lookback_ms
    }
}

fn duration(ms: i64) -> String {
    let text = format_duration(Duration::from_millis(ms.unsigned_abs()));
    // A range of nothing is not written in PromQL, an offset of nothing is `0s`.
    if text == "0" { "0s".to_owned() } else { text }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(At::Time(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0)?,
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            None => {}
        }
        match self.offset_ms {
            0 => Ok(()),
            ms if ms < 0 => write!(f, " offset -{}", duration(ms)),
            ms => write!(f, " offset {}", duration(ms)),
        }
    }
}

impl Selector {
    /// The part before `[…]` and `offset`.
    fn head(&self) -> String {
        let is_name =
            |m: &&Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal && is_plain_name(&m.value);
        let name = self.matchers.iter().find(is_name);
        let others: Vec<String> = self
            .matchers
            .iter()
            .filter(|m| !name.is_some_and(|name| std::ptr::eq(*m, name)))
            .map(ToString::to_string)
            .collect();
        let braces = if others.is_empty() && name.is_some() {
            String::new()
        } else {
            format!("{{{}}}", others.join(","))
        };
        format!("{}{braces}", name.map_or("", |m| &m.value))
    }
}

fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[String]| items.join(", ");
        match self {
            Self::Number(number) => f.write_str(&super::json::number(*number)),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Vector(selector) => write!(f, "{}{}", selector.head(), selector.shift),
            Self::Range(selector, ms) => {
                write!(f, "{}[{}]{}", selector.head(), duration(*ms), selector.shift)
            }
            Self::Subquery(s) => {
                let step = s.step_ms.map(duration).unwrap_or_default();
                write!(f, "{}[{}:{step}]{}", s.expr, duration(s.range_ms), s.shift)
            }
            Self::Call(function, arguments) => {
                let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
                write!(f, "{}({})", function.0.name, list(&arguments))
            }
            Self::Aggregate(a) => {
                let grouping = match (a.without, a.labels.is_empty()) {
                    (false, true) => String::new(),
                    (without, _) => {
                        format!(" {} ({}) ", if without { "without" } else { "by" }, list(&a.labels))
                    }
                };
                let parameter = a.parameter.as_ref().map(|p| format!("{p}, ")).unwrap_or_default();
                write!(f, "{}{grouping}({parameter}{})", a.op.as_str(), a.expr)
            }
            Self::Binary(b) => {
                let bool = if b.bool { " bool" } else { "" };
                write!(f, "{} {}{bool}{} {}", b.left, b.op.as_str(), b.matching, b.right)
            }
            Self::Negate(inner) => write!(f, "-{inner}"),
            Self::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.explicit {
            write!(f, " {} ({})", if self.on { "on" } else { "ignoring" }, self.labels.join(", "))?;
        }
        match &self.group {
            Group::OneToOne => Ok(()),
            Group::Left(labels) => write!(f, " group_left ({})", labels.join(", ")),
            Group::Right(labels) => write!(f, " group_right ({})", labels.join(", ")),
        }
    }
}
