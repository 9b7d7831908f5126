//! A member's status from its `/metrics`, where the Status RPC is denied. Pure.

use crate::model::{MemberId, MemberStatus, ScrapedSample, StatusSource};

fn find<'a>(samples: &'a [ScrapedSample], metric: &str) -> Option<&'a ScrapedSample> {
    samples.iter().find(|sample| sample.labels.metric_name() == metric)
}

fn value(samples: &[ScrapedSample], metric: &str) -> Option<f64> {
    find(samples, metric).map(|sample| sample.value).filter(|value| value.is_finite())
}

fn bytes(samples: &[ScrapedSample], metric: &str) -> Option<u64> {
    value(samples, metric).filter(|value| *value >= 0.0).map(|value| value as u64)
}

/// The backend quota; etcd writes 0 or -1 where the default or none applies, which tells nothing.
pub(super) fn quota(samples: &[ScrapedSample]) -> Option<u64> {
    bytes(samples, "etcd_server_quota_backend_bytes").filter(|quota| *quota > 0)
}

/// The id that the member has in `etcd_server_id{server_id="…"}`, in hexadecimal.
pub(super) fn member_id(samples: &[ScrapedSample]) -> Option<MemberId> {
    find(samples, "etcd_server_id")?.labels.get("server_id")?.parse().ok()
}

/// What `/metrics` tells of Status; `None` when there was no scrape. `term` comes from a response header.
/// The leader is known only to itself here: the prober fills in the others'.
pub(super) fn status(samples: &[ScrapedSample], id: Option<MemberId>, term: u64) -> Option<MemberStatus> {
    let leads = value(samples, "etcd_server_is_leader")? == 1.0;
    let version = find(samples, "etcd_server_version").and_then(|s| s.labels.get("server_version"));
    let count = |metric| value(samples, metric).unwrap_or(0.0) as u64;
    Some(MemberStatus {
        source: StatusSource::Metrics,
        version: version.unwrap_or_default().to_owned(),
        db_size_bytes: bytes(samples, "etcd_mvcc_db_total_size_in_bytes").unwrap_or(0),
        db_size_in_use_bytes: bytes(samples, "etcd_mvcc_db_total_size_in_use_in_bytes").unwrap_or(0),
        quota_bytes: quota(samples),
        leader: id.filter(|_| leads),
        raft_term: term,
        raft_index: count("etcd_server_proposals_committed_total"),
        raft_applied_index: count("etcd_server_proposals_applied_total"),
        revision: value(samples, "etcd_debugging_mvcc_current_revision").map(|revision| revision as i64),
        errors: Vec::new(),
    })
}
