//! Function calls: which function is computed how.

use super::over_time::RangeFunction;
use super::rows::{Computed, Row, absent, is_absent, merge_equal, refuse_equal};
use super::{EvalError, Evaluation, histogram, label, number};
use crate::model::{Labels, METRIC_NAME, MatchOp};
use crate::promql::ast::{Call, Expr, Kind};
use crate::promql::function::Function;
use crate::promql::plan::Grid;

impl Evaluation<'_> {
    pub(super) fn call(&self, call: &Call, grid: &Grid) -> Result<Computed, EvalError> {
        let function = call.function;
        if call.args.iter().any(|arg| arg.kind() == Kind::Matrix) {
            return self.call_over_range(call, grid).map(Computed::Rows);
        }
        match function {
            Function::Pi => Ok(Computed::Scalar(vec![std::f64::consts::PI; grid.steps])),
            Function::Time => Ok(Computed::Scalar(grid.instants().map(seconds).collect())),
            Function::Scalar => {
                let rows = self.rows(argument(call, 0)?, grid)?;
                Ok(Computed::Scalar((0..grid.steps).map(|step| only_value(&rows, step)).collect()))
            }
            Function::Vector => {
                let values = self.scalar(argument(call, 0)?, grid)?;
                Ok(Computed::Rows(vec![Row { labels: Labels::default(), values }]))
            }
            Function::Timestamp => self.timestamp(argument(call, 0)?, grid).map(Computed::Rows),
            Function::Absent => {
                let expr = argument(call, 0)?.bare();
                let rows = self.rows(expr, grid)?;
                Ok(Computed::Rows(absent_rows(&rows, absent_labels(expr), grid)))
            }
            Function::HistogramQuantile => {
                let q = self.scalar(argument(call, 0)?, grid)?;
                let rows = self.rows(argument(call, 1)?, grid)?;
                merge_equal(histogram::quantiles(&q, rows, grid)).map(Computed::Rows)
            }
            Function::LabelReplace | Function::LabelJoin => {
                let rows = self.rows(argument(call, 0)?, grid)?;
                let texts: Vec<&str> = call.args.iter().skip(1).filter_map(text).collect();
                let rows = match function {
                    Function::LabelReplace => label::replace(rows, &texts)?,
                    _ => label::join(rows, &texts)?,
                };
                merge_equal(rows).map(Computed::Rows)
            }
            Function::Sort | Function::SortDesc => {
                let mut rows = self.rows(argument(call, 0)?, grid)?;
                sort(&mut rows, function == Function::SortDesc);
                Ok(Computed::Rows(rows))
            }
            _ => self.call_per_value(call, grid).map(Computed::Rows),
        }
    }

    /// Functions of one value at a time, with scalars as further arguments.
    fn call_per_value(&self, call: &Call, grid: &Grid) -> Result<Vec<Row>, EvalError> {
        let rows = match call.args.first() {
            Some(vector) => self.rows(vector, grid)?,
            // Date functions without an argument mean the evaluation's instant.
            None => {
                let values = grid.instants().map(seconds).collect();
                vec![Row { labels: Labels::default(), values }]
            }
        };
        let scalars = call.args.iter().skip(1).map(|arg| self.scalar(arg, grid));
        let scalars = scalars.collect::<Result<Vec<_>, _>>()?;
        let rows = number::apply(call.function, rows, &scalars)?;
        merge_equal(rows)
    }

    /// Functions of a range vector.
    fn call_over_range(&self, call: &Call, grid: &Grid) -> Result<Vec<Row>, EvalError> {
        let mut scalars = Vec::new();
        let mut matrix = None;
        for arg in &call.args {
            match arg.kind() {
                Kind::Matrix => matrix = Some(arg.bare()),
                _ => scalars.push(self.scalar(arg, grid)?),
            }
        }
        let matrix = matrix.ok_or_else(|| EvalError::internal("no range vector"))?;
        let ranges = self.ranges(matrix, grid)?;
        let function = RangeFunction::new(call.function, scalars);
        let mut rows = Vec::with_capacity(ranges.series.len());
        for series in &ranges.series {
            self.hold(grid.steps)?;
            let values = function.values(&ranges, series, grid)?;
            if values.iter().all(|value| is_absent(*value)) {
                continue;
            }
            let labels = match call.function {
                Function::LastOverTime => series.labels.clone(),
                _ => series.labels.without(&[METRIC_NAME]),
            };
            rows.push(Row { labels, values });
        }
        if call.function == Function::AbsentOverTime {
            return Ok(absent_rows(&rows, absent_labels(matrix), grid));
        }
        refuse_equal(rows)
    }

    /// A selector's samples give their own time, anything else the evaluation's instant.
    fn timestamp(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Row>, EvalError> {
        let mut rows = match expr.bare() {
            Expr::Selector(selector) => self.select_with(selector, grid, |ts_ms, _| seconds(ts_ms))?,
            expr => {
                let mut rows = self.rows(expr, grid)?;
                for row in &mut rows {
                    for (value, at_ms) in row.values.iter_mut().zip(grid.instants()) {
                        *value = if is_absent(*value) { *value } else { seconds(at_ms) };
                    }
                }
                rows
            }
        };
        for row in &mut rows {
            row.labels = row.labels.without(&[METRIC_NAME]);
        }
        merge_equal(rows)
    }
}

fn argument(call: &Call, index: usize) -> Result<&Expr, EvalError> {
    call.args.get(index).ok_or_else(|| EvalError::internal("a missing argument"))
}

fn text(expr: &Expr) -> Option<&str> {
    match expr.bare() {
        Expr::Text(text) => Some(text),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era are exact in a float")]
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// The value of the only element at `step`; NaN when there is none or more than one.
fn only_value(rows: &[Row], step: usize) -> f64 {
    let mut there = rows.iter().filter_map(|row| row.values.get(step)).filter(|value| !is_absent(**value));
    match (there.next(), there.next()) {
        (Some(value), None) => *value,
        _ => f64::NAN,
    }
}

/// A 1 wherever no row has a value.
fn absent_rows(rows: &[Row], labels: Labels, grid: &Grid) -> Vec<Row> {
    let mut values = vec![1.0; grid.steps];
    for row in rows {
        for (out, value) in values.iter_mut().zip(&row.values) {
            if !is_absent(*value) {
                *out = absent();
            }
        }
    }
    if values.iter().all(|value| is_absent(*value)) {
        return Vec::new();
    }
    vec![Row { labels, values }]
}

/// The labels that `absent` can know: those of `=` matchers, unless a label is matched more than once.
fn absent_labels(expr: &Expr) -> Labels {
    let matchers = match expr {
        Expr::Selector(selector) => &selector.matchers,
        Expr::Range(range) => &range.selector.matchers,
        _ => return Labels::default(),
    };
    let known = |name: &str| matchers.iter().filter(|m| m.name == name).count() == 1;
    Labels::from_pairs(
        matchers
            .iter()
            .filter(|m| m.op == MatchOp::Equal && m.name != METRIC_NAME && known(&m.name))
            .map(|m| (m.name.as_str(), m.value.as_str())),
    )
}

/// By the value at the first instant (only an instant query shows an order); NaN last both ways.
fn sort(rows: &mut [Row], descending: bool) {
    let key = |row: &Row| row.values.first().copied().unwrap_or(f64::NAN);
    rows.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        let order = a.is_nan().cmp(&b.is_nan());
        order.then_with(|| {
            let by_value = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
            if descending { by_value.reverse() } else { by_value }
        })
    });
}
