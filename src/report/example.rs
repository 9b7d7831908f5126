//! A made-up fleet: 54 clusters with 164 members in every state there is, the same at every call.
//!
//! Tests, the browser tests, the benchmark of rendering and `report --example` use it. All names, values and
//! texts are invented; one cluster's are hostile on purpose.

mod advice;
mod backups;
mod benches;
mod disks;
mod happenings;
mod series;

use std::collections::BTreeMap;

use crate::model::{
    ClusterId, ClusterName, ErrorKind, Event, EventKind, Incident, IncidentState, Instance, JobRun, Labels,
    MemberId, Outcome, ReadingError, ReadingRow, Role, Severity,
};

use super::{CareLine, ClusterInput, DayState, DayWord, Input, State};
use series::Dice;

/// 2025-11-21T14:05:12Z.
pub const DATA_THROUGH_MS: i64 = 1_763_733_912_000;

const HOUR_MS: i64 = 3_600_000;
const GIB: u64 = 1 << 30;

/// The state that each special cluster must be found in; all others are healthy.
pub const EXPECTED: &[(&str, State)] = &[
    ("prod-eu-01", State::NoQuorum),
    ("stage-us-02", State::Degraded),
    ("edge-us-03", State::Degraded),
    ("prod-ap-04", State::Critical),
    ("stage-eu-05", State::Degraded),
    ("edge-us-06", State::Stale),
    ("prod-us-07", State::Unknown),
    ("stage-ap-08", State::Healthy),
    ("edge-eu-09", State::Healthy),
    ("prod-us-10", State::Healthy),
    ("stage-us-11", State::NoQuorum),
    ("edge-ap-12", State::Healthy),
    ("prod-eu-13", State::Healthy),
];

/// The whole fleet.
pub fn fleet() -> Input {
    let mut clusters: Vec<ClusterInput> = (1..=54).filter_map(cluster).collect();
    clusters.iter_mut().for_each(happenings::add);
    let history = happenings::history(&clusters);
    Input {
        data_through_ms: DATA_THROUGH_MS,
        made_ms: DATA_THROUGH_MS + 12_000,
        expected_interval_ms: 60_000,
        version: "0.1.0".to_owned(),
        clusters,
        history,
        job_runs: vec![
            job_run("collect", Outcome::Done, "54 clusters, 164 members"),
            job_run("report", Outcome::Partial, "107 files, 3 changed"),
        ],
    }
}

fn job_run(job: &str, outcome: Outcome, summary: &str) -> JobRun {
    JobRun {
        job: job.to_owned(),
        shard: "0".to_owned(),
        slot_ms: DATA_THROUGH_MS - 12_000,
        attempt: 1,
        host: "daemon".to_owned(),
        started_ms: DATA_THROUGH_MS - 12_000,
        ended_ms: DATA_THROUGH_MS - 9_000,
        outcome,
        summary: summary.to_owned(),
        errors: if outcome == Outcome::Done {
            Vec::new()
        } else {
            vec!["upload c/prod-eu-01/index.html: 503".to_owned()]
        },
    }
}

/// `None` never happens: the names below are all valid.
fn cluster(n: usize) -> Option<ClusterInput> {
    let regions = ["eu-west-1", "us-east-1", "us-west-2", "ap-south-1"];
    let name = EXPECTED.get(n - 1).map_or_else(
        || {
            let stage = ["prod", "stage", "edge"].get(n % 3).copied().unwrap_or("prod");
            let region = ["eu", "us", "us", "ap"].get(n % 4).copied().unwrap_or("eu");
            format!("{stage}-{region}-{n:02}")
        },
        |(name, _)| (*name).to_owned(),
    );
    let name: ClusterName = name.parse().ok()?;
    let size = match n {
        3 | 10 | 15 | 20 | 25 | 30 | 35 | 40 => 5,
        9 | 16 | 22 | 28 | 34 | 46 => 1,
        7 => 0,
        8 => 4,
        _ => 3,
    };
    let mut dice = Dice::new(n as u64);
    let mut cluster = ClusterInput::new(name);
    cluster.tags.insert("region".to_owned(), regions.get(n % 4).copied().unwrap_or("eu-west-1").to_owned());
    cluster.rules_total = 27;
    if n.is_multiple_of(5) {
        let why = "no grpc_server_handling_seconds, which needs etcd to run with --metrics=extensive";
        cluster.speechless.push(("EtcdRequestsSlow".to_owned(), why.to_owned()));
    }
    cluster.rows = rows(&cluster.name, n, size, &mut dice);
    let slow = (n == 2).then_some(1);
    cluster.panels =
        if n == 12 { BTreeMap::new() } else { series::panels(&cluster.rows, slow, n == 2, &mut dice) };
    // What the charts end with is the figure of now.
    cluster.figures.clone_from(&cluster.panels);
    cluster.care = care(n, size);
    cluster.backups = backups::backups(&cluster.name, n, size);
    cluster.benches = benches::benches(&cluster.name, n, size);
    cluster.disks = disks::disks(&cluster.name, &cluster.rows, n);
    cluster.advice = advice::advice(&cluster.name, &cluster.rows, n);
    if size > 0 {
        cluster.days = days(&mut dice);
        cluster.events = vec![leader_change(&cluster)];
    }
    misfortune(n, &mut cluster);
    Some(cluster)
}

