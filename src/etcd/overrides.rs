//! What of the fleet's settings is other for one cluster: how often it is asked, what is taken of its metrics, and how it
//! is backed up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::unit::{ByteSize, ConfigDuration};

/// `[cluster.watch]`: each as in `[watch]`, and as there where it is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WatchOverrides {
    pub status_interval: Option<ConfigDuration>,
    pub quorum_interval: Option<ConfigDuration>,
    pub scrape_interval: Option<ConfigDuration>,
    pub events_interval: Option<ConfigDuration>,
}

/// `[cluster.scrape]`: each as in `[scrape]`, and as there where it is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ScrapeOverrides {
    pub timeout: Option<ConfigDuration>,
    pub max_body: Option<ByteSize>,
    pub max_series_per_member: Option<usize>,
    pub drop: Option<Vec<String>>,
}

/// `[cluster.backup]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BackupOverrides {
    /// As in `[backup]` where it is absent.
    pub enabled: Option<bool>,
    /// Where members are, by instance (`host:port`): a member of the zone that the monitor runs in (`backup.zone`) is copied
    /// before others.
    pub zones: BTreeMap<String, String>,
}
