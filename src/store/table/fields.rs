//! The columns of each table, in file order.

use arrow::datatypes::{DataType, Field, TimeUnit};

pub(super) fn text(name: &str) -> Field {
    Field::new(name, DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true)
}

pub(super) fn plain(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

pub(super) fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

pub(super) fn float(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

pub(super) fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

pub(super) fn instant_field(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), nullable)
}

pub(super) fn required(field: Field) -> Field {
    field.with_nullable(false)
}

pub(super) fn series_fields() -> Vec<Field> {
    let mut fields: Vec<Field> =
        ["cluster", "metric", "instance", "labels"].map(|name| required(text(name))).into();
    fields.push(instant_field("ts", false));
    fields
}

pub(super) fn backup_fields() -> Vec<Field> {
    vec![
        required(text("cluster")),
        required(text("at")),
        required(plain("id")),
        required(instant_field("ts", false)),
        required(flag("external")),
        required(flag("gone")),
        required(flag("condemned")),
        required(instant_field("finished", false)),
        required(int("bytes")),
        int("stored_bytes"),
        int("revision"),
        required(flag("encrypted")),
        required(text("state")),
        text("level"),
        required(text("why")),
        int("recovery_ms"),
    ]
}

pub(super) fn bench_fields() -> Vec<Field> {
    vec![
        required(text("cluster")),
        required(plain("id")),
        required(text("part")),
        required(instant_field("ts", false)),
        text("profile"),
        required(text("operation")),
        required(text("signature")),
        required(plain("command")),
        required(text("outcome")),
        text("version"),
        required(flag("paced")),
        required(int("ok")),
        required(int("failed")),
        required(float("seconds")),
        required(float("rate")),
        required(float("average")),
        float("p50"),
        float("p90"),
        float("p99"),
        float("p999"),
        required(float("slowest")),
        float("uncorrected_p99"),
        float("fsync_p99"),
        float("commit_p99"),
        required(int("leader_changes")),
    ]
}

pub(super) fn disk_fields() -> Vec<Field> {
    vec![
        required(text("host")),
        required(plain("id")),
        required(text("test")),
        required(instant_field("ts", false)),
        text("cluster"),
        text("instance"),
        required(plain("directory")),
        required(text("device")),
        required(text("kind")),
        required(text("filesystem")),
        required(text("verdict")),
        float("sync_p50"),
        float("sync_p95"),
        float("sync_p99"),
        float("sync_p999"),
        float("read_iops"),
        float("read_bytes_per_second"),
        float("read_p99"),
        float("write_iops"),
        float("write_bytes_per_second"),
        float("write_p99"),
    ]
}

pub(super) fn advice_fields() -> Vec<Field> {
    vec![
        required(text("cluster")),
        required(text("rule")),
        required(instant_field("ts", false)),
        required(text("area")),
        required(text("state")),
        required(instant_field("since", false)),
        text("by"),
        plain("note"),
        text("caused_by"),
        text("subject"),
        plain("evidence"),
        float("value"),
        text("help"),
        int("score"),
    ]
}

pub(super) fn reading_fields() -> Vec<Field> {
    vec![
        required(text("cluster")),
        required(text("instance")),
        required(instant_field("ts", false)),
        text("cluster_id"),
        text("member_id"),
        text("name"),
        required(int("duration_ms")),
        required(flag("reachable")),
        required(text("errors")),
        text("version"),
        required(text("role")),
        flag("is_learner"),
        int("raft_term"),
        text("leader"),
        int("raft_index"),
        int("raft_applied_index"),
        int("db_size_bytes"),
        int("db_size_in_use_bytes"),
        int("quota_bytes"),
        required(text("alarms")),
        text("deaf_to"),
        text("unhealthy"),
        flag("defragmenting"),
    ]
}