/// Short as people give them; in one cluster as long as a cloud gives its machines.
fn member_name(n: usize, m: usize) -> String {
    if n == 10 { format!("ip-10-10-{m}-10.us-east-1.compute.internal") } else { format!("etcd-{m}") }
}

fn rows(cluster: &ClusterName, n: usize, size: usize, dice: &mut Dice) -> Vec<ReadingRow> {
    let leader = if size > 2 { n % 3 } else { 0 };
    let id = |m: usize| MemberId(0x8e9e_05c5_2164_6940 + (n * 16 + m) as u64);
    let version = ["3.5.21", "3.6.14", "3.4.37"].get(n % 3).copied().unwrap_or("3.5.21");
    let db_bytes = GIB / 2 + dice.below(5 * GIB);
    let index = 1_000_000 + dice.below(900_000_000);
    (0..size)
        .filter_map(|m| {
            let learner = n == 8 && m == 3;
            let role = if learner {
                Role::Learner
            } else if m == leader {
                Role::Leader
            } else {
                Role::Follower
            };
            let instance: Instance = format!("10.{n}.{m}.10:2379").parse().ok()?;
            Some(ReadingRow {
                cluster: cluster.clone(),
                cluster_id: Some(ClusterId(0x0cde_21bd_0000_0000 + n as u64)),
                instance,
                member_id: Some(id(m)),
                name: Some(member_name(n, m)),
                ts_ms: DATA_THROUGH_MS - 12_000,
                duration_ms: 8 + dice.below(20),
                reachable: true,
                errors: Vec::new(),
                version: Some(version.to_owned()),
                role,
                is_learner: Some(learner),
                deaf_to: Vec::new(),
                unhealthy: Vec::new(),
                defragmenting: false,
                raft_term: Some(40 + n as u64),
                leader: Some(id(leader)),
                raft_index: Some(index),
                raft_applied_index: Some(index - dice.below(3)),
                db_size_bytes: Some(db_bytes),
                db_size_in_use_bytes: Some(db_bytes / 10 * 6),
                quota_bytes: Some(8 * GIB),
                alarms: Vec::new(),
            })
        })
        .collect()
}

/// What the newest inspection found.
fn care(n: usize, size: usize) -> Vec<CareLine> {
    if size == 0 {
        return Vec::new();
    }
    let line = |what, text: String, class| CareLine { what, text, class, ts_ms: DATA_THROUGH_MS - 180_000 };
    let data = match size {
        1 => line("Data", "unknown: a single member has nothing to be compared with".to_owned(), "unknown"),
        _ => line("Data", format!("{size} members hold the same data at revision 1204417"), "ok"),
    };
    let (days, class) = if n == 2 { (21, "warn") } else { (243, "ok") };
    vec![
        line("Member lists", format!("{size} member(s) have the same list of {size}"), "ok"),
        data,
        line(
            "Certificates",
            format!("the first certificate to expire is that of 10.{n}.0.10:2379 (peer) in {days} days"),
            class,
        ),
    ]
}

/// What is wrong with the special clusters.
fn misfortune(n: usize, cluster: &mut ClusterInput) {
    match n {
        1 => {
            down(cluster, &[1, 2], "dial tcp: connection refused");
            for row in &mut cluster.rows {
                row.leader = None;
                row.role = if row.reachable { Role::Follower } else { Role::Unknown };
            }
            fire(
                cluster,
                "EtcdInsufficientMembers",
                Severity::Critical,
                None,
                "Quorum is lost",
                4 * 60_000,
                1.0,
            );
        }
        2 => {
            let one = cluster.rows.get(1).map(|row| row.instance.to_string());
            fire(
                cluster,
                "EtcdWalFsyncSlow",
                Severity::Warning,
                one,
                "etcd-1 has a slow disk",
                290 * 60_000,
                0.0284,
            );
            fire(cluster, "EtcdPutSlow", Severity::Warning, None, "Put p99 above 100 ms", 45 * 60_000, 0.116);
            fire(
                cluster,
                "EtcdDefragWorthwhile",
                Severity::Info,
                None,
                "40 % of the database is free space",
                48 * HOUR_MS,
                0.4,
            );
        }
        3 => down(cluster, &[4], "tls: certificate has expired"),
        4 => {
            for row in &mut cluster.rows {
                row.alarms = vec!["NOSPACE".to_owned()];
                row.db_size_bytes = Some(8 * GIB);
            }
        }
        5 => hostile(cluster),
        6 => {
            for row in &mut cluster.rows {
                row.ts_ms -= 47 * 60_000;
            }
        }
        11 => down(cluster, &[0, 1, 2], "context deadline exceeded"),
        13 => {
            let mut resolved =
                incident(cluster, "EtcdNoLeader", Severity::Critical, None, "No leader", 5 * HOUR_MS, 1.0);
            resolved.state = IncidentState::Resolved;
            cluster.incidents.push(resolved);
        }
        _ => {}
    }
}

