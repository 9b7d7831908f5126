//! How a cluster is reached: the `[[cluster]]` section.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::unit::ConfigDuration;
use crate::model::{ClusterName, Instance, SecretRef};

/// One `[[cluster]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClusterConfig {
    pub name: ClusterName,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Client URLs of one or more members: `https://10.0.0.1:2379`. A bare `host:port` is https when `tls` is
    /// given, else http.
    pub endpoints: Vec<String>,
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    /// URLs of `/metrics` where they are not `<endpoint>/metrics`: with `--listen-metrics-urls`. Matched to
    /// members by host.
    #[serde(default)]
    pub metrics_urls: Vec<String>,
    /// Whether members that are not among `endpoints` are found through the member list and read as well.
    #[serde(default = "yes")]
    pub discover_members: bool,
    /// Limit of every call to a member.
    #[serde(default = "default_timeout")]
    pub timeout: ConfigDuration,
}

const fn yes() -> bool {
    true
}

const fn default_timeout() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(1))
}

/// TLS of a cluster's client ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file of the CA. The system's roots when absent.
    pub ca: Option<PathBuf>,
    /// PEM files of the client certificate and its key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name the server's certificate must have, when it is not the endpoint's host.
    pub server_name: Option<String>,
    /// Accepts any certificate. For tests only.
    pub insecure_skip_verify: bool,
}

/// User name and password of etcd's own authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AuthConfig {
    pub user: String,
    pub password: SecretRef,
}

impl ClusterConfig {
    /// A cluster at `endpoints` with everything else by default.
    pub fn new(name: ClusterName, endpoints: Vec<String>) -> Self {
        Self {
            name,
            tags: BTreeMap::new(),
            endpoints,
            tls: None,
            auth: None,
            metrics_urls: Vec::new(),
            discover_members: true,
            timeout: default_timeout(),
        }
    }

    /// The endpoint as a URL with a scheme.
    pub fn url_of(&self, endpoint: &str) -> String {
        let endpoint = endpoint.trim_end_matches('/');
        if endpoint.contains("://") {
            return endpoint.to_owned();
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{endpoint}")
    }

    /// The URL of the metrics of the member at `endpoint`: the configured one of the same host and, where
    /// several are on one host, the same position among the endpoints; else `<endpoint>/metrics`.
    pub fn metrics_url_of(&self, endpoint: &str) -> String {
        let host = |url: &str| {
            Instance::of_endpoint(url).ok().and_then(|i| Some(i.as_str().rsplit_once(':')?.0.to_owned()))
        };
        let same_host: Vec<&String> = self
            .metrics_urls
            .iter()
            .filter(|url| host(url).is_some() && host(url) == host(endpoint))
            .collect();
        let siblings: Vec<&String> =
            self.endpoints.iter().filter(|other| host(other) == host(endpoint)).collect();
        let position =
            siblings.iter().position(|other| self.url_of(other) == self.url_of(endpoint)).unwrap_or(0);
        let url = same_host.get(position).or_else(|| same_host.first().filter(|_| same_host.len() == 1));
        let base = url.map_or_else(|| self.url_of(endpoint), |url| url.trim_end_matches('/').to_owned());
        if base.ends_with("/metrics") { base } else { format!("{base}/metrics") }
    }

    /// What is wrong with the values, as (key, message).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, message: String| problems.push((key.to_owned(), message));
        if self.endpoints.is_empty() {
            problem("endpoints", "name at least one client URL, e.g. \"https://10.0.0.1:2379\"".to_owned());
        }
        for endpoint in self.endpoints.iter().chain(&self.metrics_urls) {
            let url = self.url_of(endpoint);
            if !url.starts_with("http://") && !url.starts_with("https://") {
                problem("endpoints", format!("{endpoint:?} is neither http:// nor https://"));
            } else if let Err(error) = Instance::of_endpoint(&url) {
                problem("endpoints", format!("{endpoint:?}: {error}"));
            }
        }
        let tls = self.tls.as_ref();
        if tls.is_some_and(|tls| tls.cert.is_some() != tls.key.is_some()) {
            problem("tls", "cert and key go together: one of them is missing".to_owned());
        }
        if tls.is_some()
            && self.endpoints.iter().all(|endpoint| self.url_of(endpoint).starts_with("http://"))
            && !self.endpoints.is_empty()
        {
            problem("tls", "no endpoint is https://, so it would not be used".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(endpoints: &[&str]) -> ClusterConfig {
        let endpoints = endpoints.iter().map(ToString::to_string).collect();
        ClusterConfig::new("c".parse().expect("valid"), endpoints)
    }

    #[test]
    fn metrics_urls_find_their_member() {
        let mut config = cluster(&["http://a:2379", "http://b:2379", "http://a:22379"]);
        assert_eq!(config.metrics_url_of("http://a:2379"), "http://a:2379/metrics");
        config.metrics_urls =
            ["http://b:2381", "http://a:2381", "http://a:22381/metrics"].map(String::from).to_vec();
        assert_eq!(config.metrics_url_of("http://b:2379"), "http://b:2381/metrics");
        assert_eq!(config.metrics_url_of("http://a:2379"), "http://a:2381/metrics");
        assert_eq!(config.metrics_url_of("http://a:22379"), "http://a:22381/metrics");
        assert_eq!(config.metrics_url_of("http://c:2379"), "http://c:2379/metrics");
    }

    #[test]
    fn problems_are_found_before_connecting() {
        let keys =
            |config: &ClusterConfig| config.problems().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(&cluster(&[])), ["endpoints"]);
        assert_eq!(keys(&cluster(&["ftp://a:1", "http://a"])), ["endpoints", "endpoints"]);
        let mut half = cluster(&["https://a:1"]);
        half.tls = Some(TlsConfig { cert: Some("c".into()), ..TlsConfig::default() });
        assert_eq!(keys(&half), ["tls"]);
        assert!(keys(&cluster(&["a:2379"])).is_empty());
    }
}
