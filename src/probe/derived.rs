//! The series the probe adds from a reading, so that structure is queryable too.
//!
//! They are written for dead members as well: a rule about reachability must see the member that is down.

use crate::model::{Instance, Labels, METRIC_NAME, MemberReading, Reading, Role, ScrapedSample};

/// Name and help of every series the probe adds.
pub const OWN_SERIES: &[(&str, &str)] = &[
    ("up", "1 when the last scrape of the member's /metrics succeeded, as in Prometheus."),
    ("scrape_duration_seconds", "How long the scrape took."),
    ("scrape_samples_scraped", "Samples the scrape brought."),
    ("scrape_samples_post_metric_relabeling", "Samples kept after drop rules and the series cap."),
    ("scrape_series_added", "Series that the scrape before did not have."),
    ("etcd_monitor_member_up", "1 when the member answered the probe: Status, a read, /health or /metrics."),
    (
        "etcd_monitor_has_quorum",
        "1 when a majority of voting members answered or a linearizable read succeeded.",
    ),
    ("etcd_monitor_members", "Members by state: up, down, learner."),
    ("etcd_monitor_leader", "1 on the member that is leader, 0 on the others that answered."),
    ("etcd_monitor_raft_term", "The raft term the member reports."),
    ("etcd_monitor_raft_index", "The raft index the member reports."),
    ("etcd_monitor_raft_applied_index", "The raft index the member has applied."),
    ("etcd_monitor_alarm", "1 for every active alarm, by kind."),
    ("etcd_monitor_probe_seconds", "Duration of a probe read that succeeded: linearizable, serializable."),
    ("etcd_monitor_member_info", "1; joins the instance with the member's name, id and version."),
    ("etcd_monitor_db_size_bytes", "Size of the database file."),
    ("etcd_monitor_db_in_use_bytes", "Bytes of the database file that hold data."),
    ("etcd_monitor_quota_bytes", "The backend quota, where the member tells it."),
];

/// The probe's own samples of one reading: `None` for those of the cluster as a whole. `up` and `scrape_*`
/// are there only where a scrape was made.
pub fn derived(reading: &Reading) -> Vec<(Option<Instance>, ScrapedSample)> {
    let mut samples = Vec::new();
    for member in &reading.members {
        let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
            samples.push((Some(member.instance.clone()), sample(name, labels, value)));
        };
        scrape_series(member, &mut add);
        member_series(reading, member, &mut add);
    }
    samples.extend(cluster_series(reading).into_iter().map(|sample| (None, sample)));
    samples
}

type Add<'a> = &'a mut dyn FnMut(&str, &[(&str, &str)], f64);

fn scrape_series(member: &MemberReading, add: Add<'_>) {
    let Some(scrape) = &member.scrape else { return };
    let kept = scrape.samples.len() as f64;
    add("up", &[], flag(scrape.ok));
    add("scrape_duration_seconds", &[], scrape.duration_seconds);
    add("scrape_samples_scraped", &[], kept + scrape.dropped_series as f64);
    add("scrape_samples_post_metric_relabeling", &[], kept);
    add("scrape_series_added", &[], scrape.series_added as f64);
}

fn member_series(reading: &Reading, member: &MemberReading, add: Add<'_>) {
    add("etcd_monitor_member_up", &[], flag(member.reachable()));
    let id = member.member_id.map(|id| id.to_string()).unwrap_or_default();
    let version = member.status.as_ref().map_or("", |status| &status.version);
    let name = member.name.as_deref().unwrap_or_default();
    add("etcd_monitor_member_info", &[("member", name), ("member_id", &id), ("version", version)], 1.0);
    for (probe, read) in
        [("linearizable", &member.linearizable_read), ("serializable", &member.serializable_read)]
    {
        if let Some(read) = read.as_ref().filter(|read| read.ok) {
            add("etcd_monitor_probe_seconds", &[("probe", probe)], read.seconds);
        }
    }
    for alarm in
        reading.alarms.iter().filter(|alarm| alarm.member_id.is_some() && alarm.member_id == member.member_id)
    {
        add("etcd_monitor_alarm", &[("alarm", &alarm.kind)], 1.0);
    }
    let Some(status) = &member.status else { return };
    add("etcd_monitor_leader", &[], flag(member.role() == Role::Leader));
    add("etcd_monitor_raft_term", &[], status.raft_term as f64);
    add("etcd_monitor_raft_index", &[], status.raft_index as f64);
    add("etcd_monitor_raft_applied_index", &[], status.raft_applied_index as f64);
    add("etcd_monitor_db_size_bytes", &[], status.db_size_bytes as f64);
    add("etcd_monitor_db_in_use_bytes", &[], status.db_size_in_use_bytes as f64);
    if let Some(quota) = status.quota_bytes {
        add("etcd_monitor_quota_bytes", &[], quota as f64);
    }
}

fn cluster_series(reading: &Reading) -> Vec<ScrapedSample> {
    let learners = reading.members.iter().filter(|m| m.is_learner == Some(true)).count();
    let (up, voters) = reading.voters();
    let mut series = vec![sample("etcd_monitor_has_quorum", &[], flag(reading.has_quorum()))];
    for (state, count) in [("up", up), ("down", voters - up), ("learner", learners)] {
        series.push(sample("etcd_monitor_members", &[("state", state)], count as f64));
    }
    // An alarm of a member that is not in the list is still an alarm of the cluster.
    let known = |alarm: &crate::model::Alarm| {
        alarm.member_id.is_some() && reading.members.iter().any(|m| m.member_id == alarm.member_id)
    };
    for alarm in reading.alarms.iter().filter(|alarm| !known(alarm)) {
        series.push(sample("etcd_monitor_alarm", &[("alarm", &alarm.kind)], 1.0));
    }
    series
}

fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> ScrapedSample {
    let labels = Labels::from_pairs(labels.iter().copied().chain([(METRIC_NAME, name)]));
    ScrapedSample { labels, value }
}

fn flag(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}
