//! An incident: the findings of one fingerprint joined over time. The transitions are in `alert`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::unit::rfc3339;
use super::{Labels, Severity};

/// Where an incident stands. PENDING is not a state of an incident: it starts at FIRING.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum IncidentState {
    Firing,
    Acked,
    /// Its evaluation is incomplete: silence is not health, so it neither fires anew nor resolves.
    Unknown,
    Resolved,
}

impl IncidentState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "FIRING",
            Self::Acked => "ACKED",
            Self::Unknown => "UNKNOWN",
            Self::Resolved => "RESOLVED",
        }
    }

    /// Everything but RESOLVED.
    pub fn is_active(self) -> bool {
        self != Self::Resolved
    }
}

/// One state of one incident, as its sequence holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub fingerprint: String,
    /// Counts how often this fingerprint has fired, from 1: the key of one firing-to-resolved story.
    pub episode: u64,
    pub state: IncidentState,
    pub group: String,
    pub alert: String,
    pub severity: Severity,
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    /// The expression's value when the state was entered.
    pub value: f64,
    /// When the condition began to hold (before `for`), ms since the epoch.
    pub active_since_ms: i64,
    /// When this episode fired.
    pub fired_ms: i64,
    /// When this state was entered.
    pub changed_ms: i64,
    /// Why it is RESOLVED or UNKNOWN, where that is not plain ("member removed", "no data from …").
    pub reason: Option<String>,
    /// The id of the silence that keeps it from being told at the time of reading. The store's sequence
    /// never holds it: silences come and go without the incident changing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced_by: Option<String>,
}

impl Incident {
    /// What people type to name it: the first 8 digits of the fingerprint.
    pub fn short_id(&self) -> &str {
        self.fingerprint.get(..8).unwrap_or(&self.fingerprint)
    }

    /// Its state as people read it: SILENCED where it would fire, but nobody is told.
    pub fn state_word(&self) -> &'static str {
        match self.state {
            IncidentState::Firing | IncidentState::Unknown if self.silenced_by.is_some() => "SILENCED",
            state => state.as_str(),
        }
    }

    /// Whether it goes on and nobody has taken it on.
    pub fn awaits_somebody(&self) -> bool {
        matches!(self.state, IncidentState::Firing | IncidentState::Unknown)
    }

    pub fn cluster(&self) -> Option<&str> {
        self.labels.get("cluster")
    }

    /// The annotation `summary`, or else the alert's name.
    pub fn summary(&self) -> &str {
        self.annotations.get("summary").map_or(self.alert.as_str(), String::as_str)
    }

    /// `FIRING since 2026-01-02T03:04:05.000Z`.
    pub fn status(&self) -> String {
        if self.state.is_active() {
            return format!("{} since {}", self.state.as_str(), rfc3339(self.active_since_ms));
        }
        let why = self.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("RESOLVED at {}{why}", rfc3339(self.changed_ms))
    }
}
