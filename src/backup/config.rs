//! The `[backup]` section.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::object::recipient;
use super::{ExternalConfig, RetentionConfig};
use crate::model::SecretRef;
use crate::model::unit::{ByteSize, ConfigDuration};
use crate::store::{LockConfig, S3Config, StoreConfig};

/// What is saved where. How often is the schedule of the job `backup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BackupConfig {
    /// Whether clusters are backed up; `[cluster.backup] enabled` says otherwise for one.
    pub enabled: bool,
    /// Every backup goes to all of them, at once. Without any it goes into the store.
    pub destination: Vec<DestinationConfig>,
    /// Backups that others make: listed, aged, verified and alerted on like ours.
    pub external: Vec<ExternalConfig>,
    pub encryption: EncryptionConfig,
    /// Where this monitor runs: a member of the same zone (`[cluster.backup] zones`) is copied before others.
    pub zone: Option<String>,
    /// The most bytes per second that are taken from a member; no limit when absent.
    pub bandwidth: Option<ByteSize>,
    /// Of zstd, 1 to 19.
    pub compression_level: i32,
    /// Where databases are unpacked to be verified; a file there has no name, so that nothing stays. Needs room for one.
    pub scratch: PathBuf,
    /// A backup that was verified is verified again after this long: bits rot.
    pub verify_again: ConfigDuration,
    /// `etcdutl`, or `etcdctl` up to 3.5, which makes a data folder of a database; looked for on the PATH when absent.
    pub etcdutl: Option<PathBuf>,
    pub drill: DrillConfig,
    /// Which are kept; of each destination by itself.
    pub retention: RetentionConfig,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            destination: Vec::new(),
            external: Vec::new(),
            encryption: EncryptionConfig::default(),
            zone: None,
            bandwidth: None,
            compression_level: 3,
            scratch: PathBuf::from("/tmp"),
            verify_again: ConfigDuration(Duration::from_secs(30 * 86_400)),
            etcdutl: None,
            drill: DrillConfig::default(),
            retention: RetentionConfig::default(),
        }
    }
}

impl BackupConfig {
    /// What is wrong, by key.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for (at, destination) in self.destination.iter().enumerate() {
            let key = format!("backup.destination[{at}]");
            if let Some(problem) = url_problem(&destination.url, &destination.s3) {
                problems.push((format!("{key}.url"), format!("{:?}: {problem}", destination.url)));
            }
            if destination.object_lock.is_some() && !destination.url.starts_with("s3://") {
                let why = "only S3 has Object Lock, and this is no s3:// URL".to_owned();
                problems.push((format!("{key}.object-lock"), why));
            }
            problems.extend(taken(&mut names, &destination.name, &key));
        }
        for (at, external) in self.external.iter().enumerate() {
            let key = format!("backup.external[{at}]");
            if let Some(problem) = url_problem(&external.url, &external.s3) {
                problems.push((format!("{key}.url"), format!("{:?}: {problem}", external.url)));
            }
            problems.extend(taken(&mut names, &external.name, &key));
        }
        for text in &self.encryption.recipients {
            if let Err(error) = recipient(text) {
                problems.push(("backup.encryption.recipients".to_owned(), error.to_string()));
            }
        }
        if !(1..=19).contains(&self.compression_level) {
            let why = format!("{} is not one of 1 to 19", self.compression_level);
            problems.push(("backup.compression-level".to_owned(), why));
        }
        problems
    }
}

fn url_problem(url: &str, s3: &S3Config) -> Option<String> {
    StoreConfig { url: url.to_owned(), s3: s3.clone(), ..StoreConfig::default() }.url_problem()
}

/// Series and commands tell places apart by their names.
fn taken<'a>(names: &mut Vec<&'a str>, name: &'a str, key: &str) -> Option<(String, String)> {
    if names.contains(&name) {
        return Some((format!("{key}.name"), format!("{name:?} is the name of another one")));
    }
    names.push(name);
    None
}

/// Restores on trial: an etcd is started from the newest backup of each cluster, on loopback, and asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DrillConfig {
    /// Off where nothing may be started. Without an etcd here there is none, either.
    pub enabled: bool,
    pub every: ConfigDuration,
    /// The etcd to start; looked for on the PATH when absent.
    pub etcd: Option<PathBuf>,
}

impl Default for DrillConfig {
    fn default() -> Self {
        Self { enabled: true, every: ConfigDuration(Duration::from_secs(7 * 86_400)), etcd: None }
    }
}

/// A place for backups, with a failure of its own: another bucket, another region, another account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DestinationConfig {
    /// How commands, series and messages call it.
    pub name: String,
    /// As `store.url`; backups lie below it in `backups/`.
    pub url: String,
    #[serde(default)]
    pub s3: S3Config,
    /// Nobody can delete a backup there for so long, us included.
    pub object_lock: Option<LockConfig>,
}

/// Client-side encryption.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EncryptionConfig {
    /// age public keys (`age1…`); backups are encrypted when there is one. Keep one whose secret is offline.
    pub recipients: Vec<String>,
    /// Where secret keys (`AGE-SECRET-KEY-1…`) are, for verifying and restoring. A host without one makes backups all the
    /// same, and cannot verify them beyond L0.
    pub identities: Vec<SecretRef>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named_by_its_key() {
        let text = r#"
            compression-level = 30
            [[destination]]
            name = "a"
            url = "ftp://x"
            [[destination]]
            name = "a"
            url = "/backups"
            object-lock = { for = "7d", mode = "compliance" }
            [[external]]
            name = "a"
            cluster = "c"
            url = "s3://"
            every = "1d"
            [encryption]
            recipients = ["nobody"]
        "#;
        let config: BackupConfig = toml::from_str(text).expect("it can be read");
        let keys: Vec<String> = config.problems().into_iter().map(|(key, _)| key).collect();
        let expected = [
            "backup.destination[0].url",
            "backup.destination[1].object-lock",
            "backup.destination[1].name",
            "backup.external[0].url",
            "backup.external[0].name",
            "backup.encryption.recipients",
            "backup.compression-level",
        ];
        assert_eq!(keys, expected);
        assert!(BackupConfig::default().problems().is_empty());
    }
}
