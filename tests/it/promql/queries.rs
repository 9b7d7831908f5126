//! Hand-written queries: the etcd mixin's alerts, the product's thresholds, and corners of the language.

const SEL: &str = r#"job=~".*etcd.*""#;

/// The expressions of the etcd mixin (v3.6), whose rules load unchanged.
const MIXIN: [&str; 19] = [
    "max without(endpoint)(sum without(instance)(up{SEL}==bool 0) or count without(To)(sum without(instance)(rate(etcd_network_peer_sent_failures_total{SEL}[120s]))>0.01))>0",
    "sum(up{SEL}==bool 1) without(instance) < ((count(up{SEL}) without(instance)+1)/2)",
    "etcd_server_has_leader{SEL}==0",
    "increase((max without(instance)(etcd_server_leader_changes_seen_total{SEL}) or 0*absent(etcd_server_leader_changes_seen_total{SEL}))[15m:1m])>=4",
    r#"100*sum(rate(grpc_server_handled_total{SEL,grpc_code=~"Unknown|FailedPrecondition|ResourceExhausted|Internal|Unavailable|DataLoss|DeadlineExceeded"}[5m])) without(grpc_type,grpc_code) / sum(rate(grpc_server_handled_total{SEL}[5m])) without(grpc_type,grpc_code) > 1"#,
    r#"100*sum(rate(grpc_server_handled_total{SEL,grpc_code=~"Unknown|FailedPrecondition|ResourceExhausted|Internal|Unavailable|DataLoss|DeadlineExceeded"}[5m])) without(grpc_type,grpc_code) / sum(rate(grpc_server_handled_total{SEL}[5m])) without(grpc_type,grpc_code) > 5"#,
    r#"histogram_quantile(0.99,sum(rate(grpc_server_handling_seconds_bucket{SEL,grpc_method!="Defragment",grpc_type="unary"}[5m])) without(grpc_type))>0.15"#,
    "histogram_quantile(0.99,rate(etcd_network_peer_round_trip_time_seconds_bucket{SEL}[5m]))>0.15",
    "rate(etcd_server_proposals_failed_total{SEL}[15m])>5",
    "histogram_quantile(0.99,rate(etcd_disk_wal_fsync_duration_seconds_bucket{SEL}[5m]))>0.5",
    "histogram_quantile(0.99,rate(etcd_disk_wal_fsync_duration_seconds_bucket{SEL}[5m]))>1",
    "histogram_quantile(0.99,rate(etcd_disk_backend_commit_duration_seconds_bucket{SEL}[5m]))>0.25",
    "(last_over_time(etcd_mvcc_db_total_size_in_bytes{SEL}[5m])/last_over_time(etcd_server_quota_backend_bytes{SEL}[5m]))*100>95",
    "predict_linear(etcd_mvcc_db_total_size_in_bytes{SEL}[4h],4*60*60)>etcd_server_quota_backend_bytes{SEL}",
    "(last_over_time(etcd_mvcc_db_total_size_in_use_in_bytes{SEL}[5m])/last_over_time(etcd_mvcc_db_total_size_in_bytes{SEL}[5m]))<0.5 and etcd_mvcc_db_total_size_in_use_in_bytes{SEL}>104857600",
    // Earlier versions of the mixin, and OpenShift's.
    "increase(((etcd_mvcc_db_total_size_in_bytes{SEL}/etcd_server_quota_backend_bytes{SEL})*100)[240m:1m])>50",
    r#"100*sum(rate(grpc_server_handled_total{SEL,grpc_code!="OK"}[5m])) without (grpc_type,grpc_code) / sum(rate(grpc_server_handled_total{SEL}[5m])) without (grpc_type, grpc_code)>1"#,
    "avg(changes(etcd_server_is_leader[10m])) > 5",
    r#"rate(etcd_server_leader_changes_seen_total{SEL}[15m])>3"#,
];

/// The thresholds the product ships.
const THRESHOLDS: [&str; 12] = [
    "max_over_time(etcd_server_has_leader[1m]) == 0",
    "histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m]))) > 0.1",
    "histogram_quantile(0.99, rate(etcd_disk_backend_commit_duration_seconds_bucket[5m])) > 0.250",
    "etcd_mvcc_db_total_size_in_bytes / etcd_server_quota_backend_bytes > 0.90",
    "rate(etcd_server_proposals_failed_total[5m]) / (rate(etcd_server_proposals_failed_total[5m]) + rate(etcd_server_proposals_committed_total[5m])) > 0.05",
    "increase(etcd_server_leader_changes_seen_total[1h]) > 3",
    "histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])) > 0.01",
    "histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])) > 1.5 * histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m] offset 30m))",
    "deriv(etcd_mvcc_db_total_size_in_bytes[1h]) > 0",
    "process_open_fds > 0.8 * 1000",
    "absent(up{job=\"nowhere\", instance=\"a\"})",
    "count(up == 0) > count(up) / 2 or vector(0)",
];

/// Corners of the language, one query a line, many of them wrong.
const CORNERS: &str = include_str!("corners.promql");

/// The mixin's, in its order; those of earlier versions last.
pub fn mixin() -> impl Iterator<Item = String> {
    MIXIN.iter().map(|query| query.replace("SEL", SEL))
}

/// All of them, each once.
pub fn all() -> impl Iterator<Item = String> {
    let mixin = mixin();
    let thresholds = THRESHOLDS.iter().map(|query| (*query).to_owned());
    mixin.chain(thresholds).chain(CORNERS.trim().lines().map(str::to_owned))
}
