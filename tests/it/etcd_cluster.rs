//! Real etcd clusters on free loopback ports, in memory (tmpfs), gone when dropped.

mod node;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_monitor::etcd::{ClusterConfig, TlsConfig};
use etcd_monitor::model::{MemberReading, Reading};
use etcd_monitor::probe::{Parts, Prober, ScrapeConfig};
use tempfile::TempDir;

use self::node::Node;
pub use self::node::{Options, Tls, Version};

use crate::netns::Network;
use crate::proxy::Proxy;
use crate::tls::Pki;

pub struct EtcdCluster {
    options: Options,
    members: Vec<Node>,
    pub pki: Pki,
    dir: TempDir,
    network: Option<Network>,
}

impl EtcdCluster {
    /// Starts `n` members and waits until they serve linearizable reads.
    pub async fn start(n: usize, options: Options) -> Self {
        etcd_monitor::etcd::install_crypto_provider();
        // Another test may take a port between our look and etcd's bind.
        for attempt in 1.. {
            let mut cluster = Self::spawn(n, options.clone()).await;
            match cluster.wait_ready().await {
                Ok(()) => return cluster,
                Err(why) if attempt < 3 => eprintln!("starting etcd again: {why}"),
                Err(why) => panic!("etcd does not start: {why}"),
            }
        }
        unreachable!("the loop returns or panics")
    }

