//! The `[backup]` section.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ExternalConfig, RetentionConfig};
use crate::model::SecretRef;
use crate::model::unit::{ByteSize, ConfigDuration};
use crate::store::{LockConfig, S3Config};

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
