//! The figures that clusters are compared by, and how the course of a metric becomes one of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::median;
use crate::model::Series;
use crate::model::catalogue::{Layer, Metric, Unit, Worse, catalogue, quantile_name};

const MIB: f64 = 1_048_576.0;

/// How a figure is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The course of a metric of the catalogue, by its id.
    Course(&'static str),
    /// One value at the end of the range. With `$cluster`, and `$window` for the range, a day at least; what it gives
    /// is of one second if `per_second`, else of the whole window.
    Window { promql: &'static str, per_second: bool },
}

/// How the figures of several clusters become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fold {
    Sum,
    Median,
}

/// One thing that clusters are compared by.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The catalogue's id, with the quantile or `_per_day` behind it: `wal_fsync_p99`.
    pub key: String,
    pub title: String,
    pub layer: Layer,
    /// Of what grows or is counted per day the unit is that of a day's sum.
    pub unit: Unit,
    pub per_day: bool,
    pub worse: Worse,
    pub ask: Ask,
    /// Which of the metric's quantiles, where it has several: `p99`.
    pub quantile: Option<String>,
    /// The newest value counts, not the usual one.
    pub newest: bool,
    pub fold: Fold,
    /// What is nearer to the median than this, in its unit, is never called far; `None` where clusters differ by
    /// nature.
    pub least_difference: Option<f64>,
}

/// What a measure is for one cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The median over the range of the worst member's values; of sizes the newest.
    pub value: f64,
    /// The highest in the range.
    pub highest: f64,
    /// Which of the metric's sources answered, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Those of the fleet's table, in its order.
pub fn fleet_measures() -> Vec<Measure> {
    let keys = [
        "leader_changes_per_day",
        "put_latency_p99",
        "wal_fsync_p99",
        "backend_commit_p99",
        "db_size",
        "db_used_share",
        "db_growth_per_day",
    ];
    let all = all_measures();
    keys.iter().filter_map(|key| all.iter().find(|measure| measure.key == *key).cloned()).collect()
}

/// All figures of a cluster's layers that are one number, from the client down to the machine.
pub fn all_measures() -> Vec<Measure> {
    let metrics = catalogue().metrics.iter();
    let mut all: Vec<Measure> =
        metrics.filter_map(|metric| Some((metric, metric.layer?))).flat_map(of).collect();
    all.sort_by_key(|measure| measure.layer);
    all
}

fn of((metric, layer): (&'static Metric, Layer)) -> Vec<Measure> {
    let plain = Measure {
        key: metric.id.clone(),
        title: metric.title.clone(),
        layer,
        unit: metric.unit,
        per_day: false,
        worse: metric.worse,
        ask: Ask::Course(&metric.id),
        quantile: None,
        newest: metric.unit == Unit::Bytes,
        fold: match metric.unit {
            Unit::Seconds | Unit::Ratio => Fold::Median,
            Unit::Bytes | Unit::Count | Unit::Cores | Unit::PerSecond | Unit::BytesPerSecond => Fold::Sum,
        },
        least_difference: least_difference(&metric.id),
    };
    let per_day = |plain: Measure, promql: &'static str, per_second: bool, unit: Unit| Measure {
        key: format!("{}_per_day", plain.key),
        title: format!("{} per day", plain.title),
        per_day: true,
        unit,
        ask: Ask::Window { promql, per_second },
        ..plain
    };
    match metric.id.as_str() {
        "leader_changes" => vec![per_day(
            plain,
            "max(increase(etcd_server_leader_changes_seen_total{cluster=\"$cluster\"}[$window]))",
            false,
            Unit::Count,
        )],
        "db_growth" => vec![per_day(
            plain,
            "max(deriv(etcd_mvcc_db_total_size_in_use_in_bytes{cluster=\"$cluster\"}[$window]))",
            true,
            Unit::Bytes,
        )],
        "db_used_share" => vec![Measure { newest: true, ..plain }],
        // A process' age compares nothing.
        "uptime" => Vec::new(),
        // One series per method, kind or the like is no figure of the cluster.
        _ if metric.by.iter().any(|label| label != "instance" && label != "To") => Vec::new(),
        _ if metric.quantiles.is_empty() => vec![plain],
        _ => {
            let several = metric.quantiles.len() > 1;
            let one = |quantile: &f64| {
                let name = quantile_name(*quantile);
                Measure {
                    key: format!("{}_{name}", plain.key),
                    title: format!("{} {name}", plain.title),
                    quantile: several.then_some(name),
                    ..plain.clone()
                }
            };
            metric.quantiles.iter().map(one).collect()
        }
    }
}

/// Below these a difference changes nothing that anybody would do.
fn least_difference(id: &str) -> Option<f64> {
    Some(match id {
        "leader_changes" => 3.0,
        "put_latency" | "read_latency" => 0.010,
        "wal_fsync" | "backend_commit" | "peer_rtt" => 0.005,
        "db_used_share" => 0.2,
        "db_size" => 512.0 * MIB,
        "db_growth" => 50.0 * MIB,
        _ => return None,
    })
}

