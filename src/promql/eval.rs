//! Evaluation: every part of an expression gives all steps at once.

mod aggregate;
mod binary;
mod call;
mod histogram;
mod labels;
mod over_time;
mod time;
mod window;

use std::sync::Arc;

use super::ast::{Expr, Selector};
use super::selections::{Window, fixed_time};
use super::{EvalError, EvalOptions, EvalRange, InstantSample, SUBQUERY_STEP_MS, Value, ValueType};
use crate::model::{Labels, METRIC_NAME, Selection, Series, SeriesSource, is_stale_marker};

/// One series with a value, or none, at every step.
#[derive(Debug, Clone)]
struct Column {
    labels: Labels,
    values: Vec<Option<f64>>,
}

impl Column {
    fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }
}

/// A part's value at all steps.
enum Steps {
    Scalar(Vec<f64>),
    /// No two columns have equal labels at one step. Empty columns are dropped.
    Vector(Vec<Column>),
    Text(String),
}

/// A range vector: samples of each series, and where the windows lie.
struct Matrix {
    series: Vec<Arc<Series>>,
    range_ms: i64,
    /// The end of each step's window.
    ends_ms: Vec<i64>,
}

/// Evaluates over the steps of one range. Subqueries make an inner one with steps of their own.
struct Evaluator<'a> {
    source: &'a dyn SeriesSource,
    options: &'a EvalOptions,
    /// The whole query's range, to which `start()` and `end()` refer.
    query: EvalRange,
    range: EvalRange,
}

