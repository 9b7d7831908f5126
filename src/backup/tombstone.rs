//! The decision to delete a backup.

use serde::{Deserialize, Serialize};

use super::BackupId;

/// Created once; removed when the decision is taken back, or as the last of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub backup: BackupId,
    pub by: By,
    /// ms since the epoch, UTC.
    pub condemned_ms: i64,
    /// Of etcd-monitor.
    pub tool_version: String,
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// No rule kept it; when one does again, the decision is taken back.
    Retention,
    /// Somebody asked for it.
    Command,
}
