//! Benchmarks of the example fleet.

use super::DATA_THROUGH_MS;
use crate::model::{BenchOutcome, BenchRow, BenchStanding, ClusterName};

const DAY_MS: i64 = 86_400_000;

/// Of the `n`-th cluster: every other one is measured; one got slower, one is measured for the first time.
pub(super) fn benches(cluster: &ClusterName, n: usize, size: usize) -> Vec<BenchStanding> {
    if size == 0 || n % 2 == 1 {
        return Vec::new();
    }
    let runs = if n == 4 { 1 } else { 30 };
    [("put", "put --rate=20 --clients=4 --val-size=256", 20.0, 0.006), ("range", "range --rate=40 --clients=4", 40.0, 0.002)]
        .into_iter()
        .map(|(operation, command, rate, p99)| {
            let is_slower = n == 2 && operation == "put";
            let at = |run: i64| {
                let noise = 1.0 + ((run * 37 + n as i64) % 11) as f64 / 200.0;
                let worse = if is_slower && run < 3 { 1.4 } else { 1.0 };
                (DATA_THROUGH_MS - run * DAY_MS, rate, Some(p99 * noise * worse))
            };
            let history: Vec<_> = (0..runs).rev().map(at).collect();
            let p99 = history.last().and_then(|(_, _, p99)| *p99);
            let (verdict, why) = match (is_slower, runs) {
                (true, _) => {
                    let why = "put p99: 6.16 ms (mean of 27) to 8.74 ms, +41.9 %; threshold 5.9 %, factor 7.1: regression";
                    ("regression", why)
                }
                (_, 1) => ("unknown", ""),
                _ => ("same", "rate: 20.0/s (mean of 29) to 20.0/s, +0.1 %; threshold 1.6 %, factor 0.1: same"),
            };
            let newest = BenchRow {
                cluster: cluster.clone(),
                id: "20261123T030012345-7QK3".to_owned(),
                part: operation.to_owned(),
                ts_ms: DATA_THROUGH_MS - DAY_MS / 2,
                profile: Some("gentle".to_owned()),
                operation: operation.to_owned(),
                signature: operation.to_owned(),
                command: format!("etcd-monitor bench {command} --seed=7"),
                outcome: BenchOutcome::Complete,
                version: Some("3.5.16".to_owned()),
                is_paced: true,
                ok: 600,
                failed: 0,
                seconds: 30.0,
                rate,
                average: p99.unwrap_or(0.0) / 2.0,
                p50: p99.map(|p99| p99 / 2.2),
                p90: p99.map(|p99| p99 / 1.4),
                p99,
                p999: None,
                slowest: p99.unwrap_or(0.0) * 1.5,
                uncorrected_p99: p99,
                fsync_p99: p99.map(|p99| p99 / 1.6),
                commit_p99: Some(0.011),
                leader_changes: 0,
            };
            BenchStanding { newest, verdict, why: why.to_owned(), history }
        })
        .collect()
}
