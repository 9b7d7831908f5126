//! The series of a healthy cluster, and how each goes.

use crate::model::{ClusterName, Instance, Labels, METRIC_NAME, Series, SeriesSet};

pub(super) const STEP_MS: i64 = 300_000;
const HOURS: i64 = 26;
const DAY_MS: f64 = 86_400_000.0;

/// How a series goes.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Gauge(f64),
    /// A counter, by what it grows in a day.
    PerDay(f64),
    /// A histogram, by what each observation takes, seconds.
    Takes(f64),
}
pub(super) use Shape::{Gauge, PerDay, Takes};

/// Of every member.
pub(super) const MEMBER: [(&str, Shape); 44] = [
    ("etcd_disk_wal_fsync_duration_seconds", Takes(0.002)),
    ("etcd_disk_backend_commit_duration_seconds", Takes(0.004)),
    ("etcd_network_peer_round_trip_time_seconds", Takes(0.0015)),
    ("grpc_server_handling_seconds", Takes(0.004)),
    ("etcd_server_leader_changes_seen_total", PerDay(1.0)),
    ("etcd_server_heartbeat_send_failures_total", PerDay(2.0)),
    ("etcd_server_slow_apply_total", PerDay(100.0)),
    ("etcd_server_proposals_applied_total", PerDay(864_000.0)),
    ("etcd_server_slow_read_indexes_total", PerDay(3.0)),
    ("etcd_server_proposals_failed_total", PerDay(1.0)),
    ("etcd_network_peer_sent_failures_total", PerDay(10.0)),
    ("etcd_network_snapshot_send_success", PerDay(1.0)),
    ("grpc_server_handled_total{grpc_code=OK}", PerDay(1e6)),
    ("grpc_server_handled_total{grpc_code=Unavailable}", PerDay(20.0)),
    ("grpc_server_handled_total{grpc_code=ResourceExhausted}", PerDay(0.0)),
    ("etcd_monitor_host_network_errors_total", PerDay(5.0)),
    ("etcd_monitor_host_cpu_seconds_total{mode=busy}", PerDay(34_560.0)),
    ("etcd_monitor_host_cpu_seconds_total{mode=iowait}", PerDay(1_728.0)),
    ("etcd_monitor_host_cpu_seconds_total{mode=steal}", PerDay(0.0)),
    ("etcd_monitor_host_cpus", Gauge(2.0)),
    ("etcd_monitor_member_up", Gauge(1.0)),
    ("etcd_monitor_peer_heard", Gauge(1.0)),
    ("etcd_monitor_is_learner", Gauge(0.0)),
    ("etcd_server_proposals_pending", Gauge(0.0)),
    ("etcd_debugging_mvcc_watcher_total", Gauge(500.0)),
    ("etcd_debugging_mvcc_slow_watcher_total", Gauge(0.0)),
    ("etcd_monitor_db_size_bytes", Gauge(500e6)),
    ("etcd_monitor_db_in_use_bytes", Gauge(400e6)),
    ("etcd_monitor_quota_bytes", Gauge(8_589_934_592.0)),
    ("process_max_fds", Gauge(65_536.0)),
    ("process_open_fds", Gauge(300.0)),
    ("process_resident_memory_bytes", Gauge(600e6)),
    ("etcd_monitor_host_memory_size_bytes", Gauge(17_179_869_184.0)),
    ("etcd_monitor_host_memory_available_bytes", Gauge(10_000_000_000.0)),
    ("etcd_monitor_host_disk_size_bytes", Gauge(100e9)),
    ("etcd_monitor_host_disk_avail_bytes", Gauge(80e9)),
    ("etcd_monitor_cert_expiry_seconds", Gauge(200.0 * 86_400.0)),
    ("etcd_monitor_capacity_left_seconds{resource=quota}", Gauge(f64::INFINITY)),
    ("etcd_monitor_capacity_left_seconds{resource=disk}", Gauge(f64::INFINITY)),
    ("etcd_monitor_clock_offset_seconds", Gauge(0.002)),
    ("etcd_monitor_clock_offset_error_seconds", Gauge(0.5)),
    ("up", Gauge(1.0)),
    ("etcd_monitor_probe_seconds{probe=linearizable-read}", Gauge(0.003)),
    ("etcd_debugging_mvcc_current_revision", PerDay(50_000.0)),
];

