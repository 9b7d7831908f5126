//! The `[inspect]` section.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::unit::ConfigDuration;

/// How often what is expensive is looked at; the job's schedule says how often the rest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct InspectConfig {
    /// Hashes of all members' data. Each member reads all of its keys for it: about a second per GiB.
    pub hash_interval: ConfigDuration,
}

impl Default for InspectConfig {
    fn default() -> Self {
        Self { hash_interval: ConfigDuration(Duration::from_secs(86_400)) }
    }
}
