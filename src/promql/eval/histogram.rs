//! `histogram_quantile` of classic histograms (buckets as series with an `le` label).

use std::collections::HashMap;

use super::rows::{Row, absent, is_absent};
use crate::model::{Labels, METRIC_NAME};
use crate::promql::plan::Grid;

const BUCKET_LABEL: &str = "le";

/// One bucket at one instant: observations up to `upper`.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// A bucket over all instants: its upper bound and its counts.
type Column = (f64, Vec<f64>);

/// The `q`-quantile (one `q` per instant) of each histogram among the rows. Rows without a readable `le`
/// are no buckets and are skipped.
pub(super) fn quantiles(q: &[f64], rows: Vec<Row>, grid: &Grid) -> Vec<Row> {
    let mut order: Vec<(Labels, Vec<Column>)> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for row in rows {
        let Some(upper) = row.labels.get(BUCKET_LABEL).and_then(|le| le.parse::<f64>().ok()) else {
            continue;
        };
        let labels = row.labels.without(&[BUCKET_LABEL]);
        let place = *places.entry(labels.clone()).or_insert(order.len());
        if place == order.len() {
            order.push((labels, Vec::new()));
        }
        if let Some((_, buckets)) = order.get_mut(place) {
            buckets.push((upper, row.values));
        }
    }
    let mut scratch = Vec::new();
    let quantiles = |(labels, mut columns): (Labels, Vec<Column>)| {
        columns.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let values = (0..grid.steps).zip(q).map(|(step, q)| {
            scratch.clear();
            for (upper, counts) in &columns {
                match counts.get(step) {
                    Some(count) if !is_absent(*count) => {
                        scratch.push(Bucket { upper: *upper, count: *count });
                    }
                    _ => {}
                }
            }
            if scratch.is_empty() { absent() } else { quantile(*q, &mut scratch) }
        });
        Row { labels: labels.without(&[METRIC_NAME]), values: values.collect() }
    };
    order.into_iter().map(quantiles).collect()
}

/// Linear within the bucket the rank falls into. `buckets` are sorted by `upper`, not empty.
fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return f64::NAN;
    }
    // Buckets of one bound may come from several series; counts may fall where scrapes tore.
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    let mut most = f64::NEG_INFINITY;
    for (index, bucket) in buckets.iter_mut().enumerate() {
        if index == 0 || bucket.count > most {
            most = bucket.count;
        } else if bucket.count < most {
            bucket.count = most;
        }
    }
    let [finite @ .., last] = buckets.as_slice() else { return f64::NAN };
    let Some(highest) = finite.last() else { return f64::NAN };
    if last.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * last.count;
    let index = first_reaching(finite, rank);
    let Some(bucket) = finite.get(index) else { return highest.upper };
    let below = index.checked_sub(1).and_then(|before| finite.get(before));
    match below {
        None if bucket.upper <= 0.0 => bucket.upper,
        None => bucket.upper * (rank / bucket.count),
        Some(below) => {
            let share = (rank - below.count) / (bucket.count - below.count);
            below.upper + (bucket.upper - below.upper) * share
        }
    }
}

/// The first bucket that holds the rank, by bisection: with a NaN among the counts the answer depends on
/// the way of searching, so it is Prometheus' way.
fn first_reaching(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if buckets.get(middle).is_some_and(|bucket| bucket.count >= rank) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(q: f64, buckets: &[(f64, f64)], expected: f64) {
        let mut list: Vec<Bucket> =
            buckets.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect();
        let got = quantile(q, &mut list);
        assert!(got == expected || got.is_nan() && expected.is_nan(), "{q} of {buckets:?}: {got}");
    }

    #[test]
    fn quantiles_of_classic_histograms() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        check(0.5, &[(1.0, 2.0), (2.0, 4.0), (inf, 4.0)], 1.0);
        check(0.75, &[(1.0, 2.0), (2.0, 4.0), (inf, 4.0)], 1.5);
        check(0.99, &[(1.0, 0.0), (inf, 10.0)], 1.0);
        check(0.5, &[(1.0, 2.0), (2.0, 4.0)], nan);
        check(0.5, &[(inf, 4.0)], nan);
        check(0.5, &[(1.0, 0.0), (inf, 0.0)], nan);
        check(0.5, &[(-1.0, 3.0), (inf, 4.0)], -1.0);
        check(-0.1, &[(1.0, 1.0), (inf, 1.0)], -inf);
        check(1.1, &[(1.0, 1.0), (inf, 1.0)], inf);
        check(nan, &[(1.0, 1.0), (inf, 1.0)], nan);
        check(0.5, &[(1.0, 2.0), (1.0, 2.0), (inf, 4.0)], 0.5);
        check(1.0, &[(1.0, 3.0), (2.0, 1.0), (inf, 3.0)], 1.0);
    }
}
