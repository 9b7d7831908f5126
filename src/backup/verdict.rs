//! What was found out about a backup after its making.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::BackupId;

/// How far a backup was looked into. Each level contains those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// The bytes are those that etcd sent: etcd's own checksum, and ours.
    L0,
    /// The database is whole: every page, in order, every record readable.
    L1,
    /// It says the same as a member did: its HashKV is that of a member at that revision.
    L2,
    /// An etcd was started from it, and said the same.
    L3,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Whether a backup may be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictState {
    /// Every check of level 2 or higher was made, and passed.
    Verified,
    /// What could be checked passed, and that is not enough: `why` says what is missing.
    Unverified,
    /// It is damaged, or not what its manifest says.
    Bad,
}

/// One verification of one copy of a backup. Created once beside the manifest, never edited; the newest counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub backup: BackupId,
    pub state: VerdictState,
    /// The highest level that was reached; `None` when not even the bytes are right, or could be read.
    pub level: Option<Level>,
    /// What is wrong or missing, a sentence each; empty when all is right.
    pub why: Vec<String>,
    /// ms since the epoch, UTC.
    pub started_ms: i64,
    pub finished_ms: i64,
    /// Of etcd-monitor.
    pub tool_version: String,
    /// What the database was found to be; `None` when it could not be read that far.
    pub found: Option<Found>,
    /// Of a restore on trial (level 3).
    pub drill: Option<Drill>,
}

/// The figures of a database, as `etcdutl snapshot status` has them, and more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// CRC-32C over all buckets, as `etcdutl snapshot status` computes it.
    pub status_hash: u32,
    /// The newest revision; compaction can make it newer than that of the newest record.
    pub revision: i64,
    pub compact_revision: i64,
    /// Entries of all buckets: `totalKey` of etcdutl up to 3.5.
    pub entries: u64,
    /// Keys alive: `totalKey` of etcdutl from 3.6 on.
    pub keys: u64,
    /// Of the database without its checksum: `totalSize` of etcdutl.
    pub bytes: u64,
    /// HashKV, and of which revision it is.
    pub hash_kv: Option<(u32, i64)>,
}

/// A restore on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// From the first byte read to the first answered read of the started etcd, ms: the recovery time to expect.
    pub recovery_ms: i64,
    /// The etcd that was started, as in `3.5.30`.
    pub etcd_version: String,
    /// Keys that were read and compared.
    pub sampled_keys: u64,
}
