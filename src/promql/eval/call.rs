//! Function calls.

use super::window::Samples;
use super::{Column, Evaluator, Matrix, Steps, labels, over_time, time, unique};
use crate::model::{Labels, METRIC_NAME, MatchOp, Matcher, is_stale_marker};
use crate::promql::EvalError;
use crate::promql::ast::Expr;

type Called = Result<Steps, EvalError>;

impl Evaluator<'_> {
    pub(super) fn call(&self, name: &str, arguments: &[Expr]) -> Called {
        match name {
            "pi" => Ok(Steps::Scalar(vec![std::f64::consts::PI; self.times()?.len()])),
            "time" => Ok(Steps::Scalar(self.seconds()?)),
            "vector" => self.to_vector(self.scalar(argument(arguments, 0)?)?),
            "scalar" => self.to_scalar(argument(arguments, 0)?),
            "timestamp" => self.timestamp(argument(arguments, 0)?),
            "absent" => {
                let inner = argument(arguments, 0)?;
                let columns = self.vector(inner)?;
                self.absent(inner, |step| {
                    columns.iter().any(|c| c.values.get(step).is_some_and(Option::is_some))
                })
            }
            "label_replace" => {
                let texts = [1, 2, 3, 4].map(|n| arguments.get(n).map_or(Ok(""), text));
                let [target, replacement, source, pattern] = texts;
                labels::replace(
                    self.vector(argument(arguments, 0)?)?,
                    [target?, replacement?, source?, pattern?],
                )
            }
            "label_join" => {
                let texts: Vec<&str> = arguments.iter().skip(1).map(text).collect::<Result<_, _>>()?;
                let [target, separator, sources @ ..] = texts.as_slice() else {
                    return Err(EvalError::Argument("label_join needs a label and a separator".to_owned()));
                };
                labels::join(self.vector(argument(arguments, 0)?)?, target, separator, sources)
            }
            "histogram_quantile" => {
                let q = self.scalar(argument(arguments, 0)?)?;
                self.histogram_quantile(&q, &self.vector(argument(arguments, 1)?)?)
            }
            "sort" | "sort_desc" => self.sort(argument(arguments, 0)?, name == "sort_desc"),
            "clamp" | "clamp_min" | "clamp_max" | "round" => self.with_parameters(name, arguments),
            "minute" | "hour" | "day_of_week" | "day_of_month" | "day_of_year" | "days_in_month"
            | "month" | "year" => {
                let columns = match arguments.first() {
                    Some(inner) => self.vector(inner)?,
                    None => vec![Column {
                        labels: Labels::default(),
                        values: self.seconds()?.into_iter().map(Some).collect(),
                    }],
                };
                self.map(columns, |value| time::calendar(name, value))
            }
            _ if arguments
                .iter()
                .map(Expr::value_type)
                .find(|t| *t == crate::promql::ValueType::Matrix)
                .is_some() =>
            {
                self.over_range(name, arguments)
            }
            _ => self.math(name, argument(arguments, 0)?),
        }
    }

    fn seconds(&self) -> Result<Vec<f64>, EvalError> {
        Ok(self.times()?.into_iter().map(|ms| ms as f64 / 1000.0).collect())
    }

    fn to_vector(&self, values: Vec<f64>) -> Called {
        let values = values.into_iter().map(Some).collect();
        Ok(Steps::Vector(vec![Column { labels: Labels::default(), values }]))
    }

    /// The only element's value; NaN where there is none or more than one.
    fn to_scalar(&self, expr: &Expr) -> Called {
        let columns = self.vector(expr)?;
        let only = |step: usize| {
            let mut there = columns.iter().filter_map(|column| column.values.get(step).copied().flatten());
            match (there.next(), there.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        };
        Ok(Steps::Scalar((0..self.times()?.len()).map(only).collect()))
    }

    /// The time of a selector's samples; of anything else the evaluation's time.
    fn timestamp(&self, expr: &Expr) -> Called {
        let mut inner = expr;
        while let Expr::Paren(next) = inner {
            inner = next;
        }
        let Expr::Vector(selector) = inner else {
            let seconds = self.seconds()?;
            let stamped = self.vector(expr)?.into_iter().map(|mut column| {
                column.labels = column.labels.without(&[METRIC_NAME]);
                for (slot, at) in column.values.iter_mut().zip(&seconds) {
                    *slot = slot.map(|_| *at);
                }
                column
            });
            return unique(stamped.collect()).map(Steps::Vector);
        };
        let lookback_ms = self.options.lookback_ms;
        let matrix = Matrix {
            series: self.select(selector, lookback_ms)?,
            range_ms: lookback_ms,
            ends_ms: self.shifted_times(selector.shift)?,
        };
        let present = self.instant_selector(selector)?;
        let columns = present.into_iter().map(|column| {
            let series = matrix.series.iter().find(|series| series.labels == column.labels);
            let at = |(end, value): (&i64, &Option<f64>)| {
                value.as_ref()?;
                let (ts, values) = series?.window(end - lookback_ms, *end);
                ts.iter()
                    .zip(values)
                    .rev()
                    .find(|(_, v)| !is_stale_marker(**v))
                    .map(|(ts, _)| *ts as f64 / 1000.0)
            };
            Column {
                values: matrix.ends_ms.iter().zip(&column.values).map(at).collect(),
                labels: column.labels.without(&[METRIC_NAME]),
            }
        });
        unique(columns.collect()).map(Steps::Vector)
    }

    /// 1 at the steps where nothing is present, with the labels that plain matchers demand.
    fn absent(&self, expr: &Expr, present: impl Fn(usize) -> bool) -> Called {
        let steps = self.times()?.len();
        let values: Vec<Option<f64>> = (0..steps).map(|step| (!present(step)).then_some(1.0)).collect();
        let column = Column { labels: demanded_labels(expr), values };
        Ok(Steps::Vector(if column.is_empty() { Vec::new() } else { vec![column] }))
    }

    fn sort(&self, expr: &Expr, descending: bool) -> Called {
        let mut columns = self.vector(expr)?;
        let first = |column: &Column| column.values.first().copied().flatten().unwrap_or(f64::NAN);
        columns.sort_by(|a, b| {
            let (a, b) = (first(a), first(b));
            let by_value = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
            // NaN comes last in either direction.
            a.is_nan().cmp(&b.is_nan()).then(if descending { by_value.reverse() } else { by_value })
        });
        Ok(Steps::Vector(columns))
    }

    fn with_parameters(&self, name: &str, arguments: &[Expr]) -> Called {
        let columns = self.vector(argument(arguments, 0)?)?;
        let steps = self.times()?.len();
        let parameter = |n: usize, default: f64| match arguments.get(n) {
            Some(expr) => self.scalar(expr),
            None => Ok(vec![default; steps]),
        };
        let (low, high) = match name {
            "clamp" => (parameter(1, 0.0)?, parameter(2, 0.0)?),
            "clamp_min" => (parameter(1, 0.0)?, vec![f64::INFINITY; steps]),
            "clamp_max" => (vec![f64::NEG_INFINITY; steps], parameter(1, 0.0)?),
            _ => (parameter(1, 1.0)?, Vec::new()),
        };
        let computed = columns.into_iter().map(|mut column| {
            column.labels = column.labels.without(&[METRIC_NAME]);
            for (step, slot) in column.values.iter_mut().enumerate() {
                let low = low.get(step).copied().unwrap_or(f64::NAN);
                *slot = slot.and_then(|value| match high.get(step) {
                    Some(high) if low > *high => None,
                    Some(high) => Some(max(low, min(*high, value))),
                    // Dividing by the inverse keeps 0.1 and its like exact, as in Prometheus.
                    None => Some((value * (1.0 / low) + 0.5).floor() / (1.0 / low)),
                });
            }
            column
        });
        unique(computed.collect()).map(Steps::Vector)
    }

    fn over_range(&self, name: &str, arguments: &[Expr]) -> Called {
        let parameters: Vec<Vec<f64>> = arguments
            .iter()
            .filter(|argument| argument.value_type() == crate::promql::ValueType::Scalar)
            .map(|argument| self.scalar(argument))
            .collect::<Result<_, _>>()?;
        let range =
            arguments.iter().find(|argument| argument.value_type() == crate::promql::ValueType::Matrix);
        let range = range.ok_or_else(|| EvalError::Argument("expected a range vector".to_owned()))?;
        let matrix = self.matrix(range)?;
        if name == "absent_over_time" {
            let counted = self.over_windows(&matrix, true, |_| Some(1.0))?;
            let Steps::Vector(columns) = counted else { return Ok(counted) };
            return self.absent(range, |step| {
                columns.iter().any(|c| c.values.get(step).is_some_and(Option::is_some))
            });
        }
        check_parameters(name, &parameters)?;
        let parameter = |n: usize, step: usize| {
            parameters.get(n).and_then(|values| values.get(step)).copied().unwrap_or(f64::NAN)
        };
        self.over_windows(&matrix, name == "last_over_time", |samples| of_window(name, samples, &parameter))
    }

    fn math(&self, name: &str, expr: &Expr) -> Called {
        let f: fn(f64) -> f64 = match name {
            "abs" => f64::abs,
            "ceil" => f64::ceil,
            "floor" => f64::floor,
            "exp" => f64::exp,
            "sqrt" => f64::sqrt,
            "ln" => f64::ln,
            "log2" => f64::log2,
            "log10" => f64::log10,
            "sin" => f64::sin,
            "cos" => f64::cos,
            "tan" => f64::tan,
            "asin" => f64::asin,
            "acos" => f64::acos,
            "atan" => f64::atan,
            "sinh" => f64::sinh,
            "cosh" => f64::cosh,
            "tanh" => f64::tanh,
            "asinh" => f64::asinh,
            "acosh" => f64::acosh,
            "atanh" => f64::atanh,
            "deg" => |value| value * 180.0 / std::f64::consts::PI,
            "rad" => |value| value * std::f64::consts::PI / 180.0,
            "sgn" => |value| {
                if value > 0.0 {
                    1.0
                } else if value < 0.0 {
                    -1.0
                } else {
                    value
                }
            },
            _ => return Err(EvalError::Argument(format!("the function {name} is not implemented"))),
        };
        let columns = self.vector(expr)?;
        self.map(columns, f)
    }
}