impl Measure {
    /// The figure that `series` come to: of each step the worst member, of the steps the median or the newest.
    pub fn figure(&self, series: &[Series]) -> Option<Figure> {
        let wanted = |series: &&Series| {
            self.quantile.as_deref().is_none_or(|quantile| series.labels.get("quantile") == Some(quantile))
        };
        let fitting: Vec<&Series> = series.iter().filter(wanted).collect();
        // Sources may have taken turns: of several the one that answered last, and of these the longest.
        let newest = fitting.iter().max_by_key(|series| (series.ts_ms.last().copied(), series.len()))?;
        let source = newest.labels.get("source").map(str::to_owned);
        let mut worst: BTreeMap<i64, f64> = BTreeMap::new();
        for series in fitting.iter().filter(|series| series.labels.get("source") == source.as_deref()) {
            for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
                if value.is_finite() {
                    let so_far = worst.entry(*ts_ms).or_insert(*value);
                    *so_far = if self.worse == Worse::Low { so_far.min(*value) } else { so_far.max(*value) };
                }
            }
        }
        let usual = median(worst.values().copied())?;
        let last = worst.last_key_value().map(|(_, value)| *value)?;
        let highest = worst.values().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Figure { value: if self.newest { last } else { usual }, highest, source })
    }

    /// The figure of a window of `window_ms` from its one value.
    pub fn per_day(&self, value: f64, window_ms: i64) -> f64 {
        const DAY_SECONDS: f64 = 86_400.0;
        match self.ask {
            Ask::Window { per_second: true, .. } => value * DAY_SECONDS,
            Ask::Window { per_second: false, .. } => value * DAY_SECONDS * 1e3 / window_ms.max(1) as f64,
            Ask::Course(_) => value,
        }
    }

    /// What several clusters come to.
    pub fn fold(&self, values: &[f64]) -> Option<f64> {
        match self.fold {
            Fold::Sum => (!values.is_empty()).then(|| values.iter().sum()),
            Fold::Median => median(values.iter().copied()),
        }
    }

    /// A value for people, with its unit.
    pub fn text(&self, value: f64) -> String {
        match self.unit {
            Unit::Count if self.per_day => crate::model::unit::three_digits(value.round()),
            unit => unit.text(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn measure(key: &str) -> Measure {
        all_measures().into_iter().find(|measure| measure.key == key).unwrap_or_else(|| panic!("no {key}"))
    }

    fn series(labels: &[(&str, &str)], from: i64, values: &[f64]) -> Series {
        let mut series = Series::new(Labels::from_pairs(labels.iter().copied()));
        for (n, value) in (from..).zip(values) {
            series.push(n * 60_000, *value);
        }
        series
    }

    #[test]
    fn measures_are_one_of_each_and_those_of_the_fleet_are_there() {
        let all = all_measures();
        let keys: std::collections::BTreeSet<&str> = all.iter().map(|measure| measure.key.as_str()).collect();
        assert_eq!(keys.len(), all.len());
        assert!(all.is_sorted_by_key(|measure| measure.layer) && all.len() > 30, "{}", all.len());
        assert_eq!(fleet_measures().len(), 7);
        assert!(fleet_measures().iter().all(|measure| measure.least_difference.is_some()));
        for gone in ["requests", "uptime", "leader_changes", "db_growth"] {
            assert!(!keys.contains(gone), "{gone}");
        }
    }

    #[test]
    fn a_course_becomes_the_median_of_the_worst_member_and_a_size_its_newest() {
        let a = series(&[("instance", "a")], 0, &[1.0, 9.0, 1.0, f64::NAN, 2.0]);
        let b = series(&[("instance", "b")], 0, &[3.0, 1.0, 3.0, 4.0, 1.0]);
        let both = [a, b];
        let fsync = measure("wal_fsync_p99").figure(&both).expect("has values");
        assert_eq!((fsync.value, fsync.highest), (3.0, 9.0), "of 3, 9, 3, 4, 2");
        let size = measure("db_size").figure(&both).expect("has values");
        assert_eq!((size.value, size.highest), (2.0, 9.0));
        assert_eq!(measure("db_size").figure(&[]), None);
        assert_eq!(measure("db_size").figure(&[series(&[], 0, &[f64::NAN])]), None);
    }

    #[test]
    fn of_several_sources_the_one_that_answers_now_counts_and_of_quantiles_the_wanted() {
        let of = |source: &str, quantile: &str, from: i64, values: &[f64]| {
            series(&[("source", source), ("quantile", quantile)], from, values)
        };
        let all = [
            of("grpc", "p99", 0, &[50.0; 9]),
            of("apply", "p50", 9, &[1.0, 1.0]),
            of("apply", "p99", 9, &[2.0, 2.0]),
        ];
        let found = measure("put_latency_p99").figure(&all).expect("has values");
        assert_eq!((found.value, found.source.as_deref()), (2.0, Some("apply")));
    }

    #[test]
    fn windows_come_to_a_day() {
        let two_days = 2 * 86_400_000;
        assert!((measure("leader_changes_per_day").per_day(6.0, two_days) - 3.0).abs() < 1e-9);
        assert!((measure("db_growth_per_day").per_day(1.0, two_days) - 86_400.0).abs() < 1e-9);
        assert_eq!(measure("leader_changes_per_day").text(2.97), "3");
        assert_eq!(measure("db_growth_per_day").text(-3.0 * MIB), "-3 MiB");
    }
}
