//! `topk` and `bottomk`: the best few series of each group at each instant.

use std::cmp::Ordering;

use super::super::EvalError;
use super::super::rows::{Row, absent, is_absent};
use super::Group;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Largest,
    Smallest,
}

impl Order {
    /// Best first; NaN is the worst either way.
    fn compare(self, a: f64, b: f64) -> Ordering {
        let by_value = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        let by_value = if self == Self::Largest { by_value.reverse() } else { by_value };
        a.is_nan().cmp(&b.is_nan()).then(by_value)
    }
}

/// Keeps of each group the `k` best values per instant (`k` is cut to an integer; below 1 nothing is
/// kept). The rows of a group are ordered by their value at the first instant.
pub(super) fn of_groups(groups: Vec<Group>, k: &[f64], order: Order) -> Result<Vec<Row>, EvalError> {
    let function = if order == Order::Largest { "topk" } else { "bottomk" };
    let counts = k.iter().map(|k| count(*k, function)).collect::<Result<Vec<_>, _>>()?;
    let mut kept = Vec::new();
    for mut group in groups {
        for (step, count) in counts.iter().enumerate() {
            drop_worst(&mut group.rows, step, *count, order);
        }
        group.rows.retain(|row| row.values.iter().any(|value| !is_absent(*value)));
        let first = |row: &Row| row.values.first().copied().unwrap_or(f64::NAN);
        group.rows.sort_by(|a, b| order.compare(first(a), first(b)));
        kept.append(&mut group.rows);
    }
    Ok(kept)
}

fn count(k: f64, function: &'static str) -> Result<usize, EvalError> {
    // 2^63, the first float an i64 does not hold.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if !(-LIMIT..LIMIT).contains(&k) {
        return Err(EvalError::BadArgument { function, reason: format!("scalar value {k} overflows int64") });
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "negative becomes 0")]
    Ok(k.max(0.0) as usize)
}

fn drop_worst(rows: &mut [Row], step: usize, count: usize, order: Order) {
    let value = |row: &Row| row.values.get(step).copied().unwrap_or_else(absent);
    let mut there: Vec<(usize, f64)> =
        rows.iter().map(value).enumerate().filter(|(_, value)| !is_absent(*value)).collect();
    if there.len() <= count {
        return;
    }
    there.sort_by(|(_, a), (_, b)| order.compare(*a, *b));
    for (index, _) in there.iter().skip(count) {
        if let Some(slot) = rows.get_mut(*index).and_then(|row| row.values.get_mut(step)) {
            *slot = absent();
        }
    }
}
