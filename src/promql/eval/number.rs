//! Functions of one value at a time: arithmetic, trigonometry, dates, bounds.

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::EvalError;
use super::rows::{Row, absent, is_absent};
use crate::model::METRIC_NAME;
use crate::promql::function::Function;

/// Applies `function` to every value; `scalars` are its further arguments, one value per instant each.
pub(super) fn apply(
    function: Function,
    mut rows: Vec<Row>,
    scalars: &[Vec<f64>],
) -> Result<Vec<Row>, EvalError> {
    let simple = of_one(function);
    for row in &mut rows {
        row.labels = row.labels.without(&[METRIC_NAME]);
        if let Some(simple) = simple {
            row.map(simple);
            continue;
        }
        for (step, value) in row.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
            let scalar = |index: usize| scalars.get(index).and_then(|values| values.get(step)).copied();
            *value = with_scalars(function, *value, scalar(0), scalar(1))
                .ok_or_else(|| EvalError::internal("a function without an implementation"))?;
        }
    }
    Ok(rows)
}

fn of_one(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Abs => f64::abs,
        Function::Acos => f64::acos,
        Function::Acosh => f64::acosh,
        Function::Asin => f64::asin,
        Function::Asinh => f64::asinh,
        Function::Atan => f64::atan,
        Function::Atanh => f64::atanh,
        Function::Ceil => f64::ceil,
        Function::Cos => f64::cos,
        Function::Cosh => f64::cosh,
        Function::Deg => |value| value * 180.0 / std::f64::consts::PI,
        Function::Exp => f64::exp,
        Function::Floor => f64::floor,
        Function::Ln => f64::ln,
        Function::Log10 => f64::log10,
        Function::Log2 => f64::log2,
        Function::Rad => |value| value * std::f64::consts::PI / 180.0,
        Function::Sgn => sign,
        Function::Sin => f64::sin,
        Function::Sinh => f64::sinh,
        Function::Sqrt => f64::sqrt,
        Function::Tan => f64::tan,
        Function::Tanh => f64::tanh,
        Function::Minute => |value| date(value, |date| date.minute()),
        Function::Hour => |value| date(value, |date| date.hour()),
        Function::DayOfWeek => |value| date(value, |date| date.weekday().num_days_from_sunday()),
        Function::DayOfMonth => |value| date(value, |date| date.day()),
        Function::DayOfYear => |value| date(value, |date| date.ordinal()),
        Function::DaysInMonth => |value| date(value, |date| u32::from(date.num_days_in_month())),
        Function::Month => |value| date(value, |date| date.month()),
        Function::Year => |value| date_of(value).map_or(f64::NAN, |date| f64::from(date.year())),
        _ => return None,
    })
}

/// `None` for a function that is not one of these.
fn with_scalars(function: Function, value: f64, first: Option<f64>, second: Option<f64>) -> Option<f64> {
    Some(match function {
        // Bounds in the wrong order leave nothing.
        Function::Clamp if second? < first? => absent(),
        Function::Clamp => larger(first?, smaller(second?, value)),
        Function::ClampMax => smaller(first?, value),
        Function::ClampMin => larger(first?, value),
        Function::Round => {
            // The inverse keeps 0.1 and the like exact to what they print as.
            let inverse = 1.0 / first.unwrap_or(1.0);
            (value * inverse + 0.5).floor() / inverse
        }
        _ => return None,
    })
}

/// NaN when either is NaN and neither infinite, unlike `f64::max`.
fn larger(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

fn smaller(a: f64, b: f64) -> f64 {
    -larger(-a, -b)
}

/// -1, 0 or 1; zero and NaN stay what they are.
fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

fn date_of(seconds: f64) -> Option<DateTime<Utc>> {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and is then out of chrono's range")]
    DateTime::from_timestamp(seconds as i64, 0)
}

fn date(seconds: f64, part: impl Fn(&DateTime<Utc>) -> u32) -> f64 {
    date_of(seconds).map_or(f64::NAN, |date| f64::from(part(&date)))
}
