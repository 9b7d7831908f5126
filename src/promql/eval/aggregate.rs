//! Aggregation operators: groups of series to one, or to the best few.

mod best;
mod fold;

use std::collections::HashMap;

use super::rows::{Row, absent, is_absent};
use super::{EvalError, Evaluation, label, quantile};
use crate::model::{Labels, METRIC_NAME};
use crate::promql::ast::{Aggregate, AggregateOp, Expr, Grouping};
use crate::promql::float;
use crate::promql::plan::Grid;

/// The rows of one group.
struct Group {
    labels: Labels,
    rows: Vec<Row>,
}

impl Evaluation<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, grid: &Grid) -> Result<Vec<Row>, EvalError> {
        let rows = self.rows(&aggregate.expr, grid)?;
        let grouping = aggregate.grouping.as_ref();
        if let (AggregateOp::CountValues, Some(param)) = (aggregate.op, &aggregate.param) {
            let Expr::Text(name) = param.bare() else {
                return Err(EvalError::internal("count_values without a label name"));
            };
            return self.count_values(rows, name, grouping, grid);
        }
        let param = match &aggregate.param {
            Some(param) => self.scalar(param, grid)?,
            None => Vec::new(),
        };
        let groups = grouped(rows, grouping);
        self.hold(groups.len().saturating_mul(grid.steps))?;
        let values: &dyn Fn(&[Row]) -> Vec<f64> = match aggregate.op {
            AggregateOp::TopK => return best::of_groups(groups, &param, best::Order::Largest),
            AggregateOp::BottomK => return best::of_groups(groups, &param, best::Order::Smallest),
            AggregateOp::Quantile => &|rows| quantiles(rows, &param),
            _ => &|rows| fold::of(aggregate.op, rows, grid.steps),
        };
        let row = |group: Group| Row { values: values(&group.rows), labels: group.labels };
        Ok(groups.into_iter().map(row).collect())
    }

    /// How many series of a group have each value; the value becomes the label `name`.
    fn count_values(
        &self,
        rows: Vec<Row>,
        name: &str,
        grouping: Option<&Grouping>,
        grid: &Grid,
    ) -> Result<Vec<Row>, EvalError> {
        label::check_name("count_values", name)?;
        let mut counted: Vec<Row> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let dropped =
            grouping.is_some_and(|grouping| grouping.without && grouping.labels.iter().any(|l| l == name));
        for row in rows {
            // The value takes the place of a label of that name, also for grouping.
            let group = group_labels(&row.labels.without(&[name]), grouping);
            for (step, value) in row.values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                let labels = if dropped { group.clone() } else { group.with(name, &float::plain(*value)) };
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        self.hold(grid.steps)?;
                        counted.push(Row { labels: labels.clone(), values: vec![absent(); grid.steps] });
                        places.insert(labels, counted.len() - 1);
                        counted.len() - 1
                    }
                };
                if let Some(count) = counted.get_mut(place).and_then(|row| row.values.get_mut(step)) {
                    *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
                }
            }
        }
        Ok(counted)
    }
}

fn group_labels(labels: &Labels, grouping: Option<&Grouping>) -> Labels {
    let Some(grouping) = grouping else { return Labels::default() };
    let mut names: Vec<&str> = grouping.labels.iter().map(String::as_str).collect();
    if !grouping.without {
        return labels.only(&names);
    }
    names.push(METRIC_NAME);
    labels.without(&names)
}

/// The rows by group, groups in the order of their first row.
fn grouped(rows: Vec<Row>, grouping: Option<&Grouping>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for row in rows {
        let labels = group_labels(&row.labels, grouping);
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { labels, rows: vec![row] }),
        }
    }
    groups
}

fn quantiles(rows: &[Row], q: &[f64]) -> Vec<f64> {
    let mut values = Vec::with_capacity(rows.len());
    q.iter()
        .enumerate()
        .map(|(step, q)| {
            values.clear();
            values.extend(rows.iter().filter_map(|row| row.values.get(step)).filter(|v| !is_absent(**v)));
            if values.is_empty() { absent() } else { quantile::of(*q, &mut values) }
        })
        .collect()
}
