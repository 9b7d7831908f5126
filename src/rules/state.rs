//! What an evaluation must know of the one before it: since when conditions hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Labels;

/// The `for` state of one group: Prometheus' `ALERTS_FOR_STATE`, as one object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvalState {
    /// By the finding's fingerprint.
    pub active: BTreeMap<String, Active>,
}

/// One condition that holds, or held until so recently that it still fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Active {
    /// The rule's name.
    pub rule: String,
    /// The series' labels, before the rule adds its own: `keep_firing_for` re-templates from them.
    pub series: Labels,
    pub since_ms: i64,
    pub value: f64,
    /// Whether `for` has passed.
    pub fired: bool,
    /// The first evaluation that did not find the condition any more: `keep_firing_for` counts from there, as
    /// in Prometheus, not from the last one that did.
    #[serde(default)]
    pub gone_since_ms: Option<i64>,
}
