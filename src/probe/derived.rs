//! The series that the monitor adds to what etcd exports, so that rules can speak of structure and work
//! without `/metrics`.

use crate::model::{
    ErrorKind, Instance, Labels, METRIC_NAME, MemberReading, Reading, ReadingError, StatusSource, Structure,
};

/// A derived series' name and what it says.
pub struct Described {
    pub name: &'static str,
    pub help: &'static str,
}

const fn described(name: &'static str, help: &'static str) -> Described {
    Described { name, help }
}

/// All names this module emits.
pub const SERIES: [Described; 33] = [
    described("up", "1 if the scrape of /metrics gave samples, else 0."),
    described("scrape_duration_seconds", "How long the scrape took."),
    described("scrape_samples_scraped", "Samples in the scrape."),
    described("scrape_samples_post_metric_relabeling", "Samples kept after drop rules and the cap."),
    described("scrape_series_added", "Kept series that the scrape before did not have."),
    described(
        "etcd_monitor_scrapes_due_total",
        "Scrapes that the plan had for the member while it answered, those that the monitor missed among them.",
    ),
    described("etcd_monitor_scrapes_good_total", "Those of them that gave samples."),
    described("etcd_monitor_member_up", "1 if the member answered anything, else 0."),
    described("etcd_monitor_raft_term", "The member's raft term."),
    described("etcd_monitor_raft_index", "The last raft entry that the member knows to be committed."),
    described(
        "etcd_monitor_raft_applied_index",
        "The last raft entry that the member has applied, of the same answer.",
    ),
    described("etcd_monitor_is_learner", "1 if the member is a learner, 0 if it votes."),
    described("etcd_monitor_leader", "1 if the member is the leader at the highest known term, else 0."),
    described(
        "etcd_monitor_has_quorum",
        "1 if a majority of voters answered or a linearizable read succeeded.",
    ),
    described(
        "etcd_monitor_quorum_margin",
        "Voters that may still stop before the quorum is lost; below 0 it is lost.",
    ),
    described("etcd_monitor_leaders", "Members that take themselves for the leader."),
    described(
        "etcd_monitor_leader_views",
        "Different leaders and terms that members go by; 1 in a sound cluster.",
    ),
    described(
        "etcd_monitor_peer_heard",
        "1 if messages of the peer arrive at the member, 0 if not, by its counters.",
    ),
    described(
        "etcd_monitor_sides",
        "Groups of answering members that hear each other; 1 in a whole cluster.",
    ),
    described(
        "etcd_monitor_cluster_info",
        "Always 1: joins the configured cluster with the id that etcd gave it.",
    ),
    described("etcd_monitor_foreign_endpoints", "Configured endpoints that belong to another cluster."),
    described("etcd_monitor_members", "Members by state: reachable, unreachable, learner."),
    described("etcd_monitor_alarm", "1 while the alarm is active; absent otherwise."),
    described(
        "etcd_monitor_probe_seconds",
        "How long a probe took: linearizable-read, serializable-read, member.",
    ),
    described("etcd_monitor_probe_success", "1 if the read probe succeeded, else 0."),
    described(
        "etcd_monitor_member_info",
        "Always 1: joins the instance with the member's name, id and version.",
    ),
    described(
        "etcd_monitor_endpoint_healthy",
        "1 if the member's health endpoint says that it is well, else 0.",
    ),
    described(
        "etcd_monitor_clock_offset_seconds",
        "How far the member's clock is ahead of the monitor's, by the Date of its answers.",
    ),
    described(
        "etcd_monitor_rights_missing",
        "1 if the member refused the monitor a call for want of rights, else 0.",
    ),
    described("etcd_monitor_clock_offset_error_seconds", "How far that may be off."),
    described("etcd_monitor_db_size_bytes", "Size of the database file."),
    described("etcd_monitor_db_in_use_bytes", "Bytes of the database file in use."),
    described("etcd_monitor_quota_bytes", "The backend quota."),
];

/// A sample of a member (with its instance) or of the cluster as a whole.
pub type Derived = (Option<Instance>, (Labels, f64));

/// The derived samples of a reading. Those of a scrape (`up`, `scrape_*`) are there if one was due.
pub fn derived(reading: &Reading) -> Vec<Derived> {
    let mut out = Vec::new();
    for member in &reading.members {
        scraped(member, &mut out);
        of_member(reading, member, &mut out);
    }
    of_cluster(reading, &mut out);
    out
}

