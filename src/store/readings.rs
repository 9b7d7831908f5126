//! The readings table: one row per member and health collection.

use arrow::array::ArrayRef;

use super::columns::{Cells, flag, instant, int, json, text, unsigned};
use super::key::Key;
use super::scan::{self, TableRow};
use super::table::Table;
use super::{Store, StoreError, Writer};
use crate::model::{ClusterName, ReadingRow, Role};

impl TableRow for ReadingRow {
    const TABLE: Table = Table::Readings;

    fn time_ms(&self) -> i64 {
        self.ts_ms
    }

    fn order(&self) -> (String, String, i64, i64) {
        (self.cluster.to_string(), self.instance.to_string(), 0, self.ts_ms)
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        let shown = |value: &dyn Fn(&Self) -> Option<String>| -> ArrayRef {
            let values: Vec<Option<String>> = rows.iter().map(|row| value(row)).collect();
            text(values.iter().map(Option::as_deref))
        };
        vec![
            text(rows.iter().map(|r| Some(r.cluster.as_str()))),
            text(rows.iter().map(|r| Some(r.instance.as_str()))),
            instant(rows.iter().map(|r| r.ts_ms)),
            shown(&|r| r.cluster_id.map(|id| id.to_string())),
            shown(&|r| r.member_id.map(|id| id.to_string())),
            text(rows.iter().map(|r| r.name.as_deref())),
            int(rows.iter().map(|r| Some(i64::try_from(r.duration_ms).unwrap_or(i64::MAX)))),
            flag(rows.iter().map(|r| Some(r.reachable))),
            shown(&|r| Some(json(&r.errors))),
            text(rows.iter().map(|r| r.version.as_deref())),
            text(rows.iter().map(|r| Some(r.role.as_str()))),
            flag(rows.iter().map(|r| r.is_learner)),
            unsigned(rows.iter().map(|r| r.raft_term)),
            shown(&|r| r.leader.map(|id| id.to_string())),
            unsigned(rows.iter().map(|r| r.raft_index)),
            unsigned(rows.iter().map(|r| r.raft_applied_index)),
            unsigned(rows.iter().map(|r| r.db_size_bytes)),
            unsigned(rows.iter().map(|r| r.db_size_in_use_bytes)),
            unsigned(rows.iter().map(|r| r.quota_bytes)),
            shown(&|r| Some(json(&r.alarms))),
            shown(&|r| Some(json(&r.deaf_to)).filter(|_| !r.deaf_to.is_empty())),
            shown(&|r| Some(json(&r.unhealthy)).filter(|_| !r.unhealthy.is_empty())),
            flag(rows.iter().map(|r| r.defragmenting.then_some(true))),
        ]
    }

    fn of_cells(cells: Cells<'_>) -> Option<Self> {
        Some(Self {
            cluster: cells.parsed("cluster")?,
            cluster_id: cells.parsed("cluster_id"),
            instance: cells.parsed("instance")?,
            member_id: cells.parsed("member_id"),
            name: cells.text("name").map(str::to_owned),
            ts_ms: cells.instant("ts")?,
            duration_ms: cells.unsigned("duration_ms")?,
            reachable: cells.flag("reachable")?,
            errors: cells.json("errors")?,
            version: cells.text("version").map(str::to_owned),
            role: match cells.text("role")? {
                "leader" => Role::Leader,
                "follower" => Role::Follower,
                "learner" => Role::Learner,
                _ => Role::Unknown,
            },
            is_learner: cells.flag("is_learner"),
            raft_term: cells.unsigned("raft_term"),
            leader: cells.parsed("leader"),
            raft_index: cells.unsigned("raft_index"),
            raft_applied_index: cells.unsigned("raft_applied_index"),
            db_size_bytes: cells.unsigned("db_size_bytes"),
            db_size_in_use_bytes: cells.unsigned("db_size_in_use_bytes"),
            quota_bytes: cells.unsigned("quota_bytes"),
            alarms: cells.json("alarms")?,
            deaf_to: cells.json("deaf_to").unwrap_or_default(),
            unhealthy: cells.json("unhealthy").unwrap_or_default(),
            defragmenting: cells.flag("defragmenting").unwrap_or(false),
        })
    }
}

