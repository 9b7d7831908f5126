//! The syntax tree of a PromQL expression, as Prometheus 2.42 understands it.
//!
//! Owns: the nodes, what they say about time (reach, names) and their kind.
//! Refuses: text (see `parse` and `print`) and values (see `eval`).

use std::collections::BTreeSet;

use super::EvalOptions;
use super::function::Function;
use crate::model::{METRIC_NAME, MatchOp, Matcher};

/// The step of a subquery that names none: the evaluation interval Prometheus has by default.
pub const SUBQUERY_STEP_MS: i64 = 60_000;

/// A type-checked PromQL expression. `Display` prints it so that parsing gives the same tree again.
#[derive(Debug, Clone)]
pub enum Expr {
    Number(f64),
    Text(String),
    Selector(Selector),
    Range(RangeSelector),
    Subquery(Box<Subquery>),
    Call(Call),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    Unary(Box<Unary>),
    Paren(Box<Expr>),
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scalar,
    Text,
    Vector,
    Matrix,
}

impl Kind {
    /// The name Prometheus' documentation and error messages use.
    pub fn words(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

/// The instant an `@` modifier pins an expression to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the Unix epoch.
    Ms(i64),
    /// The start of the whole query, also inside a subquery.
    Start,
    /// The end of the whole query.
    End,
}

/// `offset` (positive: into the past) and `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shift {
    pub offset_ms: i64,
    pub at: Option<At>,
}

/// `name{matchers}`; a name written in front is the last matcher, as in Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The name, when it stands before the braces.
    pub name: Option<String>,
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
}

/// `selector[range]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSelector {
    pub selector: Selector,
    pub range_ms: i64,
}

/// `expr[range:step]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    pub expr: Expr,
    pub range_ms: i64,
    pub step_ms: Option<i64>,
    pub shift: Shift,
}

/// `function(args)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub function: Function,
    pub args: Vec<Expr>,
}

/// The aggregation operators.
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
    TopK,
    BottomK,
    CountValues,
    Quantile,
}

/// Which labels make a group: the listed ones, or all but those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    pub without: bool,
    pub labels: Vec<String>,
}

/// `op by (labels) (param, expr)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub op: AggregateOp,
    /// `None` without `by` and `without`: one group.
    pub grouping: Option<Grouping>,
    pub param: Option<Expr>,
    pub expr: Expr,
}

/// The binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual)
    }

    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// How tightly it binds; higher binds tighter.
    pub fn precedence(self) -> u8 {
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

/// Which side of a binary operator may have several series for one of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cardinality {
    OneToOne,
    /// `group_left(labels)`: the labels are copied from the right side.
    GroupLeft(Vec<String>),
    /// `group_right(labels)`: the labels are copied from the left side.
    GroupRight(Vec<String>),
}

/// How the series of both sides of a binary operator find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// `on` (true) or `ignoring`.
    pub on: bool,
    pub labels: Vec<String>,
    pub cardinality: Cardinality,
}

/// `lhs op rhs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub lhs: Expr,
    pub rhs: Expr,
    /// The `bool` modifier: compare to 0 or 1 in place of filtering.
    pub return_bool: bool,
    /// `None` when neither `on` nor `ignoring` is written.
    pub matching: Option<Matching>,
}

/// `-expr` or `+expr`.
#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    pub negative: bool,
    pub expr: Expr,
}

/// Numbers are equal when they are the same, so NaN equals NaN.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Selector(a), Self::Selector(b)) => a == b,
            (Self::Range(a), Self::Range(b)) => a == b,
            (Self::Subquery(a), Self::Subquery(b)) => a == b,
            (Self::Call(a), Self::Call(b)) => a == b,
            (Self::Aggregate(a), Self::Aggregate(b)) => a == b,
            (Self::Binary(a), Self::Binary(b)) => a == b,
            (Self::Unary(a), Self::Unary(b)) => a == b,
            (Self::Paren(a), Self::Paren(b)) => a == b,
            _ => false,
        }
    }
}

impl Expr {
    /// What it evaluates to.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Scalar,
            Self::Text(_) => Kind::Text,
            Self::Selector(_) | Self::Aggregate(_) => Kind::Vector,
            Self::Range(_) | Self::Subquery(_) => Kind::Matrix,
            Self::Call(call) => call.function.signature().returns,
            Self::Binary(binary)
                if binary.lhs.kind() == Kind::Scalar && binary.rhs.kind() == Kind::Scalar =>
            {
                Kind::Scalar
            }
            Self::Binary(_) => Kind::Vector,
            Self::Unary(unary) => unary.expr.kind(),
            Self::Paren(expr) => expr.kind(),
        }
    }

    /// The expression inside any parentheses.
    pub fn bare(&self) -> &Self {
        match self {
            Self::Paren(expr) => expr.bare(),
            expr => expr,
        }
    }

    /// The parts directly below this node, in the order they are written.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range(_) => Vec::new(),
            Self::Subquery(subquery) => vec![&subquery.expr],
            Self::Call(call) => call.args.iter().collect(),
            Self::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
            Self::Binary(binary) => vec![&binary.lhs, &binary.rhs],
            Self::Unary(unary) => vec![&unary.expr],
            Self::Paren(expr) => vec![expr],
        }
    }

    /// How far before its instant the expression reads, in ms: offsets, ranges, subqueries and the
    /// look-back of instant selectors along the deepest path. `@` does not count: it reads at a fixed time.
    pub fn reach_ms(&self, options: &EvalOptions) -> i64 {
        match self {
            Self::Selector(selector) => selector.shift.offset_ms.saturating_add(options.lookback_ms).max(0),
            Self::Range(range) => range.selector.shift.offset_ms.saturating_add(range.range_ms).max(0),
            Self::Subquery(subquery) => subquery
                .expr
                .reach_ms(options)
                .saturating_add(subquery.range_ms)
                .saturating_add(subquery.shift.offset_ms)
                .max(0),
            expr => expr.children().iter().map(|child| child.reach_ms(options)).max().unwrap_or(0),
        }
    }

    /// The metric names that selectors demand with `=`. A selector that names none adds none.
    pub fn metric_names(&self) -> BTreeSet<String> {
        let own = match self {
            Self::Selector(selector) => Some(selector),
            Self::Range(range) => Some(&range.selector),
            _ => None,
        };
        let mut names: BTreeSet<String> =
            own.and_then(Selector::demanded_name).map(str::to_owned).into_iter().collect();
        for child in self.children() {
            names.append(&mut child.metric_names());
        }
        names
    }

    /// The longest single range or offset that is written anywhere in it, in ms (0 without one).
    pub fn longest_range_or_offset_ms(&self) -> i64 {
        let own = match self {
            Self::Selector(selector) => selector.shift.offset_ms,
            Self::Range(range) => range.range_ms.max(range.selector.shift.offset_ms),
            Self::Subquery(subquery) => subquery.range_ms.max(subquery.shift.offset_ms),
            _ => 0,
        };
        let below = self.children().iter().map(|child| child.longest_range_or_offset_ms()).max();
        own.max(below.unwrap_or(0)).max(0)
    }
}

impl Selector {
    /// The metric name a `=` matcher asks for.
    pub fn demanded_name(&self) -> Option<&str> {
        let by_name = |m: &&Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty();
        self.matchers.iter().find(by_name).map(|m| m.value.as_str())
    }
}
