//! Why an expression could not be evaluated.

use crate::model::{Labels, SourceError};

/// An evaluation that failed as a whole; PromQL has no partial results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the query would hold more than {limit} samples in memory; narrow its range or its selectors")]
    TooManySamples { limit: usize },
    #[error("a range query needs a positive step and an end that is not before its start")]
    BadRange,
    #[error("a range query gives a scalar or an instant vector, not a {kind}")]
    NotARangeQuery { kind: &'static str },
    #[error("vector cannot contain metrics with the same labelset: {labels}")]
    DuplicateLabels { labels: Labels },
    #[error(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
         [{first}, {second}]; many-to-many matching not allowed: matching labels must be unique on one side"
    )]
    ManyToMany { group: Labels, side: &'static str, first: Labels, second: Labels },
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ManyToOne,
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    GroupingNotUnique,
    #[error("{function}: {reason}")]
    BadArgument { function: &'static str, reason: String },
    /// The type check should have refused the expression.
    #[error("the evaluator met an expression that type checks exclude: {what}")]
    Internal { what: &'static str },
}

impl EvalError {
    pub(super) fn internal(what: &'static str) -> Self {
        Self::Internal { what }
    }
}
