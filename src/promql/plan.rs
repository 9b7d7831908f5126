//! What an evaluation reads, and when: the grid of instants of each part of an expression.
//!
//! Owns: how `offset`, `@`, ranges and subqueries move the instants. The evaluator asks here too, so that
//! it never reads what [`selections`] did not name.

use super::ast::{At, Expr, Kind, SUBQUERY_STEP_MS, Selector, Shift, Subquery};
use super::{EvalOptions, EvalRange};
use crate::model::Selection;

/// Evenly spaced instants, possibly none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) start_ms: i64,
    pub(super) step_ms: i64,
    pub(super) steps: usize,
}

impl Grid {
    /// The instants of `range`; none when it ends before it starts.
    pub(super) fn of(range: &EvalRange) -> Self {
        let step_ms = range.step_ms.max(1);
        let span = range.end_ms.saturating_sub(range.start_ms);
        let steps = if span < 0 { 0 } else { usize::try_from(span / step_ms).unwrap_or(usize::MAX - 1) + 1 };
        Self { start_ms: range.start_ms, step_ms, steps }
    }

    /// The instant of step `index`.
    pub(super) fn at(&self, index: usize) -> i64 {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(self.step_ms.saturating_mul(index))
    }

    pub(super) fn last_ms(&self) -> i64 {
        self.at(self.steps.saturating_sub(1))
    }

    pub(super) fn instants(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.steps).map(|index| self.at(index))
    }

    /// Only the first instant.
    pub(super) fn first(&self) -> Self {
        Self { steps: self.steps.min(1), ..*self }
    }
}

/// Start and end of the whole query, which `@ start()` and `@ end()` mean everywhere in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

/// Where a shifted selector looks for each instant of a grid: at `t - offset`, or at one fixed time.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    offset_ms: i64,
    pinned_ms: Option<i64>,
}

impl View {
    pub(super) fn new(shift: &Shift, bounds: Bounds) -> Self {
        let pinned_ms = shift.at.map(|at| {
            let at_ms = match at {
                At::Ms(ms) => ms,
                At::Start => bounds.start_ms,
                At::End => bounds.end_ms,
            };
            at_ms.saturating_sub(shift.offset_ms)
        });
        Self { offset_ms: shift.offset_ms, pinned_ms }
    }

    /// The time looked at for the evaluation instant `at_ms`.
    pub(super) fn seen_ms(&self, at_ms: i64) -> i64 {
        self.pinned_ms.unwrap_or_else(|| at_ms.saturating_sub(self.offset_ms))
    }
}

/// What a selector needs for a grid when it looks back by `back_ms` (the look-back, or its range).
pub(super) fn selection(selector: &Selector, back_ms: i64, grid: &Grid, bounds: Bounds) -> Selection {
    let view = View::new(&selector.shift, bounds);
    Selection {
        matchers: selector.matchers.clone(),
        start_ms: view.seen_ms(grid.start_ms).saturating_sub(back_ms),
        end_ms: view.seen_ms(grid.last_ms()),
    }
}

/// The instants at which a subquery evaluates its inner expression: multiples of its step that any of the
/// grid's instants needs.
pub(super) fn subquery_grid(subquery: &Subquery, grid: &Grid, bounds: Bounds) -> Grid {
    let view = View::new(&subquery.shift, bounds);
    let step_ms = subquery.step_ms.unwrap_or(SUBQUERY_STEP_MS).max(1);
    let earliest = view.seen_ms(grid.start_ms).saturating_sub(subquery.range_ms);
    let mut start_ms = step_ms.saturating_mul(earliest / step_ms);
    if start_ms < earliest {
        start_ms = start_ms.saturating_add(step_ms);
    }
    let end_ms = if grid.steps == 0 { start_ms - 1 } else { view.seen_ms(grid.last_ms()) };
    Grid::of(&EvalRange { start_ms, end_ms, step_ms })
}

/// Whether the value is the same at every instant, so that it is computed once.
pub(super) fn is_pinned(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::Text(_) => true,
        Expr::Selector(selector) => selector.shift.at.is_some(),
        Expr::Range(range) => range.selector.shift.at.is_some(),
        Expr::Subquery(subquery) => subquery.shift.at.is_some(),
        Expr::Call(call) => !call.function.reads_clock() && call.args.iter().all(is_pinned),
        expr => expr.children().into_iter().all(is_pinned),
    }
}

/// The grid on which `expr` is computed where its parent is computed on `grid`.
pub(super) fn own_grid(expr: &Expr, grid: &Grid) -> Grid {
    if grid.steps > 1 && expr.kind() != Kind::Matrix && is_pinned(expr) { grid.first() } else { *grid }
}

/// Everything the evaluation of `expr` over `range` will read. Equal selections are listed once.
pub fn selections(expr: &Expr, range: &EvalRange, options: &EvalOptions) -> Vec<Selection> {
    let grid = Grid::of(range);
    let mut found = Vec::new();
    let bounds = Bounds { start_ms: range.start_ms, end_ms: range.end_ms };
    collect(expr, &grid, bounds, options, &mut found);
    found
}

fn collect(expr: &Expr, grid: &Grid, bounds: Bounds, options: &EvalOptions, found: &mut Vec<Selection>) {
    let grid = own_grid(expr, grid);
    if grid.steps == 0 {
        return;
    }
    let own = match expr {
        Expr::Selector(selector) => Some(selection(selector, options.lookback_ms, &grid, bounds)),
        Expr::Range(range) => Some(selection(&range.selector, range.range_ms, &grid, bounds)),
        Expr::Subquery(subquery) => {
            let inner = subquery_grid(subquery, &grid, bounds);
            return collect(&subquery.expr, &inner, bounds, options, found);
        }
        _ => None,
    };
    found.extend(own.filter(|selection| !found.contains(selection)));
    for child in expr.children() {
        collect(child, &grid, bounds, options, found);
    }
}
