//! What disk checks said of each cluster's members.

use std::collections::BTreeMap;

use crate::model::{ClusterName, DiskRow, DiskStanding};
use crate::store::{Store, StoreError, disk_runs};

/// How far back pages look, ms.
const HISTORY_MS: i64 = 400 * 86_400_000;

/// Of each cluster the disks, by machine and directory.
pub(super) async fn standings(
    store: &Store,
    now_ms: i64,
) -> Result<BTreeMap<ClusterName, Vec<DiskStanding>>, StoreError> {
    let rows = disk_runs::range(store, now_ms - HISTORY_MS, now_ms + 60_000).await?;
    let mut places: BTreeMap<(ClusterName, String, String), Vec<DiskRow>> = BTreeMap::new();
    for row in rows {
        let Some(cluster) = row.cluster.clone() else { continue };
        places.entry((cluster, row.host.clone(), row.directory.clone())).or_default().push(row);
    }
    let mut all: BTreeMap<ClusterName, Vec<DiskStanding>> = BTreeMap::new();
    for ((cluster, host, _), rows) in places {
        let Some(newest) = rows.last() else { continue };
        // The object goes before the row of the same check does.
        let Some(newest) = disk_runs::get(store, &host, &newest.id).await? else { continue };
        all.entry(cluster).or_default().push(DiskStanding { newest, history: history(&rows) });
    }
    Ok(all)
}

/// A line per check: the slowest of its tests that append as etcd does.
fn history(rows: &[DiskRow]) -> Vec<(i64, Option<f64>, crate::model::DiskVerdict)> {
    let mut checks: BTreeMap<&str, (i64, Option<f64>, crate::model::DiskVerdict)> = BTreeMap::new();
    for row in rows {
        let check = checks.entry(row.id.as_str()).or_insert((row.ts_ms, None, row.verdict));
        if row.test != "random-write-test" {
            check.1 = check.1.into_iter().chain(row.sync_p99).reduce(f64::max);
        }
    }
    checks.into_values().collect()
}