fn down(cluster: &mut ClusterInput, members: &[usize], message: &str) {
    for (m, row) in cluster.rows.iter_mut().enumerate().filter(|(m, _)| members.contains(m)) {
        row.reachable = false;
        row.role = Role::Unknown;
        row.errors = vec![ReadingError {
            kind: ErrorKind::Unreachable,
            during: "status".to_owned(),
            message: format!("{}: {message}", row.instance),
            missing_right: None,
        }];
        (row.version, row.raft_term, row.leader, row.raft_index, row.raft_applied_index) =
            (None, None, None, None, None);
        (row.db_size_bytes, row.db_size_in_use_bytes, row.quota_bytes) = (None, None, None);
        debug_assert!(m < 9);
    }
}

/// Text as an attacker or an unlucky operator would write it, everywhere foreign text can come from.
fn hostile(cluster: &mut ClusterInput) {
    cluster.tags.insert("team\"><script>alert(1)</script>".to_owned(), "{{ 7 * 7 }} </title>".to_owned());
    if let Some(row) = cluster.rows.first_mut() {
        row.name = Some("<script>alert('name')</script>".to_owned());
        row.version = Some("3.5.21\"><img src=x onerror=alert(2)>".to_owned());
    }
    if let Some(row) = cluster.rows.get_mut(1) {
        row.name = Some("etcd-\u{202e}1gpj.exe\u{0}\u{7}".to_owned());
        row.errors = vec![ReadingError {
            kind: ErrorKind::Denied,
            during: "alarms".to_owned(),
            message: "key \"/registry/<b>secrets</b>/'x'\" \u{2066}denied\u{2069}\n--> <svg onload=alert(3)>"
                .to_owned(),
            missing_right: Some("root <!-- ".to_owned()),
        }];
    }
    let long = format!("]]> <script>alert(4)</script> {}", "very-long-word-".repeat(40));
    fire(cluster, "Hostile</td><script>", Severity::Warning, None, &long, 20 * 60_000, f64::NAN);
    if let Some(incident) = cluster.incidents.first_mut() {
        incident.annotations.insert("runbook_url".to_owned(), "javascript:alert(5)".to_owned());
        incident
            .annotations
            .insert("description".to_owned(), "${jndi:x} <a href=\"javascript:alert(6)\">x</a>".to_owned());
    }
}

fn fire(
    c: &mut ClusterInput,
    alert: &str,
    severity: Severity,
    instance: Option<String>,
    summary: &str,
    age_ms: i64,
    value: f64,
) {
    let incident = incident(c, alert, severity, instance, summary, age_ms, value);
    c.incidents.push(incident);
}

fn incident(
    c: &ClusterInput,
    alert: &str,
    severity: Severity,
    instance: Option<String>,
    summary: &str,
    age_ms: i64,
    value: f64,
) -> Incident {
    let mut labels = Labels::from_pairs([
        ("alertname", alert),
        ("cluster", c.name.as_str()),
        ("severity", severity.as_str()),
    ]);
    if let Some(instance) = instance {
        labels = labels.with("instance", &instance);
    }
    let annotations = [
        ("summary", summary),
        ("description", "If the slow part becomes leader all writes slow down."),
        ("runbook_url", "https://runbooks.example/etcd"),
    ];
    Incident {
        fingerprint: labels.fingerprint(),
        episode: 1,
        state: IncidentState::Firing,
        group: "default".to_owned(),
        alert: alert.to_owned(),
        severity,
        labels,
        annotations: annotations.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        value,
        active_since_ms: DATA_THROUGH_MS - age_ms,
        fired_ms: DATA_THROUGH_MS - age_ms,
        changed_ms: DATA_THROUGH_MS - age_ms,
        reason: None,
        silenced_by: None,
    }
}

fn leader_change(cluster: &ClusterInput) -> Event {
    let leader = cluster.rows.iter().find(|row| row.role == Role::Leader).or(cluster.rows.first());
    let subject = leader.map(|row| row.instance.to_string()).unwrap_or_default();
    Event {
        id: Event::id_of(&cluster.name, EventKind::LeaderChanged, &subject, "42"),
        cluster: cluster.name.clone(),
        ts_ms: DATA_THROUGH_MS - 291 * 60_000,
        kind: EventKind::LeaderChanged,
        severity: Severity::Info,
        text: format!("{subject} became leader at term 42"),
        subject,
        actor: None,
        details: serde_json::Value::Null,
    }
}

fn days(dice: &mut Dice) -> Vec<DayState> {
    let today = DATA_THROUGH_MS / 86_400_000;
    (0..90)
        .map(|n| {
            let (word, quorum_ratio) = match dice.below(200) {
                0 => (DayWord::Outage, Some(0.993)),
                1..=6 => (DayWord::Degraded, Some(1.0)),
                7..=8 => (DayWord::NoData, None),
                _ => (DayWord::Healthy, Some(1.0)),
            };
            DayState { day_ms: (today - 89 + n) * 86_400_000, word, quorum_ratio }
        })
        .collect()
}
