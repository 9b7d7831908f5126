//! Heat maps of latency buckets over time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scale::TimeScale;
use super::{BOX_WIDTH, coord};
use crate::model::Series;

/// Height of one bucket's row, px.
const ROW_HEIGHT: f64 = 16.0;

/// Buckets above this many rows are left out from the far ends, where nothing is counted.
const ROWS_MAX: usize = 12;

/// Upper edges of the six shades, as the share of one column's calls in the bucket.
const SHADES: [f64; 5] = [0.001, 0.05, 0.2, 0.4, 0.6];

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Heatmap {
    pub(crate) height: String,
    pub(crate) row_height: String,
    /// Height of the text and the bucket's upper bound, highest first.
    pub(crate) rows: Vec<(String, String)>,
    /// One path per shade 1 to 5; shade 0 is the background.
    pub(crate) shades: Vec<(usize, String)>,
    pub(crate) x_ticks: Vec<(String, String)>,
    /// Height of the limit's line and its text.
    pub(crate) limit: Option<(String, String)>,
    /// The bucket with most calls in the first and in the last quarter, upper bounds in ms.
    pub(crate) modes: Option<(String, String)>,
}

/// A heat map of cumulative buckets (`le` in seconds), as `increase` over one step gives them. `None` when
/// nothing was counted.
pub(crate) fn heatmap(
    series: &[&Series],
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    limit_seconds: f64,
) -> Option<Heatmap> {
    let (bounds, columns) = counts(series, start_ms, end_ms, step_ms.max(1));
    let shares: BTreeMap<i64, Vec<f64>> = columns
        .into_iter()
        .filter_map(|(column, counts)| {
            let total: f64 = counts.iter().sum();
            (total > 0.0).then(|| (column, counts.iter().map(|count| count / total).collect()))
        })
        .collect();
    let used = |row: usize| shares.values().any(|s| s.get(row).is_some_and(|share| *share >= SHADES[0]));
    let first = (0..bounds.len()).find(|row| used(*row))?;
    let last = (0..bounds.len()).rfind(|row| used(*row))?.max(first);
    // One empty row on each side shows that the data ends there.
    let (first, last) = (first.saturating_sub(1), (last + 1).min(bounds.len() - 1));
    let shown = first.max((last + 1).saturating_sub(ROWS_MAX))..last + 1;
    let height = shown.len() as f64 * ROW_HEIGHT;
    let row_y = |row: usize| (shown.end - 1 - row) as f64 * ROW_HEIGHT;
    let time = TimeScale { start_ms, end_ms };
    let width = BOX_WIDTH * step_ms as f64 / (end_ms - start_ms).max(1) as f64;
    let mut shades = vec![String::new(); SHADES.len() + 1];
    for (column, column_shares) in &shares {
        let x = coord(BOX_WIDTH * time.share(start_ms + column * step_ms));
        for row in shown.clone() {
            let share = column_shares.get(row).copied().unwrap_or(0.0);
            let shade = SHADES.iter().filter(|edge| share >= **edge).count();
            if let Some(d) = shades.get_mut(shade).filter(|_| shade > 0) {
                d.push_str(&format!(
                    "M{x} {}h{}v{ROW_HEIGHT}h-{}z",
                    coord(row_y(row)),
                    coord(width),
                    coord(width)
                ));
            }
        }
    }
    let rows = shown.clone().rev().map(|row| {
        (coord(row_y(row) + ROW_HEIGHT / 2.0), bounds.get(row).map(|b| milliseconds(*b)).unwrap_or_default())
    });
    Some(Heatmap {
        height: coord(height),
        row_height: coord(ROW_HEIGHT),
        rows: rows.collect(),
        shades: shades.into_iter().enumerate().filter(|(_, d)| !d.is_empty()).collect(),
        x_ticks: time
            .ticks()
            .into_iter()
            .map(|(ts, text)| (format!("{}%", coord(time.share(ts) * 100.0)), text))
            .collect(),
        // A limit inside a bucket is drawn at the bucket's upper edge: all below it surely meets the limit
        // or shares its bucket.
        limit: bounds
            .iter()
            .position(|bound| *bound >= limit_seconds)
            .filter(|row| shown.contains(row))
            .map(|row| (coord(row_y(row)), crate::model::unit::human_seconds(limit_seconds))),
        modes: modes(&shares, &bounds),
    })
}

