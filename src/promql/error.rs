//! What is wrong with an expression, or with evaluating it.

use std::fmt;

use crate::model::SourceError;

/// An expression that is not PromQL, with where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub message: String,
    /// Byte offset.
    pub position: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl ParseError {
    pub(super) fn at(text: &str, position: usize, message: impl Into<String>) -> Self {
        let before = text.get(..position).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        Self { message: message.into(), position, line, column }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Why an evaluation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the query needs more than {limit} samples in memory")]
    TooManySamples { limit: usize },
    #[error(
        "found duplicate series for the match group {group} on the {side} side of the operation: many-to-many matching is not allowed, matching labels must be unique on one side"
    )]
    ManyToMany { group: String, side: &'static str },
    #[error("multiple matches for labels {group}: grouping labels must ensure unique matches")]
    MultipleMatches { group: String },
    #[error("vector cannot contain metrics with the same labelset: {labels}")]
    DuplicateSeries { labels: String },
    #[error("the step must be positive and the start not after the end")]
    BadRange,
    #[error("{0}")]
    Argument(String),
}