fn push(
    out: &mut Vec<Derived>,
    instance: Option<&Instance>,
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) {
    let pairs = std::iter::once((METRIC_NAME, name)).chain(labels.iter().copied());
    out.push((instance.cloned(), (Labels::from_pairs(pairs), value)));
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

fn scraped(member: &MemberReading, out: &mut Vec<Derived>) {
    let Some(scrape) = &member.scrape else { return };
    let at = Some(&member.instance);
    let kept = scrape.samples.len() as f64;
    push(out, at, "up", &[], flag(scrape.ok));
    push(out, at, "scrape_duration_seconds", &[], scrape.duration_seconds);
    push(out, at, "scrape_samples_scraped", &[], kept + scrape.dropped_series as f64);
    push(out, at, "scrape_samples_post_metric_relabeling", &[], kept);
    push(out, at, "scrape_series_added", &[], scrape.added_series as f64);
    if let Some(clock) = scrape.clock {
        push(out, at, "etcd_monitor_clock_offset_seconds", &[], clock.seconds);
        push(out, at, "etcd_monitor_clock_offset_error_seconds", &[], clock.within_seconds);
    }
}

fn of_member(reading: &Reading, member: &MemberReading, out: &mut Vec<Derived>) {
    let at = Some(&member.instance);
    // A reading that asked the member nothing says nothing of it.
    if member.reachable() || !member.errors.is_empty() {
        push(out, at, "etcd_monitor_member_up", &[], flag(member.reachable()));
        push(out, at, "etcd_monitor_probe_seconds", &[("probe", "member")], member.duration_ms as f64 / 1e3);
    }
    if let Some(learner) = member.is_learner {
        push(out, at, "etcd_monitor_is_learner", &[], flag(learner));
    }
    for (probe, read) in
        [("linearizable-read", &member.linearizable_read), ("serializable-read", &member.serializable_read)]
    {
        if let Some(read) = read {
            push(out, at, "etcd_monitor_probe_seconds", &[("probe", probe)], read.seconds);
            push(out, at, "etcd_monitor_probe_success", &[("probe", probe)], flag(read.ok));
        }
    }
    if member.reachable() {
        let refused = |error: &ReadingError| {
            matches!(error.kind, ErrorKind::Denied | ErrorKind::Auth) && error.during != "node-exporter"
        };
        let refused = member.errors.iter().any(refused);
        push(out, at, "etcd_monitor_rights_missing", &[], flag(refused));
    }
    for (endpoint, said) in &member.health {
        let endpoint = format!("/{endpoint}");
        push(out, at, "etcd_monitor_endpoint_healthy", &[("endpoint", &endpoint)], flag(said.healthy));
    }
    for (peer, heard) in &member.hears {
        push(out, at, "etcd_monitor_peer_heard", &[("peer", peer.as_str())], flag(*heard));
    }
    for (labels, value) in &member.host {
        out.push((at.cloned(), (labels.clone(), *value)));
    }
    let Some(status) = &member.status else { return };
    if status.raft_term != 0 {
        push(out, at, "etcd_monitor_raft_term", &[], status.raft_term as f64);
    }
    // No member has applied nothing: 0 stands for a metric that is missing.
    if status.raft_index != 0 && status.raft_applied_index != 0 {
        push(out, at, "etcd_monitor_raft_index", &[], status.raft_index as f64);
        push(out, at, "etcd_monitor_raft_applied_index", &[], status.raft_applied_index as f64);
    }
    let leads = reading.leader().is_some_and(|(leader, _)| member.member_id == Some(leader));
    push(out, at, "etcd_monitor_leader", &[], flag(leads));
    let id = member.member_id.map(|id| id.to_string()).unwrap_or_default();
    let name = member.name.as_deref().unwrap_or("");
    let info = [("member", name), ("member_id", id.as_str()), ("version", status.version.as_str())];
    push(out, at, "etcd_monitor_member_info", &info, 1.0);
    // Built from metrics, a missing metric reads as 0, which no database file has.
    if status.source == StatusSource::Rpc || status.db_size_bytes > 0 {
        push(out, at, "etcd_monitor_db_size_bytes", &[], status.db_size_bytes as f64);
        push(out, at, "etcd_monitor_db_in_use_bytes", &[], status.db_size_in_use_bytes as f64);
    }
    if let Some(quota) = status.quota_bytes {
        push(out, at, "etcd_monitor_quota_bytes", &[], quota as f64);
    }
}

fn of_cluster(reading: &Reading, out: &mut Vec<Derived>) {
    structure(reading, out);
    push(out, None, "etcd_monitor_has_quorum", &[], flag(reading.has_quorum()));
    let count =
        |state: &dyn Fn(&MemberReading) -> bool| reading.members.iter().filter(|m| state(m)).count() as f64;
    let states = [
        ("reachable", count(&MemberReading::reachable)),
        ("unreachable", count(&|m| !m.reachable())),
        ("learner", count(&|m| m.is_learner == Some(true))),
    ];
    for (state, members) in states {
        push(out, None, "etcd_monitor_members", &[("state", state)], members);
    }
    for alarm in &reading.alarms {
        let member = reading.members.iter().find(|m| m.member_id.is_some() && m.member_id == alarm.member_id);
        let at = member.map(|m| &m.instance);
        push(out, at, "etcd_monitor_alarm", &[("alarm", &alarm.kind)], 1.0);
    }
}

/// Only what answering members said; of a cluster that is silent as a whole only the quorum is known.
fn structure(reading: &Reading, out: &mut Vec<Derived>) {
    let foreign = reading.errors.iter().filter(|error| error.kind == ErrorKind::WrongCluster).count();
    push(out, None, "etcd_monitor_foreign_endpoints", &[], foreign as f64);
    if let Some(id) = reading.cluster_id {
        push(out, None, "etcd_monitor_cluster_info", &[("cluster_id", &id.to_string())], 1.0);
    }
    if !reading.members.iter().any(|member| member.status.is_some()) {
        return;
    }
    let found = Structure::of(&reading.rows());
    push(out, None, "etcd_monitor_quorum_margin", &[], found.margin as f64);
    push(out, None, "etcd_monitor_leaders", &[], found.leaders.len() as f64);
    push(out, None, "etcd_monitor_leader_views", &[], found.views as f64);
    push(out, None, "etcd_monitor_sides", &[], found.sides.len() as f64);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{MemberId, MemberStatus};

    fn member(n: u64, learner: Option<bool>, indexes: (u64, u64)) -> MemberReading {
        let status = MemberStatus {
            source: StatusSource::Rpc,
            version: "3.5.16".to_owned(),
            db_size_bytes: 1,
            db_size_in_use_bytes: 1,
            quota_bytes: None,
            leader: Some(MemberId(1)),
            raft_term: 2,
            raft_index: indexes.0,
            raft_applied_index: indexes.1,
            revision: Some(1),
            errors: Vec::new(),
        };
        MemberReading {
            instance: format!("m{n}:2379").parse().expect("instance"),
            member_id: Some(MemberId(n)),
            name: None,
            is_learner: learner,
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            hears: BTreeMap::new(),
            ts_ms: 0,
            duration_ms: 1,
            status: Some(status),
            linearizable_read: None,
            serializable_read: None,
            health: BTreeMap::new(),
            scrape: None,
            host: Vec::new(),
            node: None,
            errors: Vec::new(),
        }
    }

    /// The values of `name`, by instance.
    fn values(reading: &Reading, name: &str) -> Vec<(String, f64)> {
        let named = derived(reading).into_iter().filter(|(_, (labels, _))| labels.metric_name() == name);
        named.map(|(at, (_, value))| (at.map(|at| at.to_string()).unwrap_or_default(), value)).collect()
    }

    #[test]
    fn structure_becomes_series_and_what_is_unknown_does_not() {
        let members = vec![
            member(1, Some(false), (70, 60)),
            member(2, Some(true), (70, 0)),
            MemberReading { status: None, ..member(3, None, (0, 0)) },
        ];
        let reading = Reading {
            cluster: "a".parse().expect("name"),
            ts_ms: 0,
            duration_ms: 1,
            cluster_id: None,
            members,
            alarms: Vec::new(),
            errors: Vec::new(),
        };
        let at = |n: u64, value: f64| (format!("m{n}:2379"), value);
        for (name, expected) in [
            ("etcd_monitor_is_learner", vec![at(1, 0.0), at(2, 1.0)]),
            ("etcd_monitor_raft_index", vec![at(1, 70.0)]),
            ("etcd_monitor_raft_applied_index", vec![at(1, 60.0)]),
            ("etcd_monitor_leader", vec![at(1, 1.0), at(2, 0.0)]),
            // One of two voters answers.
            ("etcd_monitor_has_quorum", vec![(String::new(), 0.0)]),
        ] {
            assert_eq!(values(&reading, name), expected, "{name}");
        }
        for (_, (labels, _)) in derived(&reading) {
            let name = labels.metric_name();
            assert!(SERIES.iter().any(|described| described.name == name), "{name} is not described");
        }
    }
}