/// Bounds in rising order and, by column, the calls in each bucket alone.
fn counts(
    series: &[&Series],
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
) -> (Vec<f64>, BTreeMap<i64, Vec<f64>>) {
    let mut buckets: Vec<(f64, &Series)> = series
        .iter()
        .filter_map(|s| Some((s.labels.get("le")?.replace("+Inf", "inf").parse().ok()?, *s)))
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut columns: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (row, (_, bucket)) in buckets.iter().enumerate() {
        let (ts, values) = bucket.window(start_ms + 1, end_ms);
        for (ts, value) in ts.iter().zip(values).filter(|(_, value)| value.is_finite()) {
            // A sample speaks of the step before it.
            let column = (ts - start_ms - 1) / step_ms;
            let counts = columns.entry(column).or_insert_with(|| vec![0.0; buckets.len()]);
            if let Some(slot) = counts.get_mut(row) {
                *slot = *value;
            }
        }
    }
    for counts in columns.values_mut() {
        let mut below = 0.0;
        for count in counts.iter_mut() {
            let cumulative = count.max(below);
            *count = cumulative - below;
            below = cumulative;
        }
    }
    (buckets.into_iter().map(|(bound, _)| bound).collect(), columns)
}

fn modes(shares: &BTreeMap<i64, Vec<f64>>, bounds: &[f64]) -> Option<(String, String)> {
    let columns: Vec<&Vec<f64>> = shares.values().collect();
    let quarter = (columns.len() / 4).max(1);
    let mode = |part: &[&Vec<f64>]| {
        let sum = |row: usize| part.iter().filter_map(|c| c.get(row)).sum::<f64>();
        let row = (0..bounds.len()).max_by(|a, b| sum(*a).total_cmp(&sum(*b)))?;
        bounds.get(row).map(|bound| milliseconds(*bound))
    };
    Some((mode(columns.get(..quarter)?)?, mode(columns.get(columns.len() - quarter..)?)?))
}

fn milliseconds(bound: f64) -> String {
    if bound.is_infinite() { "more".to_owned() } else { crate::model::unit::three_digits(bound * 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn bucket(le: &str, value: f64) -> Series {
        let mut series = Series::new(Labels::from_pairs([("le", le)]));
        for n in 1..=4 {
            series.push(n * 100, value);
        }
        series
    }

    #[test]
    fn cumulative_buckets_become_shares() {
        let all = [
            bucket("0.001", 0.0),
            bucket("0.002", 10.0),
            bucket("0.004", 90.0),
            bucket("0.008", 100.0),
            bucket("0.016", 100.0),
            bucket("+Inf", 100.0),
        ];
        let map = heatmap(&all.iter().collect::<Vec<_>>(), 0, 400, 100, 0.01).expect("has data");
        assert_eq!(map.rows.iter().map(|r| r.1.as_str()).collect::<Vec<_>>(), ["16", "8", "4", "2", "1"]);
        // 10 % in 2 ms and in 8 ms, 80 % in 4 ms.
        let shades: Vec<(usize, usize)> =
            map.shades.iter().map(|(s, d)| (*s, d.matches('M').count())).collect();
        assert_eq!(shades, [(2, 8), (5, 4)]);
        assert_eq!(map.modes, Some(("4".into(), "4".into())));
        assert_eq!(map.limit.expect("in range").0, "0");
    }

    #[test]
    fn nothing_counted_is_no_map() {
        let all = [bucket("0.001", 0.0), bucket("+Inf", 0.0)];
        assert_eq!(heatmap(&all.iter().collect::<Vec<_>>(), 0, 400, 100, 0.01), None);
        assert_eq!(heatmap(&[], 0, 400, 100, 0.01), None);
    }
}
