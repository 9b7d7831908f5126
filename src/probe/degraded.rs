//! The view of a member that denies Status: raft term from the header of MemberList, the rest from
//! `/metrics`, health from `/health`.
//!
//! Non-root users have it so from etcd 3.5.30 on. What cannot be known this way stays empty.

use std::sync::PoisonError;
use std::time::Instant;

use super::health::health;
use super::member::{Limits, Probed, scrape};
use super::targets::Target;
use crate::etcd::Member;
use crate::etcd::wire::Header;
use crate::model::{ClusterId, MemberId, MemberReading, MemberStatus, Samples, StatusSource};

/// Fills the reading of a member whose Status was denied.
pub(super) async fn fill(
    probed: &mut Probed,
    target: &Target,
    member: &Member,
    now_ms: i64,
    limits: &Limits,
) {
    let (list, health) = tokio::join!(member.member_list(false), health(member));
    let reading = &mut probed.reading;
    let mut reasons = Vec::new();
    match health {
        Ok(health) => {
            reasons.extend(health.reason.clone());
            reading.health.insert("health".to_owned(), health);
        }
        Err(e) => reading.errors.push(e),
    }
    let header = match list {
        Ok(answer) => answer.header,
        Err(e) => {
            reading.errors.push(e.to_reading_error("member-list", "Cluster.MemberList: any logged-in user"));
            None
        }
    };
    let remembered = target.memory.lock().unwrap_or_else(PoisonError::into_inner).from_metrics.clone();
    let moved = match (&remembered, &header) {
        (Some(old), Some(header)) => old.raft_term != header.raft_term,
        (None, _) => true,
        (Some(_), None) => false,
    };
    // A new term means an election: who leads now is worth a scrape between the regular ones.
    if reading.scrape.is_none()
        && moved
        && let Some((fresh, error)) = scrape(target, member, (now_ms, Instant::now()), limits).await
    {
        reading.scrape = Some(fresh);
        reading.errors.extend(error);
    }
    let scraped = reading.scrape.as_ref().filter(|s| s.ok).map(|s| of_samples(&s.samples));
    let built = scraped.map(|(status, id)| (Some(status), id)).unwrap_or((remembered, None));
    let (Some(mut status), id) = built else { return };
    take_header(probed, &mut status, id, header);
    target.memory.lock().unwrap_or_else(PoisonError::into_inner).from_metrics = Some(status.clone());
    status.errors = reasons;
    probed.reading.is_learner =
        probed.reading.is_learner.or(Some(false)).filter(|_| probed.reading.member_id.is_some());
    probed.reading.status = Some(status);
}

fn take_header(probed: &mut Probed, status: &mut MemberStatus, id: Option<MemberId>, header: Option<Header>) {
    let reading: &mut MemberReading = &mut probed.reading;
    reading.member_id = id.or(reading.member_id);
    if let Some(header) = header {
        probed.cluster_id = Some(ClusterId(header.cluster_id));
        reading.member_id = Some(MemberId(header.member_id));
        if status.raft_term != 0 && status.raft_term != header.raft_term && reading.scrape.is_none() {
            // The remembered leader is of an older term.
            status.leader = None;
        }
        status.raft_term = header.raft_term;
        status.revision = Some(header.revision);
    }
    if status.leader == Some(SELF) {
        status.leader = reading.member_id;
    }
}

/// Stands for "the member itself" until its id is known.
const SELF: MemberId = MemberId(u64::MAX);

/// Status as `/metrics` has it, and the member's id where the version exports it. The raft term is in no
/// metric and stays 0.
fn of_samples(samples: &Samples) -> (MemberStatus, Option<MemberId>) {
    let count = |name| value(samples, name).filter(|v| *v > 0.0).map_or(0, |v| v as u64);
    let status = MemberStatus {
        source: StatusSource::Metrics,
        version: label(samples, "etcd_server_version", "server_version").unwrap_or_default(),
        db_size_bytes: count("etcd_mvcc_db_total_size_in_bytes"),
        db_size_in_use_bytes: count("etcd_mvcc_db_total_size_in_use_in_bytes"),
        quota_bytes: Some(count("etcd_server_quota_backend_bytes")).filter(|quota| *quota > 0),
        leader: (value(samples, "etcd_server_is_leader") == Some(1.0)).then_some(SELF),
        raft_term: 0,
        raft_index: count("etcd_server_proposals_committed_total"),
        raft_applied_index: count("etcd_server_proposals_applied_total"),
        revision: None,
        errors: Vec::new(),
    };
    let id = label(samples, "etcd_server_id", "server_id").and_then(|id| id.parse().ok());
    (status, id)
}

/// The value of the first series of that name.
pub(super) fn value(samples: &Samples, name: &str) -> Option<f64> {
    samples.first(name).map(|(_, value)| value)
}

fn label(samples: &Samples, name: &str, label: &str) -> Option<String> {
    let (labels, _) = samples.first(name)?;
    labels.get(label).map(str::to_owned)
}

/// `/health` of the client port: healthy or not, and the reason where the version gives one (3.5+).
/// Tells the followers of the degraded view who leads: only the leader's own metrics say so.
pub(super) fn share_leader(members: &mut [Probed]) {
    let statuses = || members.iter().filter_map(|p| Some((p.reading.member_id?, p.reading.status.as_ref()?)));
    let known = statuses().filter_map(|(_, s)| Some((s.raft_term, s.leader?))).max_by_key(|(term, _)| *term);
    let Some((term, leader)) = known else { return };
    for status in members.iter_mut().filter_map(|p| p.reading.status.as_mut()) {
        if status.source == StatusSource::Metrics && status.leader.is_none() && status.raft_term == term {
            status.leader = Some(leader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::exposition::{Keep, SeriesCache};

    #[test]
    fn every_version_gives_a_status_from_metrics() {
        for (version, path) in [("3.4.23", "3.4.23"), ("3.5.30", "3.5.30"), ("3.6.14", "3.6.14")] {
            let path = format!("{}/tests/data/etcd/{path}/metrics.txt", env!("CARGO_MANIFEST_DIR"));
            let body = std::fs::read(path).expect("fixture");
            let taken = SeriesCache::default().read(&body, &Keep::default()).expect("reads");
            let (status, id) = of_samples(&taken.samples);
            assert_eq!(status.version, version);
            assert!(id.is_some(), "{version}");
            assert!(status.db_size_bytes > 0 && status.db_size_in_use_bytes > 0, "{version}");
            assert!(status.quota_bytes.is_some_and(|quota| quota > 1 << 20), "{version}");
            assert!(status.raft_applied_index > 0, "{version}");
        }
    }
}
