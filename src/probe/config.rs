//! What a scrape may cost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exposition::Keep;
use crate::model::unit::{ByteSize, ConfigDuration};

/// Limits of a `/metrics` fetch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ScrapeConfig {
    pub timeout: ConfigDuration,
    /// The largest body read, decoded. etcd sends 150 to 180 KB.
    pub max_body: ByteSize,
    /// Series beyond it are left out and counted.
    pub max_series_per_member: usize,
    /// Regular expressions for whole metric names that are not kept.
    pub drop: Vec<String>,
    /// Whether the machine is read where a member runs on the monitor's own.
    pub host_metrics: bool,
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            timeout: ConfigDuration(Duration::from_secs(10)),
            max_body: ByteSize(16 << 20),
            max_series_per_member: 10_000,
            drop: Vec::new(),
            host_metrics: true,
        }
    }
}

impl ScrapeConfig {
    /// The rules, compiled.
    ///
    /// # Errors
    /// When a drop rule is no regular expression.
    pub fn keep(&self) -> Result<Keep, regex::Error> {
        let drop = self.drop.iter().map(|rule| regex::Regex::new(&format!("^(?:{rule})$")));
        Ok(Keep { max_series: self.max_series_per_member, drop: drop.collect::<Result<_, _>>()? })
    }
}