fn argument(arguments: &[Expr], n: usize) -> Result<&Expr, EvalError> {
    arguments.get(n).ok_or_else(|| EvalError::Argument("an argument is missing".to_owned()))
}

fn text(expr: &Expr) -> Result<&str, EvalError> {
    match expr {
        Expr::Text(text) => Ok(text),
        Expr::Paren(inner) => text(inner),
        _ => Err(EvalError::Argument("expected a string".to_owned())),
    }
}

/// As in Go: NaN wins.
fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn of_window(name: &str, samples: &Samples<'_>, parameter: &impl Fn(usize, usize) -> f64) -> Option<f64> {
    let (values, step) = (samples.values, samples.step);
    match name {
        "rate" => over_time::extrapolated(samples, true, true),
        "increase" => over_time::extrapolated(samples, true, false),
        "delta" => over_time::extrapolated(samples, false, false),
        "irate" => over_time::instant_change(samples, true),
        "idelta" => over_time::instant_change(samples, false),
        "changes" => Some(over_time::changes(values)),
        "resets" => Some(over_time::resets(values)),
        "avg_over_time" => Some(over_time::avg(values)),
        "sum_over_time" => Some(over_time::sum(values)),
        "count_over_time" => Some(values.len() as f64),
        "min_over_time" => over_time::extreme(values, |value, best| value < best),
        "max_over_time" => over_time::extreme(values, |value, best| value > best),
        "last_over_time" => values.last().copied(),
        "present_over_time" => Some(1.0),
        "stddev_over_time" => Some(over_time::variance(values).sqrt()),
        "stdvar_over_time" => Some(over_time::variance(values)),
        "quantile_over_time" => Some(over_time::quantile(parameter(0, step), values)),
        "deriv" => over_time::regression(samples, *samples.ts_ms.first()?).map(|(slope, _)| slope),
        "predict_linear" => {
            let (slope, now) = over_time::regression(samples, samples.time_ms)?;
            Some(slope * parameter(0, step) + now)
        }
        "holt_winters" => over_time::holt_winters(values, parameter(0, step), parameter(1, step)),
        _ => None,
    }
}

fn check_parameters(name: &str, parameters: &[Vec<f64>]) -> Result<(), EvalError> {
    let outside = |value: &f64| !(*value > 0.0 && *value < 1.0);
    if name == "holt_winters" && parameters.iter().flatten().any(outside) {
        return Err(EvalError::Argument("the factors of holt_winters must be between 0 and 1".to_owned()));
    }
    Ok(())
}

/// The labels that `absent` gives: those that one plain `=` matcher demands.
fn demanded_labels(expr: &Expr) -> Labels {
    let matchers: &[Matcher] = match expr {
        Expr::Vector(selector) | Expr::Range(selector, _) => &selector.matchers,
        Expr::Paren(inner) => return demanded_labels(inner),
        _ => return Labels::default(),
    };
    let named = |name: &str| matchers.iter().filter(|m| m.name == name).count();
    let plain =
        matchers.iter().filter(|m| m.op == MatchOp::Equal && m.name != METRIC_NAME && named(&m.name) == 1);
    Labels::from_pairs(plain.map(|m| (m.name.as_str(), m.value.as_str())))
}
