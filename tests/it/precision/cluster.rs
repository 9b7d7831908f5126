//! A cluster of three members in virtual time: what the probe would write of it, minute by minute, with the
//! noise of a healthy day and whatever a fault changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use etcd_monitor::model::{Labels, METRIC_NAME, Selection, Series, SeriesSource, SourceError, stale_marker};

use crate::deliver::simulation::faults::Rng;

pub const MEMBERS: usize = 3;
pub const INTERVAL_MS: i64 = 30_000;
const INTERVAL_SECONDS: f64 = 30.0;
const QUOTA_BYTES: f64 = 2_147_483_648.0;
/// What is healthy ends at a bound, as no histogram knows more than its bounds.
const BOUNDS: [f64; 9] = [0.002, 0.008, 0.016, 0.032, 0.1, 0.2, 0.8, 3.2, f64::INFINITY];

/// How things stand for one interval. The healthy ones are set anew for each; a fault changes them.
#[derive(Debug, Clone)]
pub struct State {
    /// The monitor itself runs.
    pub watched: bool,
    /// The process runs. One that starts again counts from 0.
    pub running: [bool; MEMBERS],
    pub scraped: [bool; MEMBERS],
    pub cut_off: [bool; MEMBERS],
    pub leader: usize,
    pub term: f64,
    pub has_leader: [bool; MEMBERS],
    /// Writes in a second.
    pub writes: f64,
    pub failed_share: f64,
    pub pending: f64,
    /// p99 in seconds, per member.
    pub fsync: [f64; MEMBERS],
    pub commit: [f64; MEMBERS],
    /// p99 in seconds.
    pub round_trip: f64,
    pub request: f64,
    pub grpc_failed_share: f64,
    pub database_share: f64,
    pub alarm: Option<&'static str>,
    pub apply_lag: f64,
    /// In a second.
    pub slow_applies: f64,
    pub late_heartbeats: f64,
    pub slow_reads: f64,
    pub learner: bool,
    pub version: [&'static str; MEMBERS],
    pub fd_share: f64,
    pub disk_share: f64,
    pub memory_share: f64,
    pub clock_offset: f64,
    pub member_lists: f64,
    pub hash_mismatch: f64,
    pub cert_days: f64,
    pub backup_age_hours: f64,
    pub unverified_hours: f64,
    /// Minutes since the next one was due; before that it is negative.
    pub backup_late_minutes: f64,
    /// Of the median.
    pub backup_size_share: f64,
    pub backups_bad: f64,
    pub backup_failed: f64,
    pub drill_age_days: f64,
    pub bench_regression: f64,
    pub disk_verdict: f64,
}

impl State {
    /// A healthy interval: load by the hour of the day, latencies below their limits, now and then a spike.
    fn healthy(minute: f64, rng: &mut Rng) -> Self {
        let mut dice = |end: f64| rng.below(10_000) as f64 / 10_000.0 * end;
        let day = (minute / 1_440.0 * std::f64::consts::TAU).sin();
        // fsync's p99 is 3 to 8 ms under a limit of 10, commits' 5 to 16 under 25.
        let fsync = std::array::from_fn(|_| 0.003 + dice(0.005));
        let commit = std::array::from_fn(|_| 0.005 + dice(0.011));
        // A defragmentation now and then: few of the requests of its interval wait for it.
        let defrag = dice(1.0) < 0.002;
        Self {
            watched: true,
            running: [true; MEMBERS],
            scraped: std::array::from_fn(|_| dice(1.0) > 0.002),
            cut_off: [false; MEMBERS],
            leader: 0,
            term: 2.0,
            has_leader: [true; MEMBERS],
            writes: 300.0 + 200.0 * day + dice(60.0),
            failed_share: if dice(1.0) < 0.01 { 0.002 } else { 0.0 },
            pending: dice(6.0).floor(),
            fsync,
            commit,
            round_trip: 0.02 + dice(0.07),
            request: 0.03 + dice(0.06),
            grpc_failed_share: dice(0.003),
            database_share: 0.4 + 0.05 * day + dice(0.02),
            alarm: None,
            apply_lag: dice(20.0).floor(),
            slow_applies: if defrag { 2.0 } else { dice(0.2) },
            late_heartbeats: if dice(1.0) < 0.01 { 0.05 } else { 0.0 },
            slow_reads: if dice(1.0) < 0.01 { 0.05 } else { 0.0 },
            learner: false,
            version: ["3.5.16"; MEMBERS],
            fd_share: 0.1,
            disk_share: 0.5 + dice(0.05),
            memory_share: 0.6 + dice(0.1),
            clock_offset: dice(0.02),
            member_lists: 1.0,
            hash_mismatch: 0.0,
            cert_days: 200.0,
            backup_age_hours: 1.0 + minute / 60.0 % 6.0,
            unverified_hours: 0.5,
            backup_late_minutes: -30.0,
            backup_size_share: 0.9 + dice(0.2),
            backups_bad: 0.0,
            backup_failed: 0.0,
            drill_age_days: 3.0,
            bench_regression: dice(0.1),
            disk_verdict: 0.0,
        }
    }
}

/// All series of the cluster.
#[derive(Default)]
pub struct Recorded {
    by_name: BTreeMap<String, Vec<Series>>,
    at: HashMap<String, (String, usize)>,
    counters: HashMap<String, f64>,
    was_running: [bool; MEMBERS],
}

fn instance(member: usize) -> String {
    format!("10.0.0.{}:2379", member + 1)
}

impl Recorded {
    /// `minutes` of a cluster from `start_ms` on; `change` is given each interval's minute and healthy state.
    pub fn new(seed: u64, start_ms: i64, minutes: i64, change: impl Fn(f64, &mut State)) -> Self {
        let (mut recorded, mut rng) = (Self::default(), Rng::new(seed));
        for step in 0..minutes * 60_000 / INTERVAL_MS {
            let minute = (step * INTERVAL_MS) as f64 / 60_000.0;
            let mut state = State::healthy(minute, &mut rng);
            change(minute, &mut state);
            if state.watched {
                recorded.interval(start_ms + step * INTERVAL_MS, &state);
            }
            recorded.was_running = state.running;
        }
        recorded
    }

