//! `[[discover]]`: places that say which clusters there are.
//!
//! Owns: asking each kind of place, and making of what it says clusters with the source's names, tags and credentials.
//! Refuses: remembering what was there before, and judging that a cluster is gone: see `run`.

mod described;
mod dns;
mod file;
mod kubernetes;
mod prefix;
mod static_pods;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::described::{Described, cluster};
pub use self::dns::DnsSrv;
pub use self::file::Files;
pub use self::kubernetes::{Kubernetes, Objects};
pub use self::prefix::EtcdPrefix;
pub use self::static_pods::StaticPods;
use crate::etcd::{
    AuthConfig, ClusterConfig, EtcdError, Login, Member, ScrapeOverrides, TimeoutConfig, TlsConfig,
    WatchOverrides,
};
use crate::model::ClusterName;
use crate::model::unit::ConfigDuration;

/// One `[[discover]]`: where to look, and how what is found there is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceConfig {
    /// Keys what was found in the store; the grammar is that of a cluster's name.
    pub name: ClusterName,
    #[serde(default)]
    pub dns_srv: Option<DnsSrv>,
    #[serde(default)]
    pub file: Option<Files>,
    #[serde(default)]
    pub etcd: Option<EtcdPrefix>,
    #[serde(default)]
    pub kubernetes: Option<Kubernetes>,
    #[serde(default)]
    pub static_pods: Option<StaticPods>,
    /// How often it is asked.
    #[serde(default = "every")]
    pub interval: ConfigDuration,
    /// A cluster that the source does not name any more is watched this much longer. A source that gives no answer
    /// takes nothing away.
    #[serde(default = "grace")]
    pub removal_grace: ConfigDuration,
    /// The clusters' names, with `{key}` for what the source says of them; `docs/configuration.md` has the keys.
    #[serde(default)]
    pub cluster_name: Option<String>,
    /// Tags of the clusters, with `{key}` as in `cluster-name`; one whose key is not there is left out. They win over
    /// the tags that the source gives.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    #[serde(default)]
    pub backup_auth: Option<AuthConfig>,
    #[serde(default)]
    pub backup_tls: Option<TlsConfig>,
    /// As of a cluster, where the source says nothing of it.
    #[serde(default)]
    pub metrics_urls: Vec<String>,
    #[serde(default)]
    pub node_exporter_urls: Vec<String>,
    #[serde(default)]
    pub timeouts: TimeoutConfig,
    #[serde(default = "two")]
    pub max_requests_per_second: f64,
    #[serde(default)]
    pub watch: WatchOverrides,
    #[serde(default)]
    pub scrape: ScrapeOverrides,
}

fn every() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(5))
}

fn grace() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(300))
}

fn two() -> f64 {
    2.0
}

/// One look may take this long, so that with the default interval nothing is found later than after ten seconds.
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);

/// Why a source gave no answer. What it said before stays.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error("{place}: {reason}")]
    Unanswered { place: String, reason: String },
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error("no answer within {} s", LOOK_TIMEOUT.as_secs())]
    Timeout,
}

/// What a source says now.
#[derive(Debug, Default)]
pub struct Look {
    /// By name, each once.
    pub clusters: BTreeMap<ClusterName, ClusterConfig>,
    /// Entries that are no clusters. While there are some, absence proves nothing.
    pub problems: Vec<String>,
}

/// A source, ready to be asked.
#[derive(Debug)]
pub struct Source {
    config: SourceConfig,
    /// The members of the etcd to ask, or the API server.
    members: Vec<Member>,
}

impl Source {
    /// `login` is that of the etcd to ask.
    ///
    /// # Errors
    /// What is wrong, as (key, message).
    pub fn open(config: SourceConfig, login: Option<&Login>) -> Result<Self, (&'static str, String)> {
        let kinds = [
            config.dns_srv.is_some(),
            config.file.is_some(),
            config.etcd.is_some(),
            config.kubernetes.is_some(),
            config.static_pods.is_some(),
        ];
        if kinds.iter().filter(|given| **given).count() != 1 {
            let say = "give one of dns-srv, file, etcd, kubernetes and static-pods";
            return Err(("name", say.to_owned()));
        }
        if config.interval.0 < Duration::from_secs(1) {
            return Err(("interval", "must be at least 1s".to_owned()));
        }
        let mut members = Vec::new();
        let asked = config.etcd.as_ref().map(|etcd| ("etcd.endpoints", etcd.cluster(&config.name)));
        let api = config.kubernetes.as_ref().map(|api| ("kubernetes.api", api.cluster(&config.name)));
        if let Some((key, cluster)) = asked.or(api) {
            let said = |error: EtcdError| match error {
                EtcdError::Config { problem, .. } => (key, problem),
                other => (key, other.to_string()),
            };
            cluster.check().map_err(said)?;
            for endpoint in &cluster.endpoints {
                members.push(Member::new(&cluster, endpoint, login).map_err(said)?);
            }
        }
        Ok(Self { config, members })
    }

