//! How much one channel gets before messages are joined. `deliver` joins them.

use std::time::Duration;

use serde::Deserialize;

use crate::model::unit::ConfigDuration;

/// `alert.storm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StormConfig {
    /// So many messages one channel gets for themselves within `window`; 0 means any number.
    pub messages: usize,
    pub window: ConfigDuration,
}

impl Default for StormConfig {
    fn default() -> Self {
        Self { messages: 50, window: ConfigDuration(Duration::from_secs(600)) }
    }
}
