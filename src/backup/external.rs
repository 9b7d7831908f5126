//! Backups that others make: database files that a cron job or `etcdctl snapshot save` puts at a URL. They have no
//! manifest; what is known of them is what a listing says, and what the verifier finds.

use serde::{Deserialize, Serialize};

use super::{Found, Level, VerdictState};
use crate::model::ClusterName;
use crate::model::unit::ConfigDuration;
use crate::store::key::{self, Key, Prefix};
use crate::store::{S3Config, Store, StoreConfig, StoreError, Writer};

/// `[[backup.external]]`: where somebody else puts databases of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExternalConfig {
    /// How commands, series and messages call it.
    pub name: String,
    pub cluster: ClusterName,
    /// As `store.url`; nothing is ever written or deleted there.
    pub url: String,
    #[serde(default)]
    pub s3: S3Config,
    /// How often a new one is to come.
    pub every: ConfigDuration,
    /// Objects whose names end so are databases.
    #[serde(default = "usual_suffixes")]
    pub suffixes: Vec<String>,
}

fn usual_suffixes() -> Vec<String> {
    [".db", ".db.gz", ".db.zst", ".snapshot"].map(str::to_owned).to_vec()
}

/// An open place of others' backups.
#[derive(Debug, Clone)]
pub struct External {
    pub config: ExternalConfig,
    pub store: Store,
}

/// A file of others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foreign {
    pub source: String,
    pub cluster: ClusterName,
    #[serde(skip)]
    pub key: Key,
    /// Below the URL.
    pub path: String,
    pub bytes: u64,
    /// By the store's clock, ms since the epoch.
    pub modified_ms: i64,
    /// `None` where nobody has looked at it yet.
    pub verdict: Option<ForeignVerdict>,
}

/// What was found of a file of others. Kept in the product's own store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignVerdict {
    pub path: String,
    pub bytes: u64,
    pub modified_ms: i64,
    pub state: VerdictState,
    pub level: Option<Level>,
    pub why: Vec<String>,
    pub found: Option<Found>,
    /// ms since the epoch, UTC.
    pub finished_ms: i64,
}

/// Opens one place.
///
/// # Errors
/// When the URL cannot be opened. A folder that is not there is not made.
pub async fn open(
    config: &ExternalConfig,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<External, StoreError> {
    let store = StoreConfig { url: config.url.clone(), s3: config.s3.clone(), ..StoreConfig::default() };
    Ok(External { config: config.clone(), store: Store::open_existing(&store, env).await? })
}

/// Lists the files of one place, oldest first, with what `own`, the product's store, knows of them.
///
/// # Errors
/// When either cannot be read.
pub async fn list(external: &External, own: &Store) -> Result<Vec<Foreign>, StoreError> {
    let cluster = external.config.cluster.as_str();
    let mut known: Vec<ForeignVerdict> = Vec::new();
    for entry in own.list(&Prefix::external_verdicts(cluster, &external.config.name)).await? {
        let body = own.get(&entry.key).await?;
        known.extend(body.and_then(|body| serde_json::from_slice(&body).ok()));
    }
    let is_database = |name: &str| external.config.suffixes.iter().any(|suffix| name.ends_with(suffix));
    let mut found: Vec<Foreign> = external
        .store
        .list(&Prefix::everything())
        .await?
        .into_iter()
        .filter(|entry| is_database(entry.key.name()))
        .map(|entry| {
            let path = entry.key.to_string();
            let is_of_it = |verdict: &&ForeignVerdict| {
                (verdict.path.as_str(), verdict.bytes, verdict.modified_ms)
                    == (path.as_str(), entry.size_bytes, entry.modified_ms)
            };
            let verdict = known.iter().filter(is_of_it).max_by_key(|verdict| verdict.finished_ms).cloned();
            Foreign {
                source: external.config.name.clone(),
                cluster: external.config.cluster.clone(),
                key: entry.key,
                path,
                bytes: entry.size_bytes,
                modified_ms: entry.modified_ms,
                verdict,
            }
        })
        .collect();
    found.sort_by(|a, b| (a.modified_ms, &a.path).cmp(&(b.modified_ms, &b.path)));
    Ok(found)
}

/// Keeps a verdict in the product's own store.
///
/// # Errors
/// When it cannot be written.
pub async fn note(
    own: &Store,
    external: &External,
    verdict: &ForeignVerdict,
    writer: &Writer,
) -> Result<(), StoreError> {
    let name = format!("{}-{}", writer.id(), writer.nonce());
    let (cluster, source) = (external.config.cluster.as_str(), external.config.name.as_str());
    let key = key::external_verdict(cluster, source, verdict.finished_ms, &name);
    let body = serde_json::to_vec_pretty(verdict).unwrap_or_default();
    own.create(&key, body.into()).await.map(drop)
}
