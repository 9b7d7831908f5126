//! Arithmetic and comparison between two instant vectors: which series meet, and the result's labels.

use std::collections::HashMap;

use super::EvalError;
use super::binary::{combine as combine_values, drops_name};
use super::rows::{Row, absent, is_absent, merge_equal};
use crate::model::{Labels, METRIC_NAME};
use crate::promql::ast::{Binary, Cardinality, Matching};
use crate::promql::plan::Grid;

/// The labels by which series of both sides meet.
pub(super) fn match_group(labels: &Labels, matching: Option<&Matching>) -> Labels {
    let Some(matching) = matching else { return labels.without(&[METRIC_NAME]) };
    let mut names: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
    if matching.on {
        return labels.only(&names);
    }
    names.push(METRIC_NAME);
    labels.without(&names)
}

/// Numbers each row's match group; equal groups of both sides have equal numbers.
pub(super) fn group_numbers(
    matching: Option<&Matching>,
    one: &[Row],
    many: &[Row],
) -> (Vec<usize>, Vec<usize>, usize) {
    let mut numbers: HashMap<Labels, usize> = HashMap::new();
    let mut number = |row: &Row| {
        let next = numbers.len();
        *numbers.entry(match_group(&row.labels, matching)).or_insert(next)
    };
    let one = one.iter().map(&mut number).collect();
    let many = many.iter().map(&mut number).collect();
    let count = numbers.len();
    (one, many, count)
}

/// The rows of `lhs op rhs`. `hold` is told how many rows more are about to be made.
pub(super) fn combine(
    binary: &Binary,
    lhs: &[Row],
    rhs: &[Row],
    grid: &Grid,
    hold: impl Fn(usize) -> Result<(), EvalError>,
) -> Result<Vec<Row>, EvalError> {
    let matching = binary.matching.as_ref();
    let one_is_left = matches!(matching.map(|m| &m.cardinality), Some(Cardinality::GroupRight(_)));
    let (many, one) = if one_is_left { (rhs, lhs) } else { (lhs, rhs) };
    let (one_groups, many_groups, groups) = group_numbers(matching, one, many);
    let mut pairing = Pairing { binary, one_is_left, many, one, rows: Vec::new(), pairs: HashMap::new() };
    let grouped = matches!(
        matching.map(|m| &m.cardinality),
        Some(Cardinality::GroupLeft(_) | Cardinality::GroupRight(_))
    );
    let mut one_of_group: Vec<Option<usize>> = vec![None; groups];
    let mut group_matched = vec![false; groups];
    for step in 0..grid.steps {
        one_of_group.fill(None);
        group_matched.fill(false);
        // An empty side matches nothing, whatever is wrong with the other.
        if !many.iter().any(|row| has_value(row, step)) {
            continue;
        }
        for (index, (row, group)) in one.iter().zip(&one_groups).enumerate() {
            let Some(place) = one_of_group.get_mut(*group).filter(|_| has_value(row, step)) else { continue };
            if let Some(first) = place.replace(index) {
                return Err(pairing.many_to_many(index, first));
            }
        }
        for (index, (row, group)) in many.iter().zip(&many_groups).enumerate() {
            let partner = one_of_group.get(*group).copied().flatten();
            let (Some(partner), Some(value)) = (partner, row.values.get(step).filter(|v| !is_absent(**v)))
            else {
                continue;
            };
            let Some(value) = pairing.value(*value, partner, step) else { continue };
            if let Some(matched) = group_matched.get_mut(*group)
                && std::mem::replace(matched, true)
                && !grouped
            {
                return Err(EvalError::ManyToOne);
            }
            pairing.put(index, partner, step, value, grid, &hold)?;
        }
    }
    if grouped { merge_grouped(pairing.rows) } else { merge_equal(pairing.rows) }
}

fn has_value(row: &Row, step: usize) -> bool {
    row.values.get(step).is_some_and(|value| !is_absent(*value))
}

/// With grouping, equal result labels mean that the grouping labels tell too little apart.
fn merge_grouped(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    merge_equal(rows).map_err(|error| match error {
        EvalError::DuplicateLabels { .. } => EvalError::GroupingNotUnique,
        error => error,
    })
}

/// The pairs met so far, each with its row of results.
struct Pairing<'a> {
    binary: &'a Binary,
    one_is_left: bool,
    many: &'a [Row],
    one: &'a [Row],
    rows: Vec<Row>,
    /// (index in many, index in one) to the index in `rows`.
    pairs: HashMap<(usize, usize), usize>,
}

impl Pairing<'_> {
    fn many_to_many(&self, second: usize, first: usize) -> EvalError {
        let labels = |index: usize| self.one.get(index).map(|row| row.labels.clone()).unwrap_or_default();
        EvalError::ManyToMany {
            group: match_group(&labels(second), self.binary.matching.as_ref()),
            side: if self.one_is_left { "left" } else { "right" },
            first: labels(second),
            second: labels(first),
        }
    }

    /// The operator's result, `None` when a filter drops it.
    fn value(&self, many: f64, partner: usize, step: usize) -> Option<f64> {
        let one = *self.one.get(partner)?.values.get(step)?;
        let (left, right) = if self.one_is_left { (one, many) } else { (many, one) };
        let (value, kept) = combine_values(self.binary.op, left, right);
        if self.binary.return_bool { Some(f64::from(kept)) } else { kept.then_some(value) }
    }

    fn put(
        &mut self,
        many: usize,
        one: usize,
        step: usize,
        value: f64,
        grid: &Grid,
        hold: &impl Fn(usize) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let index = match self.pairs.get(&(many, one)) {
            Some(index) => *index,
            None => {
                hold(1)?;
                let labels = self.result_labels(many, one);
                self.rows.push(Row { labels, values: vec![absent(); grid.steps] });
                self.pairs.insert((many, one), self.rows.len() - 1);
                self.rows.len() - 1
            }
        };
        if let Some(slot) = self.rows.get_mut(index).and_then(|row| row.values.get_mut(step)) {
            *slot = value;
        }
        Ok(())
    }

    fn result_labels(&self, many: usize, one: usize) -> Labels {
        let labels = |rows: &[Row], index: usize| rows.get(index).map(|row| row.labels.clone());
        let (many, one) =
            (labels(self.many, many).unwrap_or_default(), labels(self.one, one).unwrap_or_default());
        let mut result = many;
        if drops_name(self.binary.op) || self.binary.return_bool {
            result = result.without(&[METRIC_NAME]);
        }
        let Some(matching) = &self.binary.matching else { return result };
        let names: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
        match &matching.cardinality {
            Cardinality::OneToOne if matching.on => result.only(&names),
            Cardinality::OneToOne => result.without(&names),
            Cardinality::GroupLeft(include) | Cardinality::GroupRight(include) => {
                include.iter().fold(result, |result, name| result.with(name, one.get(name).unwrap_or("")))
            }
        }
    }
}