    fn push(&mut self, ts_ms: i64, name: &str, labels: &[(&str, &str)], value: f64) {
        let id = labels.iter().fold(name.to_owned(), |id, (key, value)| id + "," + key + "=" + value);
        let (name, n) = self.at.entry(id).or_insert_with(|| {
            let all = self.by_name.entry(name.to_owned()).or_default();
            let every = [(METRIC_NAME, name), ("cluster", "prod"), ("job", "etcd")];
            let labels = Labels::from_pairs(every.iter().chain(labels).copied());
            all.push(Series { labels, ts_ms: Vec::new(), values: Vec::new() });
            (name.to_owned(), all.len() - 1)
        });
        let series = &mut self.by_name.get_mut(name.as_str()).expect("there")[*n];
        series.ts_ms.push(ts_ms);
        series.values.push(value);
    }

    /// A counter of one member, `add` more than it was.
    fn count(&mut self, ts_ms: i64, member: usize, name: &str, extra: &[(&str, &str)], add: f64) {
        let id =
            extra.iter().fold(format!("{member} {name}"), |id, (key, value)| id + "," + key + "=" + value);
        let total = self.counters.entry(id).or_default();
        *total += add;
        let (total, instance) = (*total, instance(member));
        self.push(ts_ms, name, &[&[("instance", instance.as_str())], extra].concat(), total);
    }

    /// `rate` observations in a second of which 99 of 100 took `p99` seconds at most.
    fn observe(
        &mut self,
        ts_ms: i64,
        member: usize,
        name: &str,
        extra: &[(&str, &str)],
        (rate, p99): (f64, f64),
    ) {
        let observations = rate * INTERVAL_SECONDS;
        for bound in BOUNDS {
            let share = 1.0 - 0.01_f64.powf(bound / p99);
            let le = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            let labels = [&[("le", le.as_str())], extra].concat();
            self.count(ts_ms, member, &format!("{name}_bucket"), &labels, observations * share);
        }
        self.count(ts_ms, member, &format!("{name}_sum"), extra, observations * p99 / 4.6);
        self.count(ts_ms, member, &format!("{name}_count"), extra, observations);
    }

    fn interval(&mut self, ts_ms: i64, state: &State) {
        for member in 0..MEMBERS {
            let at = instance(member);
            let at = [("instance", at.as_str())];
            let running = state.running[member];
            if running && !self.was_running[member] {
                let own = format!("{member} ");
                self.counters.retain(|id, _| !id.starts_with(&own));
            }
            let is = |on: bool| if on { 1.0 } else { 0.0 };
            self.push(ts_ms, "etcd_monitor_member_up", &at, is(running));
            let scraped = running && state.scraped[member];
            self.push(ts_ms, "up", &at, is(scraped));
            if running {
                self.status(ts_ms, member, state);
            }
            if scraped {
                self.scrape(ts_ms, member, state);
            } else {
                self.stale(ts_ms, at[0].1);
            }
        }
        self.of_cluster(ts_ms, state);
    }

