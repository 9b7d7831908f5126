//! A prefix in some etcd, below which each key describes a cluster.

use serde::{Deserialize, Serialize};

use super::DiscoverError;
use super::described::{Described, Entry};
use crate::etcd::{AuthConfig, ClusterConfig, Member, TlsConfig};
use crate::model::ClusterName;

/// `etcd`: where the descriptions are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EtcdPrefix {
    pub endpoints: Vec<String>,
    /// `/etcd-monitor/clusters/`, say. What follows it in a key is the cluster's name, unless its value has one.
    pub prefix: String,
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    #[serde(default)]
    pub auth: Option<AuthConfig>,
}

/// More keys than this are no list of clusters but a wrong prefix.
const MOST_KEYS: i64 = 1_000;

impl EtcdPrefix {
    /// The etcd to ask, as a cluster.
    pub(super) fn cluster(&self, source: &ClusterName) -> ClusterConfig {
        let mut cluster = ClusterConfig::plain(source.clone(), self.endpoints.clone());
        cluster.tls.clone_from(&self.tls);
        cluster.auth.clone_from(&self.auth);
        cluster
    }

    /// Of the first member that answers.
    pub(super) async fn ask(
        &self,
        members: &[Member],
    ) -> Result<Vec<Result<Described, String>>, DiscoverError> {
        let mut last = None;
        for member in members {
            match member.below(self.prefix.as_bytes(), MOST_KEYS).await {
                Ok(answer) if answer.more => {
                    let reason = format!("more than {MOST_KEYS} keys below {:?}", self.prefix);
                    return Err(DiscoverError::Unanswered { place: member.url().to_owned(), reason });
                }
                Ok(answer) => {
                    let pairs = answer.kvs.iter().map(|pair| self.described(&pair.key, &pair.value));
                    return Ok(pairs.collect());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(DiscoverError::Timeout, DiscoverError::Etcd))
    }

    /// A value is an object as in files, or just the endpoints, separated by commas.
    fn described(&self, key: &[u8], value: &[u8]) -> Result<Described, String> {
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        let name = key.strip_prefix(&self.prefix).unwrap_or(&key).trim_matches('/');
        let entry = if value.trim_start().starts_with('{') {
            serde_json::from_str::<Entry>(&value).map_err(|error| format!("key {key}: {error}"))?
        } else {
            let endpoints: Vec<&str> = value.split(',').map(str::trim).filter(|e| !e.is_empty()).collect();
            let entry = serde_json::json!({ "endpoints": endpoints });
            serde_json::from_value(entry).map_err(|error| format!("key {key}: {error}"))?
        };
        Ok(entry.described(name))
    }
}