    pub fn config(&self) -> &SourceConfig {
        &self.config
    }

    /// The kind of place, as configuration names it.
    pub fn kind(&self) -> &'static str {
        let SourceConfig { dns_srv, file, etcd, kubernetes, .. } = &self.config;
        match (dns_srv, file, etcd, kubernetes) {
            (Some(_), ..) => "dns-srv",
            (_, Some(_), ..) => "file",
            (_, _, Some(_), _) => "etcd",
            (.., Some(_)) => "kubernetes",
            _ => "static-pods",
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn look(&self) -> Result<Look, DiscoverError> {
        let described = tokio::time::timeout(LOOK_TIMEOUT, self.ask());
        let mut look = Look::default();
        for one in described.await.map_err(|_| DiscoverError::Timeout)?? {
            match one.and_then(|one| cluster(&self.config, one)) {
                Err(problem) => look.problems.push(problem),
                // Entries of one name are parts of one cluster, as Prometheus' target groups are.
                Ok(part) => match look.clusters.entry(part.name.clone()) {
                    Entry::Vacant(place) => drop(place.insert(part)),
                    Entry::Occupied(whole) => join(whole.into_mut(), &part),
                },
            }
        }
        look.clusters.values_mut().for_each(sort);
        Ok(look)
    }

    /// What the place describes; what it has that describes no cluster is an error of its own.
    async fn ask(&self) -> Result<Vec<Result<Described, String>>, DiscoverError> {
        let SourceConfig { dns_srv, file, etcd, kubernetes, static_pods, .. } = &self.config;
        if let Some(dns) = dns_srv {
            return dns.ask().await;
        }
        if let Some(files) = file {
            return files.ask();
        }
        if let Some(etcd) = etcd {
            return etcd.ask(&self.members).await;
        }
        if let (Some(kubernetes), Some(api)) = (kubernetes, self.members.first()) {
            return kubernetes.ask(api).await;
        }
        Ok(static_pods.iter().flat_map(|pods| pods.ask(&self.config.name)).collect())
    }
}

/// Adds the members of a part that are not there yet, with the URLs that are theirs.
fn join(whole: &mut ClusterConfig, part: &ClusterConfig) {
    let of_each = |urls: &[String]| urls.len() == part.endpoints.len() && !has_pattern(urls);
    let (metrics, nodes) = (of_each(&part.metrics_urls), of_each(&part.node_exporter_urls));
    for (nth, endpoint) in part.endpoints.iter().enumerate() {
        if whole.endpoints.contains(endpoint) {
            continue;
        }
        whole.endpoints.push(endpoint.clone());
        if metrics {
            whole.metrics_urls.extend(part.metrics_urls.get(nth).cloned());
        }
        if nodes {
            whole.node_exporter_urls.extend(part.node_exporter_urls.get(nth).cloned());
        }
    }
}

/// The order in which a place names members is no news, unless other lists go along with it.
fn sort(cluster: &mut ClusterConfig) {
    let alone = |urls: &[String]| urls.is_empty() || has_pattern(urls);
    if alone(&cluster.metrics_urls) && alone(&cluster.node_exporter_urls) {
        cluster.endpoints.sort();
    }
}

fn has_pattern(urls: &[String]) -> bool {
    urls.iter().any(|url| url.contains("{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn entries_of_one_name_are_one_cluster_with_the_urls_of_each_member() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("clusters.toml");
        let text = "\
            cluster = [{ name = 'a', endpoints = ['http://z:1', 'http://y:1'], metrics-urls = ['http://z:2/m', 'http://y:2/m'] },
                {name = 'a', endpoints = ['http://z:1', 'http://x:1'], metrics-urls = ['http://z:2/m', 'http://x:2/m']},
                {name = 'b', endpoints = ['http://z:3']}, {name = 'b', endpoints = ['http://y:3', 'http://z:3']}]";
        std::fs::write(&path, text).expect("written");
        let toml = format!("name = 'src'\nfile = {{ paths = ['{}'] }}", path.display());
        let source = Source::open(toml::from_str(&toml).expect("a source"), None).expect("it fits");
        let look = source.look().await.expect("it is read");
        let said: Vec<_> =
            look.clusters.values().map(|c| (c.endpoints.join(" "), c.metrics_urls.join(" "))).collect();
        let pair = |endpoints: &str, urls: &str| (endpoints.to_owned(), urls.to_owned());
        let a = pair("http://z:1 http://y:1 http://x:1", "http://z:2/m http://y:2/m http://x:2/m");
        assert_eq!(said, [a, pair("http://y:3 http://z:3", "")]);
        assert_eq!(look.problems, Vec::<String>::new());
    }
}