pub(super) fn instant(
    expr: &Expr,
    source: &dyn SeriesSource,
    at_ms: i64,
    options: &EvalOptions,
) -> Result<Value, EvalError> {
    let range = EvalRange { start_ms: at_ms, end_ms: at_ms, step_ms: 1 };
    let evaluator = Evaluator { source, options, query: range, range };
    if expr.value_type() == ValueType::Matrix {
        let matrix = evaluator.matrix(expr)?;
        let end_ms = matrix.ends_ms.first().copied().unwrap_or(at_ms);
        let cut = matrix.series.iter().map(|series| cut(series, end_ms - matrix.range_ms, end_ms));
        return Ok(Value::Matrix(cut.filter(|series| !series.is_empty()).collect()));
    }
    Ok(match evaluator.eval(expr)? {
        Steps::Scalar(values) => Value::Scalar(values.first().copied().unwrap_or(f64::NAN)),
        Steps::Text(text) => Value::String(text),
        Steps::Vector(columns) => {
            let samples = columns.into_iter().filter_map(|column| {
                Some(InstantSample {
                    value: column.values.first().copied().flatten()?,
                    labels: column.labels,
                })
            });
            let mut samples: Vec<InstantSample> = samples.collect();
            if !keeps_order(expr) {
                samples.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Value::Vector(samples)
        }
    })
}

/// Whether the outermost operation decides the order of an instant vector.
fn keeps_order(expr: &Expr) -> bool {
    match expr {
        Expr::Paren(inner) => keeps_order(inner),
        Expr::Call(function, _) => matches!(function.0.name, "sort" | "sort_desc"),
        Expr::Aggregate(a) => matches!(a.op, super::AggregateOp::Topk | super::AggregateOp::Bottomk),
        _ => false,
    }
}

fn cut(series: &Series, start_ms: i64, end_ms: i64) -> Series {
    let (ts_ms, values) = series.window(start_ms, end_ms);
    let mut cut = Series::new(series.labels.clone());
    for (ts, value) in ts_ms.iter().zip(values).filter(|(_, value)| !is_stale_marker(**value)) {
        cut.push(*ts, *value);
    }
    cut
}

pub(super) fn range(
    expr: &Expr,
    source: &dyn SeriesSource,
    range: &EvalRange,
    options: &EvalOptions,
) -> Result<Vec<Series>, EvalError> {
    if range.step_ms <= 0 || range.end_ms < range.start_ms {
        return Err(EvalError::BadRange);
    }
    if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
        let found = expr.value_type().as_str();
        return Err(EvalError::Argument(format!(
            "a range query is over a scalar or an instant vector, not a {found}"
        )));
    }
    let evaluator = Evaluator { source, options, query: *range, range: *range };
    let times = evaluator.times()?;
    let columns = match evaluator.eval(expr)? {
        Steps::Scalar(values) => {
            vec![Column { labels: Labels::default(), values: values.into_iter().map(Some).collect() }]
        }
        Steps::Vector(columns) => columns,
        Steps::Text(_) => Vec::new(),
    };
    let mut series = to_series(columns, &times);
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

/// Columns as series of the steps that have a value; columns with equal labels (of different steps) become one.
fn to_series(columns: Vec<Column>, times: &[i64]) -> Vec<Series> {
    let mut set = crate::model::SeriesSet::default();
    for column in columns {
        let mut series = Series::new(column.labels);
        for (ts, value) in times.iter().zip(&column.values) {
            if let Some(value) = value {
                series.push(*ts, *value);
            }
        }
        if !series.is_empty() {
            set.insert(series);
        }
    }
    set.iter().map(|series| (**series).clone()).collect()
}

impl Evaluator<'_> {
    /// The steps' times.
    fn times(&self) -> Result<Vec<i64>, EvalError> {
        let count = (self.range.end_ms - self.range.start_ms) / self.range.step_ms + 1;
        let count = usize::try_from(count).map_err(|_| EvalError::BadRange)?;
        self.limit(count)?;
        Ok((0..count as i64).map(|n| self.range.start_ms + n * self.range.step_ms).collect())
    }

    fn limit(&self, samples: usize) -> Result<(), EvalError> {
        let limit = self.options.max_samples;
        if samples > limit { Err(EvalError::TooManySamples { limit }) } else { Ok(()) }
    }

    fn eval(&self, expr: &Expr) -> Result<Steps, EvalError> {
        match expr {
            Expr::Number(number) => Ok(Steps::Scalar(vec![*number; self.times()?.len()])),
            Expr::Text(text) => Ok(Steps::Text(text.clone())),
            Expr::Vector(selector) => self.instant_selector(selector).map(Steps::Vector),
            Expr::Paren(inner) => self.eval(inner),
            Expr::Negate(inner) => Ok(match self.eval(inner)? {
                Steps::Scalar(values) => Steps::Scalar(values.into_iter().map(|value| -value).collect()),
                Steps::Vector(columns) => self.map(columns, |value| -value)?,
                Steps::Text(text) => Steps::Text(text),
            }),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate).map(Steps::Vector),
            Expr::Call(function, arguments) => self.call(function.0.name, arguments),
            Expr::Range(..) | Expr::Subquery(_) => {
                Err(EvalError::Argument("a range vector stands where a value is needed".to_owned()))
            }
        }
    }

    fn vector(&self, expr: &Expr) -> Result<Vec<Column>, EvalError> {
        match self.eval(expr)? {
            Steps::Vector(columns) => Ok(columns),
            _ => Err(EvalError::Argument("expected an instant vector".to_owned())),
        }
    }

    fn scalar(&self, expr: &Expr) -> Result<Vec<f64>, EvalError> {
        match self.eval(expr)? {
            Steps::Scalar(values) => Ok(values),
            _ => Err(EvalError::Argument("expected a scalar".to_owned())),
        }
    }

    /// Applies `f` to every value and drops the metrics' names.
    fn map(&self, columns: Vec<Column>, f: impl Fn(f64) -> f64) -> Result<Steps, EvalError> {
        let mapped = columns.into_iter().map(|mut column| {
            column.labels = column.labels.without(&[METRIC_NAME]);
            column.values.iter_mut().flatten().for_each(|value| *value = f(*value));
            column
        });
        unique(mapped.collect()).map(Steps::Vector)
    }

    fn select(&self, selector: &Selector, reach_ms: i64) -> Result<Vec<Arc<Series>>, EvalError> {
        let outer = Window { start_ms: self.range.start_ms, end_ms: self.range.end_ms };
        let window = outer.shifted(selector.shift, &self.query);
        let series = self.source.select(&Selection {
            matchers: selector.matchers.clone(),
            start_ms: window.start_ms.saturating_sub(reach_ms),
            end_ms: window.end_ms,
        })?;
        self.limit(series.iter().map(|series| series.len()).sum())?;
        Ok(series)
    }

    /// The times at which a selector looks, one per step.
    fn shifted_times(&self, shift: super::ast::Shift) -> Result<Vec<i64>, EvalError> {
        let fixed = fixed_time(shift, &self.query);
        let times = self.times()?;
        Ok(times.into_iter().map(|time| fixed.unwrap_or(time) - shift.offset_ms).collect())
    }

    /// At each step the newest sample within the lookback, unless it is a stale marker.
    fn instant_selector(&self, selector: &Selector) -> Result<Vec<Column>, EvalError> {
        let series = self.select(selector, self.options.lookback_ms)?;
        let times = self.shifted_times(selector.shift)?;
        self.limit(series.len().saturating_mul(times.len()))?;
        let columns = series.iter().map(|series| {
            let mut next = 0;
            let values = times.iter().map(|time| {
                next += series.ts_ms.get(next..).unwrap_or_default().partition_point(|ts| ts <= time);
                let newest = next.checked_sub(1)?;
                let (ts, value) = (*series.ts_ms.get(newest)?, *series.values.get(newest)?);
                (time - ts <= self.options.lookback_ms && !is_stale_marker(value)).then_some(value)
            });
            Column { labels: series.labels.clone(), values: values.collect() }
        });
        Ok(columns.filter(|column| !column.is_empty()).collect())
    }

    /// A range selector or subquery.
    fn matrix(&self, expr: &Expr) -> Result<Matrix, EvalError> {
        match expr {
            Expr::Paren(inner) => self.matrix(inner),
            Expr::Range(selector, range_ms) => Ok(Matrix {
                series: self.select(selector, *range_ms)?,
                range_ms: *range_ms,
                ends_ms: self.shifted_times(selector.shift)?,
            }),
            Expr::Subquery(subquery) => {
                let ends_ms = self.shifted_times(subquery.shift)?;
                let step_ms = subquery.step_ms.unwrap_or(SUBQUERY_STEP_MS);
                let (first, last) =
                    (ends_ms.first().copied().unwrap_or(0), ends_ms.last().copied().unwrap_or(0));
                // Steps lie on multiples of the step, whatever the query's start is.
                let earliest = first - subquery.range_ms;
                let mut start_ms = earliest.div_euclid(step_ms) * step_ms;
                if start_ms < earliest {
                    start_ms += step_ms;
                }
                if last < start_ms {
                    return Ok(Matrix { series: Vec::new(), range_ms: subquery.range_ms, ends_ms });
                }
                let range = EvalRange { start_ms, end_ms: last, step_ms };
                let inner = Evaluator { range, ..*self };
                let columns = match inner.eval(&subquery.expr)? {
                    Steps::Scalar(values) => vec![Column {
                        labels: Labels::default(),
                        values: values.into_iter().map(Some).collect(),
                    }],
                    Steps::Vector(columns) => columns,
                    Steps::Text(_) => Vec::new(),
                };
                let series = to_series(columns, &inner.times()?);
                self.limit(series.iter().map(Series::len).sum())?;
                Ok(Matrix {
                    series: series.into_iter().map(Arc::new).collect(),
                    range_ms: subquery.range_ms,
                    ends_ms,
                })
            }
            _ => Err(EvalError::Argument("expected a range vector".to_owned())),
        }
    }
}

/// Checks that no two columns have equal labels at one step, and joins columns whose steps do not overlap.
fn unique(mut columns: Vec<Column>) -> Result<Vec<Column>, EvalError> {
    columns.retain(|column| !column.is_empty());
    columns.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut kept: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        match kept.last_mut() {
            Some(last) if last.labels == column.labels => {
                for (there, new) in last.values.iter_mut().zip(column.values) {
                    if there.is_some() && new.is_some() {
                        return Err(EvalError::DuplicateSeries { labels: column.labels.to_string() });
                    }
                    *there = there.or(new);
                }
            }
            _ => kept.push(column),
        }
    }
    Ok(kept)
}