    /// Ends the member's scraped series, as Prometheus does.
    fn stale(&mut self, ts_ms: i64, instance: &str) {
        for (name, all) in &mut self.by_name {
            let scraped = !name.starts_with("etcd_monitor_") && name != "up";
            for series in all.iter_mut().filter(|s| scraped && s.labels.get("instance") == Some(instance)) {
                if series.values.last().is_some_and(|last| !last.is_nan()) {
                    series.ts_ms.push(ts_ms);
                    series.values.push(stale_marker());
                }
            }
        }
    }

    fn status(&mut self, ts_ms: i64, member: usize, state: &State) {
        let at = instance(member);
        let at = [("instance", at.as_str())];
        let is = |on: bool| if on { 1.0 } else { 0.0 };
        let index = ts_ms as f64 / 1e6;
        self.push(ts_ms, "etcd_monitor_raft_term", &at, state.term);
        self.push(ts_ms, "etcd_monitor_raft_index", &at, index);
        self.push(ts_ms, "etcd_monitor_raft_applied_index", &at, index - state.apply_lag);
        self.push(ts_ms, "etcd_monitor_leader", &at, is(state.leader == member));
        self.push(ts_ms, "etcd_monitor_is_learner", &at, is(state.learner && member == 2));
        let version = [at[0], ("member", "m"), ("version", state.version[member])];
        self.push(ts_ms, "etcd_monitor_member_info", &version, 1.0);
        self.push(ts_ms, "etcd_monitor_db_size_bytes", &at, QUOTA_BYTES * state.database_share);
        self.push(ts_ms, "etcd_monitor_quota_bytes", &at, QUOTA_BYTES);
        let probe = [at[0], ("probe", "linearizable-read")];
        self.push(ts_ms, "etcd_monitor_probe_seconds", &probe, state.request / 5.0);
        let certificate = [at[0], ("certificate", "client")];
        self.push(ts_ms, "etcd_monitor_cert_expiry_seconds", &certificate, state.cert_days * 86_400.0);
        self.push(ts_ms, "etcd_monitor_host_disk_size_bytes", &at, 1e11);
        self.push(ts_ms, "etcd_monitor_host_disk_avail_bytes", &at, 1e11 * (1.0 - state.disk_share));
        self.push(ts_ms, "etcd_monitor_host_memory_size_bytes", &at, 1e10);
        self.push(ts_ms, "etcd_monitor_host_memory_available_bytes", &at, 1e10 * (1.0 - state.memory_share));
        self.push(ts_ms, "node_timex_offset_seconds", &at, state.clock_offset);
    }

    fn scrape(&mut self, ts_ms: i64, member: usize, state: &State) {
        let at = instance(member);
        let at = [("instance", at.as_str())];
        let is = |on: bool| if on { 1.0 } else { 0.0 };
        self.push(ts_ms, "etcd_server_has_leader", &at, is(state.has_leader[member]));
        // Counted from the process' start, so a member that restarts has seen none.
        let changes = state.term - 2.0;
        let known = self.counters.get(&format!("{member} etcd_server_leader_changes_seen_total")).copied();
        let add = known.map_or(0.0, |known| (changes - known).max(0.0));
        self.count(ts_ms, member, "etcd_server_leader_changes_seen_total", &[], add);
        let each = |rate: f64| rate * INTERVAL_SECONDS;
        self.count(ts_ms, member, "etcd_server_proposals_committed_total", &[], each(state.writes));
        let failed = state.writes * state.failed_share / (1.0 - state.failed_share) / MEMBERS as f64;
        self.count(ts_ms, member, "etcd_server_proposals_failed_total", &[], each(failed));
        self.push(ts_ms, "etcd_server_proposals_pending", &at, state.pending / MEMBERS as f64);
        self.count(ts_ms, member, "etcd_server_slow_apply_total", &[], each(state.slow_applies));
        self.count(
            ts_ms,
            member,
            "etcd_server_heartbeat_send_failures_total",
            &[],
            each(state.late_heartbeats),
        );
        self.count(ts_ms, member, "etcd_server_slow_read_indexes_total", &[], each(state.slow_reads));
        self.count(ts_ms, member, "etcd_server_read_indexes_failed_total", &[], 0.0);
        let requests = state.writes * 2.0;
        for (code, share) in [("OK", 1.0 - state.grpc_failed_share), ("Unavailable", state.grpc_failed_share)]
        {
            let labels = [("grpc_code", code), ("grpc_method", "Put"), ("grpc_type", "unary")];
            self.count(ts_ms, member, "grpc_server_handled_total", &labels, each(requests * share));
        }
        let put = [("grpc_method", "Put"), ("grpc_type", "unary")];
        self.observe(ts_ms, member, "grpc_server_handling_seconds", &put, (requests, state.request));
        let fsync = (state.writes, state.fsync[member]);
        self.observe(ts_ms, member, "etcd_disk_wal_fsync_duration_seconds", &[], fsync);
        self.observe(
            ts_ms,
            member,
            "etcd_disk_backend_commit_duration_seconds",
            &[],
            (10.0, state.commit[member]),
        );
        let round_trip = (2.0, state.round_trip);
        self.observe(
            ts_ms,
            member,
            "etcd_network_peer_round_trip_time_seconds",
            &[("To", "peer")],
            round_trip,
        );
        let reached = |other: usize| {
            let cut = state.cut_off[member] || state.cut_off[other];
            other != member && state.running[other] && !cut
        };
        let peers = (0..MEMBERS).filter(|other| reached(*other)).count() as f64;
        self.push(ts_ms, "etcd_network_active_peers", &at, peers);
        let lost = if peers + 1.0 < MEMBERS as f64 { 1.0 } else { 0.0 };
        self.count(ts_ms, member, "etcd_network_peer_sent_failures_total", &[("To", "peer")], each(lost));
        self.push(ts_ms, "os_fd_used", &at, 65_536.0 * state.fd_share);
        self.push(ts_ms, "os_fd_limit", &at, 65_536.0);
        // Every five minutes, as Kubernetes compacts.
        let compacted = if ts_ms % 300_000 == 0 { 1_000.0 } else { 0.0 };
        self.count(ts_ms, member, "etcd_debugging_mvcc_db_compaction_keys_total", &[], compacted);
    }

