//! A finding: what a rule says of one series now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Labels, Severity};

/// Whether the condition has held for the rule's `for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    Pending,
    Firing,
}

/// What a rule says of one series at one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule group's name.
    pub group: String,
    /// The rule's `alert` name; also in `labels` as `alertname`.
    pub alert: String,
    /// Series labels + the rule's labels + `alertname`, as Alertmanager would receive them.
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub value: f64,
    pub state: FindingState,
    /// Since when the condition holds, ms since the epoch.
    pub active_since_ms: i64,
}

impl Finding {
    /// Identity over time: equal labels are the same incident.
    pub fn fingerprint(&self) -> String {
        self.labels.fingerprint()
    }

    pub fn severity(&self) -> Severity {
        Severity::of_label(self.labels.get("severity").unwrap_or(""))
    }
}
