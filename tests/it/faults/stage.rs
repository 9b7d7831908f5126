//! The cluster that a scenario happens to, and what can be done to it.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Client};
use etcd_monitor::config::ClusterSetup;
use etcd_monitor::etcd::Login;
use etcd_monitor::probe::{Parts, Prober, ScrapeConfig};

use super::client;
use super::pipeline::CLUSTER;
use super::scenario::{Action, Scenario, Whom};
use crate::etcd_cluster::{EtcdCluster, Options, Tls, Version};
use crate::proxy::Proxy;

/// Planted in a database file, then changed there.
const PLANTED: &str = "the value that will be another";

pub struct Stage {
    cluster: EtcdCluster,
    /// The member that the last step named.
    named: Option<usize>,
    /// Before the metrics ports.
    metrics: Vec<Proxy>,
    /// What slows disks.
    tracers: Vec<Child>,
    joined: Option<u64>,
    has_auth: bool,
    quota_bytes: u64,
}

fn version(name: &str) -> Version {
    match name {
        "3.4.23" => Version::V3_4,
        "3.5.16" => Version::V3_5_16,
        "3.5.30" => Version::V3_5_30,
        other => panic!("no etcd {other} is installed for tests"),
    }
}

impl Stage {
    pub async fn set(scenario: &Scenario) -> Self {
        let of = &scenario.cluster;
        let versions: Vec<Version> = of.versions.iter().map(|name| version(name)).collect();
        let options = Options {
            version: versions[0],
            mixed: versions.iter().copied().enumerate().collect(),
            tls: if of.tls { Tls::Mutual } else { Tls::None },
            quota_bytes: of.quota.map(|quota| quota.0),
            hosts: of.hosts,
            links: of.links,
            synced: of.synced,
            metrics_port: of.metrics_port,
            ..Options::default()
        };
        let cluster = EtcdCluster::start(versions.len(), options).await;
        let mut metrics = Vec::new();
        if of.metrics_port {
            for i in cluster.places() {
                let listener = cluster.metrics_listener(i);
                metrics.push(Proxy::to(listener.trim_start_matches("http://").to_owned()).await);
            }
        }
        let quota_bytes = of.quota.map_or(0, |quota| quota.0);
        let (named, tracers, joined, has_auth) = (None, Vec::new(), None, false);
        let mut stage = Self { cluster, named, metrics, tracers, joined, has_auth, quota_bytes };
        let mut client = stage.client().await;
        client.put(PLANTED, PLANTED, None).await.expect("put");
        if of.auth {
            client.role_add("root").await.expect("role");
            for user in ["root", "monitor"] {
                client.user_add(user, client::PASSWORD, None).await.expect("user");
                client.user_grant_role(user, "root").await.expect("grant");
            }
            client.auth_enable().await.expect("auth on");
            stage.has_auth = true;
        }
        stage
    }

    /// As the monitor reaches it.
    pub fn setup(&self) -> ClusterSetup {
        let mut config = self.cluster.config();
        config.name = CLUSTER.parse().expect("a name");
        config.max_requests_per_second = 2.0;
        config.metrics_urls =
            self.metrics.iter().map(|proxy| format!("{}/metrics", proxy.endpoint())).collect();
        let login =
            self.has_auth.then(|| Login { user: "monitor".to_owned(), password: client::PASSWORD.into() });
        ClusterSetup { config, login, backup_login: None }
    }

    /// How clients reach it.
    pub fn access(&self) -> client::Access {
        client::Access {
            endpoints: self.cluster.endpoints(),
            tls: self.cluster.tls_options(),
            user: self.has_auth.then_some("root"),
        }
    }

    async fn client(&self) -> Client {
        self.access().connect(&self.cluster.endpoints()).await.expect("a client")
    }