    fn of_cluster(&mut self, ts_ms: i64, state: &State) {
        let up = state.running.iter().filter(|running| **running).count();
        let together = (0..MEMBERS).filter(|m| state.running[*m] && !state.cut_off[*m]).count();
        let quorum = if together * 2 > MEMBERS && state.has_leader.contains(&true) { 1.0 } else { 0.0 };
        self.push(ts_ms, "etcd_monitor_has_quorum", &[], quorum);
        for (kind, members) in [("reachable", up), ("unreachable", MEMBERS - up)] {
            self.push(ts_ms, "etcd_monitor_members", &[("state", kind)], members as f64);
        }
        if let Some(alarm) = state.alarm {
            self.push(ts_ms, "etcd_monitor_alarm", &[("alarm", alarm), ("instance", "10.0.0.1:2379")], 1.0);
        }
        let now = ts_ms as f64 / 1e3;
        for (name, value) in [
            ("member_lists", state.member_lists),
            ("hash_mismatch", state.hash_mismatch),
            ("backup_last_success_timestamp_seconds", now - state.backup_age_hours * 3_600.0),
            ("backup_interval_seconds", 21_600.0),
            ("backup_next_due_timestamp_seconds", now - state.backup_late_minutes * 60.0),
            ("backup_size_bytes", 1e9 * state.backup_size_share),
            ("backup_median_size_bytes", 1e9),
            ("backups_bad", state.backups_bad),
            ("backup_failed", state.backup_failed),
            ("backup_oldest_unverified_timestamp_seconds", now - state.unverified_hours * 3_600.0),
            ("restore_drill_last_success_timestamp_seconds", now - state.drill_age_days * 86_400.0),
        ] {
            self.push(ts_ms, &format!("etcd_monitor_{name}"), &[], value);
        }
        let load = [("profile", "quick"), ("operation", "put"), ("part", "put")];
        // The job writes 0 for what is no more than noise.
        let worse = if state.bench_regression > 0.2 { state.bench_regression } else { 0.0 };
        self.push(ts_ms, "etcd_monitor_bench_regression_ratio", &load, worse);
        let disk = [("instance", "10.0.0.2:2379"), ("directory", "data")];
        self.push(ts_ms, "etcd_monitor_disk_verdict", &disk, state.disk_verdict);
    }
}

impl SeriesSource for Recorded {
    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Series>>, SourceError> {
        let named = selection.demanded(METRIC_NAME).and_then(|name| self.by_name.get(name));
        let mut found: Vec<Arc<Series>> = named
            .into_iter()
            .flatten()
            .filter(|series| selection.matches(&series.labels))
            .filter_map(|series| {
                let from = series.ts_ms.partition_point(|ts| *ts < selection.start_ms);
                let to = series.ts_ms.partition_point(|ts| *ts <= selection.end_ms);
                let (ts_ms, values) = (series.ts_ms[from..to].to_vec(), series.values[from..to].to_vec());
                (from < to).then(|| Arc::new(Series { labels: series.labels.clone(), ts_ms, values }))
            })
            .collect();
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }
}
