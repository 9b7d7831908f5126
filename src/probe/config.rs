//! The `[scrape]` section.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::unit::{ByteSize, ConfigDuration};

/// Limits of every scrape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ScrapeConfig {
    pub timeout: ConfigDuration,
    /// Decoded size of one answer.
    pub max_body: ByteSize,
    /// Series beyond this are dropped and counted.
    pub max_series_per_member: usize,
    /// Metrics whose name matches one of these regular expressions (anchored) are dropped.
    pub drop: Vec<String>,
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            timeout: ConfigDuration(Duration::from_secs(5)),
            max_body: ByteSize(16 << 20),
            max_series_per_member: 10_000,
            drop: Vec::new(),
        }
    }
}

impl ScrapeConfig {
    /// The drop rules, compiled.
    ///
    /// # Errors
    /// The first expression that does not compile.
    pub fn drop_rules(&self) -> Result<Vec<regex::Regex>, String> {
        let compile = |pattern: &String| {
            regex::Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|error| format!("drop rule {pattern:?}: {error}"))
        };
        self.drop.iter().map(compile).collect()
    }
}