/// Writes the rows of one or more readings.
///
/// # Errors
/// When the store cannot be written.
pub async fn write(
    store: &Store,
    writer: &Writer,
    flush_ms: i64,
    rows: &[ReadingRow],
) -> Result<Vec<Key>, StoreError> {
    scan::write(store, writer, flush_ms, rows).await
}

/// The rows with `start_ms <= ts <= end_ms`, of one cluster or all, sorted by cluster, time, instance.
///
/// # Errors
/// When a file cannot be read.
pub async fn range(
    store: &Store,
    cluster: Option<&ClusterName>,
    start_ms: i64,
    end_ms: i64,
) -> Result<Vec<ReadingRow>, StoreError> {
    let mut rows: Vec<ReadingRow> = scan::read(store, start_ms, end_ms).await?;
    rows.retain(|row| cluster.is_none_or(|cluster| row.cluster == *cluster));
    let order = |row: &ReadingRow| (row.cluster.clone(), row.ts_ms, row.instance.clone());
    rows.sort_by_cached_key(order);
    rows.dedup_by_key(|row| order(row));
    Ok(rows)
}

/// The newest reading of every cluster that has one with `start_ms <= ts <= end_ms`: all rows of that
/// reading, sorted by cluster and instance.
///
/// # Errors
/// When a file cannot be read.
pub async fn latest(store: &Store, start_ms: i64, end_ms: i64) -> Result<Vec<ReadingRow>, StoreError> {
    let rows = range(store, None, start_ms, end_ms).await?;
    let newest = rows.chunk_by(|a, b| a.cluster == b.cluster).flat_map(|of_cluster| {
        let newest_ms = of_cluster.last().map(|row| row.ts_ms);
        of_cluster.iter().filter(move |row| Some(row.ts_ms) == newest_ms).cloned()
    });
    Ok(newest.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterId, ErrorKind, MemberId, ReadingError};

    fn row(cluster: &str, instance: &str, ts_ms: i64) -> ReadingRow {
        ReadingRow {
            cluster: cluster.parse().expect("name"),
            cluster_id: Some(ClusterId(u64::MAX)),
            instance: instance.parse().expect("instance"),
            member_id: Some(MemberId(0x8211_f1d0_f64f_3269)),
            name: None,
            ts_ms,
            duration_ms: 12,
            reachable: false,
            errors: vec![ReadingError {
                kind: ErrorKind::Denied,
                during: "status".to_owned(),
                message: "etcdserver: permission denied".to_owned(),
                missing_right: Some("root".to_owned()),
            }],
            version: Some("3.5.30".to_owned()),
            role: Role::Learner,
            is_learner: Some(true),
            raft_term: Some(3),
            leader: None,
            raft_index: Some(1 << 40),
            raft_applied_index: None,
            db_size_bytes: Some(0),
            db_size_in_use_bytes: None,
            quota_bytes: Some(2 << 30),
            alarms: vec!["NOSPACE".to_owned()],
            deaf_to: vec!["h:2".parse().expect("instance")],
            unhealthy: vec!["/readyz: not ready".to_owned()],
            defragmenting: true,
        }
    }

    #[tokio::test]
    async fn rows_come_back_whole_and_the_newest_per_cluster() {
        let store = Store::in_memory();
        let writer = Writer::new(1, 1);
        let rows = [row("a", "h:1", 1000), row("a", "h:2", 1000), row("b", "h:1", 500)];
        write(&store, &writer, 2000, &rows).await.expect("write");
        let newer = [row("a", "h:1", 5000), row("a", "h:2", 5000)];
        write(&store, &writer, 6000, &newer).await.expect("write");
        assert_eq!(range(&store, None, 0, 1000).await.expect("read"), rows);
        let latest = latest(&store, 0, 9000).await.expect("read");
        assert_eq!(latest, [newer[0].clone(), newer[1].clone(), rows[2].clone()]);
    }
}