    /// When a leader of each term came to be, by the members' own logs, ms since the epoch.
    pub fn leaders(&self) -> BTreeMap<u64, i64> {
        let logs = (0..).map_while(|i| std::fs::read_to_string(self.cluster.log(i)).ok());
        let lines: Vec<String> =
            logs.flat_map(|log| log.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.iter().filter_map(|line| became_leader(line)).collect()
    }

    async fn place(&mut self, whom: Whom) -> usize {
        let place = match whom {
            Whom::It => self.named.expect("a step before named one"),
            Whom::First => 0,
            Whom::Second => 1,
            Whom::Third => 2,
            Whom::Leader => self.leader().await,
            Whom::Follower => {
                let leader = self.leader().await;
                let runs = |i: &usize| *i != leader && self.cluster.runs(*i);
                self.cluster.places().find(runs).expect("a follower that runs")
            }
        };
        self.named = Some(place);
        place
    }

    async fn leader(&self) -> usize {
        let setup = self.setup();
        let prober =
            Prober::new(&setup.config, setup.login.as_ref(), &ScrapeConfig::default()).expect("prober");
        loop {
            let reading = prober.read(0, Parts { status: true, ..Parts::default() }).await;
            if reading.leader_member().is_some() {
                return self.cluster.leader_as(&reading);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn others(&self, place: usize) -> Vec<usize> {
        self.cluster.places().filter(|other| *other != place).collect()
    }

    /// Does it, and returns when it is done.
    pub async fn perform(&mut self, action: &Action) {
        match action {
            Action::Kill { member } => {
                let place = self.place(*member).await;
                self.cluster.kill(place);
            }
            Action::Restart { member } => {
                let place = self.place(*member).await;
                self.cluster.stop(place);
                self.cluster.restart(place);
            }
            Action::Start { member } => {
                let place = self.place(*member).await;
                self.cluster.restart(place);
            }
            Action::Pause { member } => {
                let place = self.place(*member).await;
                self.cluster.pause(place);
            }
            Action::Resume { member } => {
                let place = self.place(*member).await;
                self.cluster.resume(place);
            }
            Action::Isolate { member } => {
                let place = self.place(*member).await;
                for other in self.others(place) {
                    self.cluster.network().cut(place, other);
                }
            }
            Action::Deafen { member } => {
                let (leader, place) = (self.leader().await, self.place(*member).await);
                self.cluster.network().lose(leader, place);
            }
            Action::Drop { member, percent } => {
                let place = self.place(*member).await;
                self.cluster.network().drop_some(place, *percent);
            }
            Action::Heal => self.cluster.network().heal(),
            Action::Delay { member, by } => {
                let place = self.place(*member).await;
                self.cluster.link(place).delay(by.0);
            }
            Action::SlowDisk { member, by } => {
                let place = self.place(*member).await;
                self.tracers.push(slow_disk(&self.cluster.pid(place), by.0));
            }
            Action::FastDisk => self.tracers.drain(..).for_each(end),
            Action::CloseMetrics { member } => {
                let place = self.place(*member).await;
                self.metrics[place].cut(true);
            }
            Action::AdvanceClock { member, by } => {
                let place = self.place(*member).await;
                self.metrics[place].shift_dates(i64::try_from(by.0.as_secs()).expect("short"));
            }
            Action::OpenMetrics => self.metrics.iter().for_each(|proxy| proxy.cut(false)),
            Action::ExpireCertificates => {
                let pki = &self.cluster.pki;
                pki.replace_server(&pki.expired_cert, &pki.expired_key);
            }
            Action::RotateCertificates => {
                let pki = &self.cluster.pki;
                pki.replace_server(&pki.next_cert, &pki.next_key);
            }
            data => self.perform_on_data(data).await,
        }
    }

    /// What a client of etcd's does, and what is done to its files.
    async fn perform_on_data(&mut self, action: &Action) {
        let mut client = self.client().await;
        match action {
            Action::Fill { to } => {
                let share = to.map(|percent| self.quota_bytes * percent / 100);
                client::fill(&mut client, share).await;
            }
            Action::MakeRoom => {
                client::make_room(&mut client).await;
                for place in self.cluster.places() {
                    let mut member =
                        self.access().connect(&[self.cluster.endpoint(place)]).await.expect("a client");
                    member.defragment().await.expect("defragmented");
                }
                disarm(&mut client).await;
            }
            Action::Alarm { kind, member } => {
                let place = self.place(*member).await;
                let kind = if kind == "CORRUPT" { AlarmType::Corrupt } else { AlarmType::Nospace };
                let mut member =
                    self.access().connect(&[self.cluster.endpoint(place)]).await.expect("a client");
                let id = member.status().await.expect("a status").header().expect("a header").member_id();
                let mut options = etcd_client::AlarmOptions::new();
                options.with_member(id);
                client.alarm(AlarmAction::Activate, kind, Some(options)).await.expect("planted");
            }
            Action::Disarm => disarm(&mut client).await,
            Action::Defragment { member } => {
                let place = self.place(*member).await;
                let mut member =
                    self.access().connect(&[self.cluster.endpoint(place)]).await.expect("a client");
                member.defragment().await.expect("defragmented");
            }
            Action::Corrupt { member } => {
                let place = self.place(*member).await;
                self.cluster.stop(place);
                let file = self.cluster.folder().join(format!("m{place}/member/snap/db"));
                assert!(crate::inspect::change(&file, PLANTED.as_bytes()), "the value is not in the file");
                self.cluster.restart(place);
            }
            Action::Join => {
                let (place, id) = self.cluster.join_learner().await;
                (self.named, self.joined) = (Some(place), Some(id));
            }
            Action::Promote => {
                let id = self.joined.expect("a step before let one join");
                // etcd refuses until the learner has caught up.
                while client.member_promote(id).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            Action::Replace { member } => {
                let place = self.place(*member).await;
                self.cluster.remove(place).await;
                self.cluster.join(false).await;
            }
            Action::PingPong => self.ping_pong().await,
            Action::Revoke => {
                client.user_revoke_role("monitor", "root").await.expect("revoked");
            }
            Action::Grant => {
                client.user_grant_role("monitor", "root").await.expect("granted");
            }
            other => panic!("{other:?} is done elsewhere"),
        }
    }

    /// There and back within a second.
    async fn ping_pong(&mut self) {
        let leader = self.leader().await;
        let mut ids = Vec::new();
        for place in self.cluster.places() {
            let mut member = self.access().connect(&[self.cluster.endpoint(place)]).await.expect("a client");
            ids.push((
                place,
                member.status().await.expect("a status").header().expect("a header").member_id(),
            ));
        }
        let (other, other_id) = *ids.iter().find(|(place, _)| *place != leader).expect("another");
        let (_, own_id) = *ids.iter().find(|(place, _)| *place == leader).expect("itself");
        for (from, to) in [(leader, other_id), (other, own_id)] {
            let mut member = self.access().connect(&[self.cluster.endpoint(from)]).await.expect("a client");
            member.move_leader(to).await.expect("moved");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tracers.drain(..).for_each(end);
    }
}

async fn disarm(client: &mut Client) {
    for kind in [AlarmType::Nospace, AlarmType::Corrupt] {
        // All members' alarms of that kind.
        let alarms = client.alarm(AlarmAction::Get, kind, None).await.expect("listed");
        for alarm in alarms.alarms().iter().filter(|alarm| alarm.alarm() == kind) {
            let mut options = etcd_client::AlarmOptions::new();
            options.with_member(alarm.member_id());
            client.alarm(AlarmAction::Deactivate, kind, Some(options)).await.expect("taken away");
        }
    }
}

/// Each fdatasync of the process takes `by` longer, as long as the tracer runs.
fn slow_disk(pid: &str, by: Duration) -> Child {
    let inject = format!("inject=fdatasync:delay_exit={}", by.as_micros());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-p", pid, "-e", "trace=fdatasync", "-e", &inject, "-o", "/dev/null"]);
    strace.stdout(Stdio::null()).stderr(Stdio::null());
    strace.spawn().expect("strace is missing: run `make test-deps`")
}

/// Interrupted, it lets the process go on.
fn end(mut tracer: Child) {
    let _ = Command::new("kill").args(["-INT", &tracer.id().to_string()]).status();
    let _ = tracer.wait();
}

/// Term and time of a log line that says so, in either format of etcd's.
fn became_leader(line: &str) -> Option<(u64, i64)> {
    let (_, rest) = line.split_once("became leader at term ")?;
    let term = rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()?;
    let at = match line.split_once("\"ts\":\"") {
        Some((_, at)) => {
            chrono::DateTime::parse_from_str(at.split('"').next()?, "%Y-%m-%dT%H:%M:%S%.f%#z").ok()?.to_utc()
        }
        None => {
            chrono::NaiveDateTime::parse_from_str(line.get(..26)?, "%Y-%m-%d %H:%M:%S%.f").ok()?.and_utc()
        }
    };
    Some((term, at.timestamp_millis()))
}

#[test]
fn leaders_are_found_in_logs_of_either_format() {
    let json = r#"{"level":"info","ts":"2026-11-23T12:00:00.25Z","msg":"8e9e became leader at term 3"}"#;
    assert_eq!(became_leader(json), Some((3, 1_795_435_200_250)));
    let text = "2026-11-23 12:00:00.250000 I | raft: 8e9e became leader at term 12";
    assert_eq!(became_leader(text), Some((12, 1_795_435_200_250)));
    assert_eq!(became_leader("2026-11-23 12:00:00.250000 I | raft: became follower at term 12"), None);
}