/// Of the cluster.
pub(super) const CLUSTER: [(&str, Shape); 3] = [
    ("etcd_monitor_has_quorum", Gauge(1.0)),
    ("etcd_monitor_hash_mismatch", Gauge(0.0)),
    ("etcd_monitor_member_lists", Gauge(1.0)),
];

pub(super) fn with(shape: Shape, value: f64) -> Shape {
    match shape {
        Gauge(_) => Gauge(value),
        PerDay(_) => PerDay(value),
        Takes(_) => Takes(value),
    }
}

pub(super) fn times(now_ms: i64) -> impl Iterator<Item = i64> {
    let end_ms = now_ms - now_ms.rem_euclid(STEP_MS);
    (0..=HOURS * 3_600_000 / STEP_MS).rev().map(move |n| end_ms - n * STEP_MS)
}

/// The labels of a key such as `metric{mode=busy}`.
pub(super) fn labels(cluster: &ClusterName, instance: Option<&Instance>, key: &str) -> Labels {
    let (metric, rest) = key.split_once('{').unwrap_or((key, ""));
    let own = rest.trim_end_matches('}').split_once('=');
    let fixed = [(METRIC_NAME, metric), ("cluster", cluster.as_str()), ("job", "etcd")];
    let instance = instance.map(|instance| ("instance", instance.as_str()));
    // What queries demand of some metrics, and what others have of them.
    let more: &[(&str, &str)] = match metric {
        "grpc_server_handling_seconds" => &[("grpc_service", "etcdserverpb.KV"), ("grpc_method", "Put")],
        "grpc_server_handled_total" => &[("grpc_type", "unary"), ("grpc_method", "Put")],
        "etcd_network_peer_round_trip_time_seconds" | "etcd_network_peer_sent_failures_total" => {
            &[("To", "b")]
        }
        "etcd_monitor_cert_expiry_seconds" => &[("certificate", "client")],
        "etcd_monitor_host_disk_size_bytes" | "etcd_monitor_host_disk_avail_bytes" => {
            &[("directory", "data")]
        }
        "etcd_monitor_peer_heard" => &[("peer", "10.0.0.2:2379")],
        _ => &[],
    };
    Labels::from_pairs(fixed.into_iter().chain(instance).chain(own).chain(more.iter().copied()))
}

pub(super) fn add(
    set: &mut SeriesSet,
    cluster: &ClusterName,
    instance: Option<&Instance>,
    key: &str,
    shape: Shape,
    now_ms: i64,
) {
    let labels = labels(cluster, instance, key);
    let days = |at: i64| (at - now_ms + HOURS * 3_600_000) as f64 / DAY_MS;
    let mut push = |labels: Labels, value: &dyn Fn(i64) -> f64| {
        let mut series = Series::new(labels);
        times(now_ms).for_each(|at| series.push(at, value(at)));
        set.insert(series);
    };
    match shape {
        Gauge(value) => push(labels, &|_| value),
        PerDay(per_day) => push(labels, &|at| 1_000.0 + per_day * days(at)),
        Takes(seconds) => {
            let metric = format!("{}_bucket", labels.metric_name());
            for n in 0..=16 {
                let bound = if n == 16 { f64::INFINITY } else { 0.0005 * f64::from(1_u32 << n) };
                let le = if n == 16 { "+Inf".to_owned() } else { bound.to_string() };
                let per_day = if seconds <= bound { 864_000.0 } else { 0.0 };
                let bucket = labels.with(METRIC_NAME, &metric).with("le", &le);
                push(bucket, &|at| per_day * days(at));
            }
        }
    }
}