    async fn spawn(n: usize, options: Options) -> Self {
        let shm = PathBuf::from("/dev/shm");
        let memory = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let parent = options.folder.clone().unwrap_or(memory);
        let dir =
            tempfile::Builder::new().prefix("etcd-monitor-it-").tempdir_in(parent).expect("a directory");
        let pki = Pki::new(dir.path());
        let network = options.hosts.then(|| Network::new(n));
        let mut members = Vec::new();
        for i in 0..n {
            let host = network.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |network| network.address(i));
            let mut node = Node::on(host);
            if options.links {
                node.link = Some(Proxy::to(format!("{}:{}", node.host, node.peer_port)).await);
            }
            members.push(node);
        }
        let mut cluster = Self { options, members, pki, dir, network };
        for i in 0..n {
            cluster.restart(i);
        }
        cluster
    }

    /// Stops member `i` and starts it with another quota and other flags.
    pub fn restart_with(&mut self, i: usize, quota_bytes: u64, flags: &[&str]) {
        self.kill(i);
        self.options.quota_bytes = Some(quota_bytes);
        self.options.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.restart(i);
    }

    /// Starts member `i` (again), on its data.
    pub fn restart(&mut self, i: usize) {
        let scheme = self.scheme();
        let peers: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .filter(|(_, m)| !m.removed)
            .map(|(n, m)| format!("m{n}={}", m.peer_url(self.peer_scheme())))
            .collect();
        let node = &self.members[i];
        let client = format!("{scheme}://{}:{}", node.host, node.client_port);
        let peer = format!("{}://{}:{}", self.peer_scheme(), node.host, node.peer_port);
        let log = File::options().create(true).append(true).open(self.log(i)).expect("log");
        let version = self.version(i);
        let binary = version.binary();
        let mut command = match &self.network {
            Some(network) => network.command(i, &binary),
            None => Command::new(binary),
        };
        command
            .args([
                "--name",
                &format!("m{i}"),
                "--initial-cluster-state",
                if node.joined { "existing" } else { "new" },
                "--initial-cluster-token",
                "it",
            ])
            .arg("--data-dir")
            .arg(self.dir.path().join(format!("m{i}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &node.peer_url(self.peer_scheme())])
            .args(["--initial-cluster", &peers.join(",")])
            // Short, so that elections cost the tests little; long enough for two busy cores.
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .stdout(Stdio::null())
            .stderr(log);
        // The data is in memory; 3.4 does not know the flag.
        if version != Version::V3_4 && !self.options.synced {
            command.arg("--unsafe-no-fsync");
        }
        if self.options.extensive {
            command.arg("--metrics=extensive");
        }
        if let Some(quota) = self.options.quota_bytes {
            command.args(["--quota-backend-bytes", &quota.to_string()]);
        }
        let certificate = match self.options.tls {
            Tls::None => None,
            Tls::Expired => Some((&self.pki.expired_cert, &self.pki.expired_key)),
            Tls::Server | Tls::Mutual => Some((&self.pki.server_cert, &self.pki.server_key)),
        };
        if let Some((cert, key)) = certificate {
            command.arg("--cert-file").arg(cert).arg("--key-file").arg(key);
        }
        if self.options.tls == Tls::Mutual {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&self.pki.ca);
            command.arg("--peer-client-cert-auth").arg("--peer-trusted-ca-file").arg(&self.pki.ca);
            command.arg("--peer-cert-file").arg(&self.pki.server_cert);
            command.arg("--peer-key-file").arg(&self.pki.server_key);
        }
        if self.options.tls == Tls::Mutual || self.options.metrics_port {
            command.args(["--listen-metrics-urls", &self.metrics_listener(i)]);
        }
        command.args(&self.options.flags);
        self.members[i].process = Some(command.spawn().expect("etcd starts"));
    }

    /// Adds a learner and starts it; returns its place and id.
    pub async fn join_learner(&mut self) -> (usize, u64) {
        self.join(true).await
    }

    /// Adds a member and starts it; returns its place and id.
    pub async fn join(&mut self, learner: bool) -> (usize, u64) {
        let node = Node { joined: true, ..Node::on("127.0.0.1".to_owned()) };
        let url = node.peer_url(self.peer_scheme());
        let options = etcd_client::MemberAddOptions::new();
        let options = if learner { options.with_is_learner() } else { options };
        let added = self.client().await.member_add([url], Some(options)).await.expect("added");
        self.members.push(node);
        let i = self.members.len() - 1;
        self.restart(i);
        (i, added.member().expect("its entry").id())
    }

    /// Ends member `i` and takes it out of the cluster.
    pub async fn remove(&mut self, i: usize) {
        let mut client = self.client().await;
        let list = client.member_list().await.expect("a list");
        let entry = list.members().iter().find(|member| member.name() == format!("m{i}"));
        client.member_remove(entry.expect("a member").id()).await.expect("removed");
        self.kill(i);
        self.members[i].removed = true;
    }

    fn version(&self, i: usize) -> Version {
        let other = self.options.mixed.iter().find(|(member, _)| *member == i);
        other.map_or(self.options.version, |(_, version)| *version)
    }

    async fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut config = self.config();
        config.discover_members = false;
        config.max_requests_per_second = 100.0;
        if let Some(tls) = &mut config.tls {
            tls.insecure_skip_verify = self.options.tls == Tls::Expired;
        }
        let prober = Prober::new(&config, None, &ScrapeConfig::default()).expect("prober");
        let parts = Parts { status: true, quorum_read: true, ..Parts::default() };
        loop {
            let reading = prober.read(0, parts).await;
            let ready = |m: &MemberReading| m.linearizable_read.as_ref().is_some_and(|r| r.ok);
            if reading.members.len() == self.members.len() && reading.members.iter().all(ready) {
                return Ok(());
            }
            for (i, node) in self.members.iter_mut().enumerate() {
                if let Some(Ok(Some(status))) = node.process.as_mut().map(Child::try_wait) {
                    let log = std::fs::read_to_string(self.dir.path().join(format!("m{i}.log")))
                        .unwrap_or_default();
                    let tail = log.lines().last().unwrap_or_default();
                    return Err(format!("m{i} ended with {status}: {tail}"));
                }
            }
            if Instant::now() > deadline {
                return Err(format!("not ready in 60 s: {reading:#?}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What member `i` says.
    pub fn log(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("m{i}.log"))
    }

    fn peer_scheme(&self) -> &'static str {
        if self.options.tls == Tls::Mutual { "https" } else { "http" }
    }

    fn scheme(&self) -> &'static str {
        if self.options.tls == Tls::None { "http" } else { "https" }
    }

    /// What stands before the peer port of member `i`; of [`Options::links`].
    pub fn link(&self, i: usize) -> &Proxy {
        self.members[i].link.as_ref().expect("started with links")
    }

    /// Of [`Options::hosts`].
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("started with hosts")
    }

    /// Where the members keep their data.
    pub fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// `host:port` of member `i`, as its instance label.
    pub fn instance(&self, i: usize) -> String {
        format!("{}:{}", self.members[i].host, self.members[i].client_port)
    }

    pub fn endpoint(&self, i: usize) -> String {
        format!("{}://{}", self.scheme(), self.instance(i))
    }

    /// Where member `i` serves metrics besides its client URL; see [`Options::metrics_port`].
    pub fn metrics_listener(&self, i: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[i].metrics_port)
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.places().map(|i| self.endpoint(i)).collect()
    }

    /// The places of those that are members.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|i| !self.members[*i].removed)
    }

    /// How to reach all members, with all that TLS demands; deadlines short enough for tests.
    pub fn config(&self) -> ClusterConfig {
        let mut config = ClusterConfig::plain("it".parse().expect("name"), self.endpoints());
        config.max_requests_per_second = 50.0;
        let tls = TlsConfig { ca: Some(self.pki.ca.clone()), ..TlsConfig::default() };
        config.tls = match self.options.tls {
            Tls::None => None,
            Tls::Server | Tls::Expired => Some(tls),
            Tls::Mutual => Some(TlsConfig {
                cert: Some(self.pki.client_cert.clone()),
                key: Some(self.pki.client_key.clone()),
                ..tls
            }),
        };
        config
    }

    /// What a client of a cluster with [`Tls::Mutual`] shows and trusts.
    pub fn tls_options(&self) -> Option<etcd_client::TlsOptions> {
        let read = |path: &PathBuf| std::fs::read(path).expect("a PEM file");
        let pki = &self.pki;
        (self.options.tls == Tls::Mutual).then(|| {
            etcd_client::TlsOptions::new()
                .ca_certificate(etcd_client::Certificate::from_pem(read(&pki.ca)))
                .identity(etcd_client::Identity::from_pem(read(&pki.client_cert), read(&pki.client_key)))
        })
    }

    pub fn runs(&self, i: usize) -> bool {
        self.members[i].process.is_some()
    }

    /// An ordinary client of all members (plain clusters).
    pub async fn client(&self) -> etcd_client::Client {
        let options = etcd_client::ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(20));
        etcd_client::Client::connect(self.endpoints(), Some(options)).await.expect("a client")
    }

    /// Which member leads (without auth).
    pub async fn leader(&self) -> usize {
        let prober = Prober::new(&self.config(), None, &ScrapeConfig::default()).expect("prober");
        self.leader_as(&prober.read(0, Parts { status: true, ..Parts::default() }).await)
    }

    /// Which member leads, as a reading saw it.
    pub fn leader_as(&self, reading: &Reading) -> usize {
        let instance = reading.leader_member().expect("a leader").instance.as_str().to_owned();
        (0..self.members.len()).find(|i| self.instance(*i) == instance).expect("one of ours")
    }

    /// Of a member that runs.
    pub fn pid(&self, i: usize) -> String {
        self.members[i].process.as_ref().expect("it runs").id().to_string()
    }

    fn signal(&self, i: usize, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid(i)]).status().expect("kill");
        assert!(status.success());
    }

    /// SIGKILL.
    pub fn kill(&mut self, i: usize) {
        if let Some(mut process) = self.members[i].process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self, i: usize) {
        self.signal(i, "-TERM");
        let mut process = self.members[i].process.take().expect("it runs");
        let _ = process.wait();
    }

    /// SIGSTOP: its ports stay open and nobody answers.
    pub fn pause(&self, i: usize) {
        self.signal(i, "-STOP");
    }

    pub fn resume(&self, i: usize) {
        self.signal(i, "-CONT");
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for i in 0..self.members.len() {
            self.kill(i);
        }
    }
}

/// Reads until `done`, for 30 seconds at most.
pub async fn read_until(
    prober: &Prober,
    parts: Parts,
    what: &str,
    done: impl Fn(&Reading) -> bool,
) -> Reading {
    let deadline = Instant::now() + Duration::from_secs(30);
    for now_ms in (1_000..).step_by(2_000) {
        let reading = prober.read(now_ms, parts).await;
        if done(&reading) {
            return reading;
        }
        assert!(Instant::now() < deadline, "not seen: {what}; last reading: {reading:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("time is endless")
}
