//! Real etcd clusters on free loopback ports, for any test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::tls::Authority;

/// Which etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The system's own package.
    V34,
    V35,
    /// 3.5.30: with auth on it denies more than 3.5.16 does.
    V35Auth,
}

impl Version {
    fn binary(self, name: &str) -> PathBuf {
        let folder = std::env::var_os("ETCD_MONITOR_TEST_BIN").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-bin"),
            PathBuf::from,
        );
        let path = match self {
            Self::V34 => return PathBuf::from(name),
            Self::V35 => folder.join("etcd-3.5").join(name),
            Self::V35Auth => folder.join("etcd-3.5-auth").join(name),
        };
        assert!(path.exists(), "{} is missing: run `make test-deps`", path.display());
        path
    }
}

/// What the client ports want.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Plain,
    Tls,
    MutualTls,
}

/// How a cluster is started.
#[derive(Clone, Copy)]
pub struct Options {
    pub version: Version,
    pub members: usize,
    pub security: Security,
    pub quota_bytes: Option<u64>,
}

impl Options {
    pub fn plain(version: Version, members: usize) -> Self {
        Self { version, members, security: Security::Plain, quota_bytes: None }
    }
}

/// A running cluster. Dropping it kills its processes, by id, and removes its data.
pub struct EtcdCluster {
    pub members: Vec<Member>,
    pub authority: Authority,
    options: Options,
    folder: tempfile::TempDir,
}

pub struct Member {
    pub name: String,
    pub client_url: String,
    pub metrics_url: String,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl EtcdCluster {
    /// Starts the members and waits until all are healthy. A port that another process took in the meantime
    /// is one more try.
    pub async fn start(options: Options) -> Self {
        for _ in 0..5 {
            if let Some(cluster) = Self::try_start(options).await {
                return cluster;
            }
        }
        panic!("etcd did not become healthy in five tries");
    }

    async fn try_start(options: Options) -> Option<Self> {
        // Memory, where it is: these tests are not about disks.
        let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("etcd-monitor-test-").tempdir_in(base).expect("temp folder");
        let authority = Authority::new(folder.path());
        let ports = free_ports(options.members * 3);
        let scheme = if options.security == Security::Plain { "http" } else { "https" };
        let peer = |n: usize| format!("http://127.0.0.1:{}", ports[3 * n + 1]);
        let initial: Vec<String> = (0..options.members).map(|n| format!("m{}={}", n + 1, peer(n))).collect();
        let mut cluster = Self { members: Vec::new(), authority, options, folder };
        for n in 0..options.members {
            let client_url = format!("{scheme}://127.0.0.1:{}", ports[3 * n]);
            let metrics_url = format!("http://127.0.0.1:{}", ports[3 * n + 2]);
            let arguments = cluster.arguments(n, &client_url, &metrics_url, &peer(n), &initial.join(","));
            let name = format!("m{}", n + 1);
            cluster.members.push(Member { name, client_url, metrics_url, arguments, process: None });
            cluster.restart(n);
        }
        cluster.become_healthy().await.then_some(cluster)
    }

    fn arguments(&self, n: usize, client: &str, metrics: &str, peer: &str, initial: &str) -> Vec<String> {
        let data = self.folder.path().join(format!("m{}", n + 1));
        let name = format!("m{}", n + 1);
        let data = data.display().to_string();
        let mut arguments: Vec<String> = [
            "--name", &name, "--data-dir", &data, "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-metrics-urls", metrics, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", initial, "--initial-cluster-state", "new", "--initial-cluster-token", "test",
        ]
        .map(String::from)
        .to_vec();
        if let Some(quota) = self.options.quota_bytes {
            arguments.push(format!("--quota-backend-bytes={quota}"));
        }
        if self.options.security != Security::Plain {
            let file = |path: &Path| path.display().to_string();
            arguments.extend([format!("--cert-file={}", file(&self.authority.server_cert)), format!("--key-file={}", file(&self.authority.server_key))]);
        }
        if self.options.security == Security::MutualTls {
            arguments.extend(["--client-cert-auth".to_owned(), format!("--trusted-ca-file={}", self.authority.ca.display())]);
        }
        arguments
    }

    async fn become_healthy(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.members.iter_mut().any(|m| m.process.as_mut().is_some_and(|p| matches!(p.try_wait(), Ok(Some(_))))) {
                return false;
            }
            let mut healthy = 0;
            for member in &self.members {
                let answer = reqwest::get(format!("{}/health", member.metrics_url)).await;
                if let Ok(answer) = answer
                    && answer.text().await.is_ok_and(|body| body.contains("\"true\""))
                {
                    healthy += 1;
                }
            }
            if healthy == self.members.len() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client_url.clone()).collect()
    }

    /// Starts a member (again), on its old data.
    pub fn restart(&mut self, n: usize) {
        let log = self.folder.path().join(format!("m{}.log", n + 1));
        let log = std::fs::File::options().create(true).append(true).open(log).expect("log file");
        let binary = self.options.version.binary("etcd");
        let process = Command::new(&binary)
            .args(&self.members[n].arguments)
            .stdout(Stdio::from(log.try_clone().expect("log file")))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `make test-deps`", binary.display()));
        self.members[n].process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.members[n].process.take() {
            process.kill().expect("the member runs");
            process.wait().expect("the member ends");
        }
    }

    /// SIGSTOP: the member hangs with its connections open.
    pub fn pause(&self, n: usize) {
        self.signal(n, "STOP");
    }

    /// SIGCONT.
    pub fn resume(&self, n: usize) {
        self.signal(n, "CONT");
    }

    fn signal(&self, n: usize, signal: &str) {
        let process = self.members[n].process.as_ref().expect("the member runs");
        let status = Command::new("kill").args([format!("-{signal}"), process.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Runs etcdctl against the cluster; panics with its output when it fails.
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.options.version.binary("etcdctl"));
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.endpoints().join(",")));
        if self.options.security != Security::Plain {
            command.arg(format!("--cacert={}", self.authority.ca.display()));
        }
        if self.options.security == Security::MutualTls {
            command.arg(format!("--cert={}", self.authority.client_cert.display()));
            command.arg(format!("--key={}", self.authority.client_key.display()));
        }
        let output = command.args(arguments).output().expect("etcdctl is there: run `make test-deps`");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {arguments:?}: {text}{errors}");
        text
    }

    /// Users root (password `root`) and bob (password `bob`, who may only read the prefix `bob`), auth on.
    pub fn enable_auth(&self) {
        for arguments in [
            &["user", "add", "root:root"][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", "bob"],
            &["role", "grant-permission", "bob", "--prefix=true", "read", "bob"],
            &["user", "add", "bob:bob"],
            &["user", "grant-role", "bob", "bob"],
            &["auth", "enable"],
        ] {
            self.etcdctl(arguments);
        }
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut process) = member.process.take() {
                // A member that has ended already cannot be killed; either way it is gone afterwards.
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

/// Ports that were free a moment ago, all different.
pub fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}
