//! Disk checks of the example fleet.

use super::DATA_THROUGH_MS;
use crate::model::unit::human_seconds;
use crate::model::{
    Check, ClusterName, DISK_FORMAT, DiskDevice, DiskKind, DiskRun, DiskStanding, DiskVerdict, Level,
    ReadingRow,
};

const WEEK_MS: i64 = 7 * 86_400_000;

/// Of the `n`-th cluster: every third one is measured; the disk of one member got slow.
pub(super) fn disks(cluster: &ClusterName, rows: &[ReadingRow], n: usize) -> Vec<DiskStanding> {
    if n % 3 != 2 {
        return Vec::new();
    }
    rows.iter().enumerate().map(|(i, row)| of_member(cluster, row, i, n == 2 && i == 1)).collect()
}

fn of_member(cluster: &ClusterName, row: &ReadingRow, i: usize, is_slow: bool) -> DiskStanding {
    let verdict_of = |p99: f64| if p99 < 0.01 { DiskVerdict::ProductionReady } else { DiskVerdict::Warning };
    let history: Vec<_> = (0..12_i64)
        .rev()
        .map(|week| {
            let noise = ((week * 31 + i as i64 * 7) % 10) as f64 / 10_000.0;
            let p99 = if is_slow && week < 3 { 0.0138 } else { 0.0021 } + noise;
            (DATA_THROUGH_MS - week * WEEK_MS, Some(p99), verdict_of(p99))
        })
        .collect();
    let p99 = history.last().and_then(|(_, p99, _)| *p99);
    let verdict = p99.map_or(DiskVerdict::Unknown, verdict_of);
    let mut findings = vec![Check::new(
        "dedicated-disk",
        Level::Pass,
        "nothing else is mounted from nvme1n1".to_owned(),
        "a disk for etcd alone",
        "etcd's hardware recommendations",
        "",
    )];
    if is_slow {
        findings.push(Check::new(
            "fsync",
            verdict.into(),
            format!("99 % of fdatasyncs take {} or less (probe)", human_seconds(p99.unwrap_or(0.0))),
            "p99 below 10 ms: production ready; 10 to 20 ms: warning; above 20 ms: critical",
            "etcd's FAQ (99 % of fsyncs below 10 ms); twice that and more is critical",
            "Use a local SSD or NVMe disk, or a faster class of volume, and let nothing else write to it",
        ));
    }
    let newest = DiskRun {
        format: DISK_FORMAT,
        id: format!("20261122T04000{i}000-7QK3"),
        host: row.instance.as_str().split(':').next().unwrap_or_default().to_owned(),
        directory: "/var/lib/etcd".to_owned(),
        cluster: Some(cluster.clone()),
        instance: Some(row.instance.clone()),
        started_ms: DATA_THROUGH_MS - WEEK_MS / 5,
        finished_ms: DATA_THROUGH_MS - WEEK_MS / 5 + 25_000,
        tests: Vec::new(),
        device: DiskDevice {
            name: "nvme1n1".to_owned(),
            disks: vec!["nvme1n1".to_owned()],
            kind: DiskKind::Nvme,
            scheduler: Some("none".to_owned()),
            filesystem: "xfs".to_owned(),
            mount_point: "/var/lib/etcd".to_owned(),
            size_bytes: 100 << 30,
            free_bytes: 91 << 30,
            ..DiskDevice::default()
        },
        pattern: None,
        verdict,
        fsync_p99: p99,
        findings,
        notes: Vec::new(),
    };
    DiskStanding { newest, history }
}
