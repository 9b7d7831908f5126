//! What benchmarks said of each cluster, judged.

use std::collections::BTreeMap;

use crate::bench::regression::{self, Judged, sentence};
use crate::model::{BenchRow, BenchStanding, ClusterName};
use crate::store::{Store, StoreError, bench_runs};

/// How far back pages look, ms.
const HISTORY_MS: i64 = 60 * 86_400_000;

/// Of each cluster the kinds of runs, the last made first.
pub(super) async fn standings(
    store: &Store,
    now_ms: i64,
) -> Result<BTreeMap<ClusterName, Vec<BenchStanding>>, StoreError> {
    let rows = bench_runs::range(store, now_ms - HISTORY_MS, now_ms + 60_000).await?;
    let mut clusters: BTreeMap<ClusterName, Vec<BenchRow>> = BTreeMap::new();
    for row in rows {
        clusters.entry(row.cluster.clone()).or_default().push(row);
    }
    let mut all = BTreeMap::new();
    for (cluster, rows) in clusters {
        let baselines = bench_runs::baselines(store, cluster.as_str()).await?;
        all.insert(cluster, of_cluster(&regression::history(&rows, &baselines.since)));
    }
    Ok(all)
}

fn of_cluster(runs: &[Judged]) -> Vec<BenchStanding> {
    let mut kinds: BTreeMap<(&str, &str), Vec<(&Judged, &BenchRow)>> = BTreeMap::new();
    for run in runs {
        for row in &run.rows {
            kinds.entry((row.signature.as_str(), row.part.as_str())).or_default().push((run, row));
        }
    }
    let mut standings: Vec<BenchStanding> = kinds
        .into_values()
        .filter_map(|of_kind| {
            let (run, newest) = of_kind.last().copied()?;
            let own = run.comparisons.iter().filter(|comparison| comparison.part == newest.part);
            let worst = own.max_by_key(|comparison| comparison.verdict);
            Some(BenchStanding {
                newest: newest.clone(),
                verdict: worst.map_or("unknown", |worst| worst.verdict.as_str()),
                why: worst.map(sentence).unwrap_or_default(),
                history: of_kind.iter().map(|(_, row)| (row.ts_ms, row.rate, row.p99)).collect(),
            })
        })
        .collect();
    standings.sort_by_key(|standing| std::cmp::Reverse(standing.newest.ts_ms));
    standings
}
