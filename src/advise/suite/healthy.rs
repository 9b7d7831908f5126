//! A healthy cluster of three, on good machines, with backups, checks and all settings known.

use std::collections::BTreeMap;

use super::Scenario;
use super::series::{CLUSTER, Gauge, MEMBER, STEP_MS, add, labels, times, with};
use crate::advise::{Judged, Listed, LocalMember, Sources, judge};
use crate::model::{
    BackupCopy, BackupStanding, BackupState, BenchOutcome, BenchRow, BenchStanding, Check, ClusterName,
    DISK_FORMAT, DiskDevice, DiskKind, DiskRun, DiskStanding, DiskVerdict, Instance, Level, ReadingRow, Role,
    SeriesSet,
};
use crate::promql::EvalOptions;

pub(super) const NOW_MS: i64 = 1_790_000_100_000;

pub(super) struct Cluster {
    scenario: Scenario,
    name: ClusterName,
    instances: Vec<Instance>,
}

impl Cluster {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let members = scenario.members.unwrap_or(3);
        let instances = (1..=members).map(|n| format!("10.0.0.{n}:2379").parse().expect("an instance"));
        Self {
            name: "prod".parse().expect("a name"),
            instances: instances.collect(),
            scenario: scenario.clone(),
        }
    }

    pub(super) fn judged(&self) -> Judged {
        self.judged_at(NOW_MS)
    }

    pub(super) fn judged_at(&self, now_ms: i64) -> Judged {
        let (rows, locals, disks) = (self.rows(), self.locals(), self.disks());
        let (benches, backups) = ([self.bench()], self.backups(now_ms));
        let sources = Sources {
            rows: &rows,
            listed: self.listed(),
            settings: self.settings(),
            locals: &locals,
            disks: &disks,
            benches: &benches,
            backups: Some(&backups),
            is_backed_up: Some(true),
            channels: Some(self.scenario.channels.unwrap_or(1)),
        };
        let options = EvalOptions { lookback_ms: 660_000, ..EvalOptions::default() };
        judge(&self.name, &sources, &self.series(now_ms), now_ms, &options).expect("evaluates")
    }

    fn series(&self, now_ms: i64) -> SeriesSet {
        let mut set = SeriesSet::default();
        for (n, instance) in self.instances.iter().enumerate() {
            let is_last = n + 1 == self.instances.len();
            for (key, shape) in MEMBER {
                let own = self.scenario.series_of_one.get(key).filter(|_| is_last);
                // Of two that are away both are.
                let others = self.scenario.series_of_one.get(key);
                let own = own.or(others.filter(|_| n + self.scenario.unreachable >= self.instances.len()));
                let learner = key == "etcd_monitor_is_learner" && is_last && self.scenario.learner;
                let shape = match own.or(self.scenario.series.get(key)) {
                    Some(value) => with(shape, *value),
                    None if learner => Gauge(1.0),
                    None => shape,
                };
                add(&mut set, &self.name, Some(instance), key, shape, now_ms);
            }
            self.compactions(&mut set, instance, now_ms);
        }
        for (key, shape) in CLUSTER {
            let shape = self.scenario.series.get(key).map_or(shape, |value| with(shape, *value));
            add(&mut set, &self.name, None, key, shape, now_ms);
        }
        let known = |key: &String| MEMBER.iter().chain(&CLUSTER).any(|(known, _)| known == key);
        let overridden = self.scenario.series.keys().chain(self.scenario.series_of_one.keys());
        assert_eq!(overridden.filter(|key| !known(key)).collect::<Vec<_>>(), Vec::<&String>::new());
        set
    }

    /// Every five minutes, as kube-apiserver does it.
    fn compactions(&self, set: &mut SeriesSet, instance: &Instance, now_ms: i64) {
        let labels = labels(&self.name, Some(instance), "etcd_debugging_mvcc_compact_revision");
        let is_still = self.scenario.compacts == Some(false);
        for at in times(now_ms) {
            let value = if is_still { 7.0 } else { (at / STEP_MS % 1_000_000) as f64 };
            set.push(&labels, at, value);
        }
    }

    fn rows(&self) -> Vec<ReadingRow> {
        let all = self.instances.len();
        let row = |(n, instance): (usize, &Instance)| {
            let is_last = n + 1 == all;
            let of_one = self.scenario.version_of_one.clone().filter(|_| is_last);
            ReadingRow {
                cluster: self.name.clone(),
                cluster_id: None,
                instance: instance.clone(),
                member_id: None,
                name: Some(format!("m{n}")),
                ts_ms: NOW_MS,
                duration_ms: 5,
                reachable: n + self.scenario.unreachable < all,
                errors: Vec::new(),
                version: of_one.or(Some(self.version())),
                role: if n == 0 { Role::Leader } else { Role::Follower },
                is_learner: Some(is_last && self.scenario.learner),
                deaf_to: Vec::new(),
                raft_term: Some(3),
                leader: None,
                raft_index: Some(9),
                raft_applied_index: Some(9),
                db_size_bytes: None,
                db_size_in_use_bytes: None,
                quota_bytes: None,
                alarms: self.scenario.alarm.iter().filter(|_| n == 0).cloned().collect(),
                unhealthy: Vec::new(),
                defragmenting: false,
            }
        };
        self.instances.iter().enumerate().map(row).collect()
    }

    fn version(&self) -> String {
        self.scenario.version.clone().unwrap_or_else(|| "3.6.14".to_owned())
    }

    fn listed(&self) -> Vec<Listed> {
        let of = |(n, instance): (usize, &Instance)| {
            let host = if self.scenario.one_host { "10.0.0.1" } else { instance.host() };
            let own = |url: &Option<String>, port: u16| {
                url.clone().unwrap_or_else(|| format!("https://{host}:{port}"))
            };
            // One member is enough for a plain URL.
            let (peer, client) = if n == 0 {
                (own(&self.scenario.peer_url, 2380), own(&self.scenario.client_url, 2379))
            } else {
                (own(&None, 2380), own(&None, 2379))
            };
            Listed { peer_urls: vec![peer], client_urls: vec![client] }
        };
        self.instances.iter().enumerate().map(of).collect()
    }

    fn settings(&self) -> BTreeMap<Instance, BTreeMap<String, String>> {
        if self.scenario.settings_unknown {
            return BTreeMap::new();
        }
        let of_old = !self.version().starts_with("3.6");
        let check = if of_old {
            ("experimental-initial-corrupt-check", "true")
        } else {
            ("feature-gates", "InitialCorruptCheck=true")
        };
        let usual = [
            check,
            ("auto-compaction-retention", "8h"),
            ("cert-file", "/etc/etcd/server.crt"),
            ("client-cert-auth", "true"),
            ("snapshot-count", "10000"),
        ];
        let usual: BTreeMap<String, String> =
            usual.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let of = |(n, instance): (usize, &Instance)| {
            let mut settings = usual.clone();
            settings.extend(self.scenario.settings.clone());
            if n + 1 == self.instances.len() {
                settings.extend(self.scenario.settings_of_one.clone());
            }
            (instance.clone(), settings)
        };
        self.instances.iter().enumerate().map(of).collect()
    }

    fn locals(&self) -> Vec<LocalMember> {
        let check = |id: &str, levels: &BTreeMap<String, String>| {
            let level = match levels.get(id).map(String::as_str) {
                Some("warning") => Level::Warning,
                Some("critical") => Level::Critical,
                _ => Level::Pass,
            };
            Check::new(id, level, format!("{id} is {}", level.as_str()), "", "", "do something else")
        };
        let host = [
            "processors",
            "cpu-governor",
            "memory",
            "swap",
            "huge-pages",
            "listen-backlog",
            "clock",
            "resource-limits",
            "cpu-throttled",
        ];
        let disk = ["disk-kind", "filesystem", "scheduler", "dedicated-disk", "free-space"];
        let disk = disk.into_iter().chain(self.scenario.disk.contains_key("barriers").then_some("barriers"));
        self.instances
            .first()
            .map(|instance| LocalMember {
                instance: instance.clone(),
                directory: "/var/lib/etcd".to_owned(),
                machine: host.into_iter().map(|id| check(id, &self.scenario.host)).collect(),
                device: self.device(),
                disk: disk.map(|id| check(id, &self.scenario.disk)).collect(),
            })
            .into_iter()
            .collect()
    }

    fn device(&self) -> DiskDevice {
        let kind = self.scenario.disk.get("kind").map_or("nvme", String::as_str);
        DiskDevice {
            disks: vec!["nvme0n1".to_owned()],
            kind: DiskKind::parse(kind).expect("a kind"),
            mount_point: "/var/lib/etcd".to_owned(),
            ..DiskDevice::default()
        }
    }

    fn disks(&self) -> Vec<DiskStanding> {
        let verdict = self.scenario.disk.get("verdict").map_or("production-ready", String::as_str);
        if verdict == "never" {
            // The others' disks were.
            return self
                .instances
                .iter()
                .skip(1)
                .take(1)
                .map(|instance| self.disk_of(instance, DiskVerdict::ProductionReady))
                .collect();
        }
        let verdict = DiskVerdict::parse(verdict).expect("a verdict");
        self.instances.iter().take(1).map(|instance| self.disk_of(instance, verdict)).collect()
    }

    fn disk_of(&self, instance: &Instance, verdict: DiskVerdict) -> DiskStanding {
        let check = |id: &str| {
            let level = if self.scenario.disk.contains_key(id) { Level::Warning } else { Level::Pass };
            let level = if id == "fsync" { verdict.into() } else { level };
            Check::new(id, level, format!("{id}: 3.1 ms"), "", "", "")
        };
        let newest = DiskRun {
            format: DISK_FORMAT,
            id: "20260901T000000000-AAAA".to_owned(),
            host: "node-1".to_owned(),
            directory: "/var/lib/etcd".to_owned(),
            cluster: Some(self.name.clone()),
            instance: Some(instance.clone()),
            started_ms: NOW_MS - 86_400_000,
            finished_ms: NOW_MS - 86_390_000,
            tests: Vec::new(),
            device: self.device(),
            pattern: None,
            verdict,
            fsync_p99: Some(0.003),
            findings: ["fsync", "fsync-tail", "iops", "bandwidth", "other-writers"].map(check).into(),
            notes: Vec::new(),
        };
        DiskStanding { newest, history: Vec::new() }
    }

    fn bench(&self) -> BenchStanding {
        let newest = BenchRow {
            cluster: self.name.clone(),
            id: "20260901T000000000-BBBB".to_owned(),
            part: "put".to_owned(),
            ts_ms: NOW_MS - 86_400_000,
            profile: None,
            operation: "put".to_owned(),
            signature: String::new(),
            command: String::new(),
            outcome: BenchOutcome::Complete,
            version: None,
            is_paced: false,
            ok: 1,
            failed: 0,
            seconds: 1.0,
            rate: 1.0,
            average: 0.0,
            p50: None,
            p90: None,
            p99: None,
            p999: None,
            slowest: 0.0,
            uncorrected_p99: None,
            fsync_p99: None,
            commit_p99: None,
            leader_changes: 0,
        };
        let verdict = if self.scenario.bench.is_some() { "regression" } else { "same" };
        BenchStanding {
            newest,
            verdict,
            why: "21 % slower than the 5 runs before".to_owned(),
            history: Vec::new(),
        }
    }

    fn backups(&self, now_ms: i64) -> BackupState {
        let wanted = &self.scenario.backup;
        let state = wanted
            .state
            .as_deref()
            .map_or(BackupStanding::Verified, |state| BackupStanding::parse(state).expect("a state"));
        let finished_ms = now_ms - wanted.age_hours.unwrap_or(3) * 3_600_000;
        let copy = |place: usize| BackupCopy {
            id: "prod/20260901".to_owned(),
            at: format!("s3://place-{place}"),
            is_external: false,
            finished_ms,
            bytes: 1,
            stored_bytes: Some(1),
            change: None,
            revision: Some(7),
            is_encrypted: wanted.encrypted.unwrap_or(true),
            is_condemned: false,
            state,
            level: None,
            why: Vec::new(),
            looked_ms: None,
            recovery_ms: wanted.restored.unwrap_or(true).then_some(41_000),
        };
        let places = if wanted.count == Some(0) { 0 } else { wanted.places.unwrap_or(2) };
        BackupState {
            cluster: self.name.clone(),
            seen_ms: now_ms,
            is_backed_up: true,
            next_due_ms: None,
            interval_ms: None,
            growth_bytes_per_day: None,
            copies: (0..places).map(copy).collect(),
        }
    }
}
