//! `and`, `or`, `unless`: instant vectors as sets of label sets.

use super::matching::group_numbers;
use super::rows::{Row, absent, is_absent};
use crate::promql::ast::{BinaryOp, Matching};
use crate::promql::plan::Grid;

/// The rows of `lhs op rhs`. Each keeps its own labels, also the name.
pub(super) fn combine(
    op: BinaryOp,
    matching: Option<&Matching>,
    mut lhs: Vec<Row>,
    mut rhs: Vec<Row>,
    grid: &Grid,
) -> Vec<Row> {
    let (rhs_groups, lhs_groups, groups) = group_numbers(matching, &rhs, &lhs);
    if op == BinaryOp::Or {
        let present = Presence::of(&lhs, &lhs_groups, groups, grid);
        present.keep(&mut rhs, &rhs_groups, false);
        lhs.append(&mut rhs);
    } else {
        let present = Presence::of(&rhs, &rhs_groups, groups, grid);
        present.keep(&mut lhs, &lhs_groups, op == BinaryOp::And);
    }
    lhs.retain(|row| row.values.iter().any(|value| !is_absent(*value)));
    lhs
}

/// Which match groups have an element at which instant.
struct Presence(Vec<Vec<bool>>);

impl Presence {
    fn of(rows: &[Row], row_groups: &[usize], groups: usize, grid: &Grid) -> Self {
        let mut present = vec![Vec::new(); groups];
        for (row, group) in rows.iter().zip(row_groups) {
            let Some(there) = present.get_mut(*group) else { continue };
            there.resize(grid.steps, false);
            for (there, value) in there.iter_mut().zip(&row.values) {
                *there |= !is_absent(*value);
            }
        }
        Self(present)
    }

    /// Keeps the values whose group is present (or absent, when not `wanted`).
    fn keep(&self, rows: &mut [Row], row_groups: &[usize], wanted: bool) {
        for (row, group) in rows.iter_mut().zip(row_groups) {
            for (step, value) in row.values.iter_mut().enumerate() {
                let there = self.0.get(*group).and_then(|steps| steps.get(step)).copied().unwrap_or(false);
                if there != wanted {
                    *value = absent();
                }
            }
        }
    }
}
