//! What an evaluation will read, so that the caller can load it first.

use super::ast::{At, Expr, Selector, Shift};
use super::{EvalOptions, EvalRange};
use crate::model::Selection;

/// Every selection of `expr` over `range`, with the times it can touch.
pub fn selections(expr: &Expr, range: &EvalRange, options: &EvalOptions) -> Vec<Selection> {
    let mut found = Vec::new();
    let outer = Window { start_ms: range.start_ms, end_ms: range.end_ms };
    collect(expr, outer, range, options, &mut found);
    found
}

/// The evaluation times of a part of the expression.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

impl Window {
    /// The window as `offset` and `@` move it.
    pub(super) fn shifted(self, shift: Shift, query: &EvalRange) -> Self {
        let fixed = fixed_time(shift, query);
        let (start_ms, end_ms) = fixed.map_or((self.start_ms, self.end_ms), |at| (at, at));
        Self {
            start_ms: start_ms.saturating_sub(shift.offset_ms),
            end_ms: end_ms.saturating_sub(shift.offset_ms),
        }
    }
}

/// The time that `@` pins, if any. `start()` and `end()` are the query's, inside subqueries too.
pub(super) fn fixed_time(shift: Shift, query: &EvalRange) -> Option<i64> {
    shift.at.map(|at| match at {
        At::Time(ms) => ms,
        At::Start => query.start_ms,
        At::End => query.end_ms,
    })
}

fn collect(
    expr: &Expr,
    window: Window,
    query: &EvalRange,
    options: &EvalOptions,
    found: &mut Vec<Selection>,
) {
    let mut add = |selector: &Selector, reach_ms: i64| {
        let window = window.shifted(selector.shift, query);
        found.push(Selection {
            matchers: selector.matchers.clone(),
            start_ms: window.start_ms.saturating_sub(reach_ms),
            end_ms: window.end_ms,
        });
    };
    match expr {
        Expr::Vector(selector) => add(selector, options.lookback_ms),
        Expr::Range(selector, range_ms) => add(selector, *range_ms),
        Expr::Subquery(subquery) => {
            let window = window.shifted(subquery.shift, query);
            let start_ms = window.start_ms.saturating_sub(subquery.range_ms);
            collect(&subquery.expr, Window { start_ms, ..window }, query, options, found);
        }
        _ => {
            for child in expr.children() {
                collect(child, window, query, options, found);
            }
        }
    }
}
