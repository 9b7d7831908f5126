//! One member: which etcd it runs, and with which flags.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;

use crate::proxy::Proxy;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V3_4,
    V3_5_16,
    V3_5_30,
}

impl Version {
    /// The server's path; a missing one fails the test.
    pub fn binary(self) -> PathBuf {
        self.program("etcd")
    }

    /// What copies databases and says what is in them: `etcdutl`, in 3.4 `etcdctl`.
    pub fn tool(self) -> PathBuf {
        self.program(if self == Self::V3_4 { "etcdctl" } else { "etcdutl" })
    }

    fn program(self, name: &str) -> PathBuf {
        let version = match self {
            Self::V3_4 => {
                let path = std::env::var_os("PATH").expect("PATH");
                let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.exists());
                return found.expect("etcd 3.4 is not on the PATH: run `make test-deps`");
            }
            Self::V3_5_16 => "3.5.16",
            Self::V3_5_30 => "3.5.30",
        };
        let root = std::env::var_os("ETCD_MONITOR_TEST_BIN")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-bin"), PathBuf::from);
        let path = root.join(format!("etcd-{version}/{name}"));
        assert!(path.exists(), "{} is missing: run `make test-deps`", path.display());
        path
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    None,
    Server,
    /// The server's certificate has expired.
    Expired,
    /// Clients and peers must show certificates, and metrics are served in plain HTTP too, as kubeadm sets etcd up.
    Mutual,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub version: Version,
    pub tls: Tls,
    pub quota_bytes: Option<u64>,
    /// More flags of etcd's.
    pub flags: Vec<String>,
    /// Each member on a host of its own, so that [`EtcdCluster::network`] can be cut between them.
    pub hosts: bool,
    /// `--metrics=extensive`.
    pub extensive: bool,
    /// Members that run another version.
    pub mixed: Vec<(usize, Version)>,
    /// Writes are synced as etcd does it by default; else they are not, where that can be chosen.
    pub synced: bool,
    /// Peers reach each member through a proxy of its own, see [`EtcdCluster::link`].
    pub links: bool,
    /// Metrics are served on a port of their own, too, as kubeadm sets etcd up; [`Tls::Mutual`] always does.
    pub metrics_port: bool,
    /// Data lie below it; in memory otherwise.
    pub folder: Option<std::path::PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::V3_5_16,
            tls: Tls::None,
            quota_bytes: None,
            flags: Vec::new(),
            hosts: false,
            extensive: false,
            mixed: Vec::new(),
            synced: false,
            links: false,
            metrics_port: false,
            folder: None,
        }
    }
}

pub(super) struct Node {
    pub(super) host: String,
    /// It came to members that ran already.
    pub(super) joined: bool,
    /// It is no member any more.
    pub(super) removed: bool,
    pub(super) client_port: u16,
    pub(super) peer_port: u16,
    pub(super) metrics_port: u16,
    /// Where peers reach it, if not at its port.
    pub(super) link: Option<Proxy>,
    pub(super) process: Option<Child>,
}

impl Node {
    pub(super) fn on(host: String) -> Self {
        let (client_port, peer_port, metrics_port) = (free_port(), free_port(), free_port());
        let (joined, removed) = (false, false);
        Self { host, joined, removed, client_port, peer_port, metrics_port, link: None, process: None }
    }

    /// What it tells peers to dial.
    pub(super) fn peer_url(&self, scheme: &str) -> String {
        match &self.link {
            Some(link) => link.endpoint(),
            None => format!("{scheme}://{}:{}", self.host, self.peer_port),
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("address").port()
}
