//! How a cluster is reached, as configuration writes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{BackupOverrides, EtcdError, ScrapeOverrides, WatchOverrides};
use crate::model::unit::ConfigDuration;
use crate::model::{ClusterName, Instance, SecretRef};

/// One etcd cluster to watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClusterConfig {
    pub name: ClusterName,
    /// Free words to group clusters by (`env = "prod"`).
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// `http://host:port`, `https://host:port` or `host:port` (https where `tls` is set).
    pub endpoints: Vec<String>,
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    /// The user with the root role, where etcd's authentication is on: for what that role alone may do, hashing
    /// and copying the data. `auth` where it is absent.
    #[serde(default)]
    pub backup_auth: Option<AuthConfig>,
    /// As `backup_auth`, where certificates name the users. `tls` where it is absent.
    #[serde(default)]
    pub backup_tls: Option<TlsConfig>,
    /// Where `/metrics` is: empty = `/metrics` of each client URL; one URL with `{host}` in it = that, for
    /// every member; else one URL per endpoint, in their order. Members that only the member list names then
    /// have no known one, unless all these URLs are on loopback: then it is `/metrics` of their client URL.
    #[serde(default)]
    pub metrics_urls: Vec<String>,
    /// Where the node exporters of the members' machines are: none, one URL with `{host}` in it, or one per endpoint.
    #[serde(default)]
    pub node_exporter_urls: Vec<String>,
    /// Whether members that only the member list names are watched too.
    #[serde(default = "yes")]
    pub discover_members: bool,
    #[serde(default)]
    pub timeouts: TimeoutConfig,
    /// The most requests per second sent to one member.
    #[serde(default = "two")]
    pub max_requests_per_second: f64,
    /// How often this cluster is asked, where that is other than for the fleet.
    #[serde(default)]
    pub watch: WatchOverrides,
    /// What is taken of its metrics, where that is other than for the fleet.
    #[serde(default)]
    pub scrape: ScrapeOverrides,
    /// How it is backed up, where that is other than for the fleet.
    #[serde(default)]
    pub backup: BackupOverrides,
}

fn yes() -> bool {
    true
}

fn two() -> f64 {
    2.0
}

/// How to speak TLS with the members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file of the CAs to trust; the system's without it.
    pub ca: Option<PathBuf>,
    /// PEM file of the client certificate (chain); needs `key`.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name to demand of the server's certificate instead of the endpoint's host; needs `ca`.
    pub server_name: Option<String>,
    /// Trusts any server certificate. For experiments only.
    pub insecure_skip_verify: bool,
}

/// An etcd user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AuthConfig {
    pub user: String,
    pub password: SecretRef,
}

/// Deadlines. The defaults are for members a data centre apart at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TimeoutConfig {
    /// To have a connection.
    pub connect: ConfigDuration,
    /// To have the answer of one call; also sent to the server.
    pub call: ConfigDuration,
    /// Silence after which an HTTP/2 ping is sent, and then the wait for its answer.
    pub keepalive: ConfigDuration,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            connect: ConfigDuration(Duration::from_secs(2)),
            call: ConfigDuration(Duration::from_secs(3)),
            keepalive: ConfigDuration(Duration::from_secs(5)),
        }
    }
}

/// A user with the resolved password.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: SecretString,
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        use secrecy::ExposeSecret;
        self.user == other.user && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl ClusterConfig {
    /// A cluster reached without TLS and login; everything else as by default.
    pub fn plain(name: ClusterName, endpoints: Vec<String>) -> Self {
        Self {
            name,
            tags: BTreeMap::new(),
            endpoints,
            tls: None,
            auth: None,
            backup_auth: None,
            backup_tls: None,
            metrics_urls: Vec::new(),
            node_exporter_urls: Vec::new(),
            discover_members: true,
            timeouts: TimeoutConfig::default(),
            max_requests_per_second: two(),
            watch: WatchOverrides::default(),
            scrape: ScrapeOverrides::default(),
            backup: BackupOverrides::default(),
        }
    }

    /// The cluster as the `backup` credential reaches it.
    pub fn as_backup(&self) -> Self {
        let mut config = self.clone();
        config.tls = self.backup_tls.clone().or_else(|| self.tls.clone());
        config
    }

    /// The endpoint as a URL with its scheme.
    ///
    /// # Errors
    /// [`EtcdError::Config`] when it is no `host:port`, has an unknown scheme, or is `http://` although
    /// `tls` is set (a password would travel in the clear).
    pub fn endpoint_url(&self, endpoint: &str) -> Result<String, EtcdError> {
        let wrong =
            |problem: String| EtcdError::Config { cluster: self.name.clone(), key: "endpoints", problem };
        let instance = Instance::of_endpoint(endpoint).map_err(|e| wrong(e.to_string()))?;
        let scheme = match endpoint.split_once("://") {
            Some((scheme, _)) => scheme,
            None if self.tls.is_some() => "https",
            None => "http",
        };
        match scheme {
            "http" if self.tls.is_some() => {
                Err(wrong(format!("{endpoint} is not https, but tls is configured")))
            }
            "http" | "https" => Ok(format!("{scheme}://{instance}")),
            _ => Err(wrong(format!("{endpoint}: expected http://, https:// or host:port"))),
        }
    }

    /// Whether the parts fit together; files are not read.
    ///
    /// # Errors
    /// [`EtcdError::Config`] with the first key that does not fit.
    pub fn check(&self) -> Result<(), EtcdError> {
        let wrong = |key, problem: &str| {
            Err(EtcdError::Config { cluster: self.name.clone(), key, problem: problem.to_owned() })
        };
        if self.endpoints.is_empty() {
            return wrong("endpoints", "at least one is needed");
        }
        for endpoint in &self.endpoints {
            self.endpoint_url(endpoint)?;
        }
        for (key, tls) in [("tls", &self.tls), ("backup-tls", &self.backup_tls)] {
            let Some(tls) = tls else { continue };
            if tls.cert.is_some() != tls.key.is_some() {
                return wrong(key, "cert and key go together");
            }
            if tls.server_name.is_some() && tls.ca.is_none() && !tls.insecure_skip_verify {
                return wrong(key, "server-name needs ca");
            }
        }
        if self.backup_tls.is_some() && self.tls.is_none() {
            return wrong("backup-tls", "needs tls: the members are reached without it");
        }
        for (key, urls) in
            [("metrics-urls", &self.metrics_urls), ("node-exporter-urls", &self.node_exporter_urls)]
        {
            let template = matches!(urls.as_slice(), [one] if one.contains("{host}"));
            if !urls.is_empty() && !template && urls.len() != self.endpoints.len() {
                return wrong(key, "give one per endpoint, or a single one with {host} in it");
            }
        }
        if !(self.max_requests_per_second.is_finite() && self.max_requests_per_second > 0.0) {
            return wrong("max-requests-per-second", "must be more than 0");
        }
        Ok(())
    }
}
