//! Events: things that happened to a cluster, found once however many witnesses there were.

use std::fmt;

use ring::digest;
use serde::{Deserialize, Serialize};

use super::ClusterName;

/// How bad something is; ordered, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// From a rule's `severity` label; anything unknown counts as a warning, never as less.
    pub fn of_label(text: &str) -> Self {
        match text {
            "critical" | "page" => Self::Critical,
            "info" | "none" => Self::Info,
            _ => Self::Warning,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    LeaderChanged,
    MemberAdded,
    MemberRemoved,
    MemberUnreachable,
    MemberReachable,
    AlarmRaised,
    AlarmCleared,
    VersionChanged,
    AlertFiring,
    AlertResolved,
    AlertAcknowledged,
    AlertGivenBack,
    SilenceStarted,
    SilenceEnded,
    MaintenanceStarted,
    MaintenanceEnded,
}

impl EventKind {
    pub const ALL: [Self; 16] = [
        Self::LeaderChanged,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::MemberUnreachable,
        Self::MemberReachable,
        Self::AlarmRaised,
        Self::AlarmCleared,
        Self::VersionChanged,
        Self::AlertFiring,
        Self::AlertResolved,
        Self::AlertAcknowledged,
        Self::AlertGivenBack,
        Self::SilenceStarted,
        Self::SilenceEnded,
        Self::MaintenanceStarted,
        Self::MaintenanceEnded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeaderChanged => "leader-changed",
            Self::MemberAdded => "member-added",
            Self::MemberRemoved => "member-removed",
            Self::MemberUnreachable => "member-unreachable",
            Self::MemberReachable => "member-reachable",
            Self::AlarmRaised => "alarm-raised",
            Self::AlarmCleared => "alarm-cleared",
            Self::VersionChanged => "version-changed",
            Self::AlertFiring => "alert-firing",
            Self::AlertResolved => "alert-resolved",
            Self::AlertAcknowledged => "alert-acknowledged",
            Self::AlertGivenBack => "alert-given-back",
            Self::SilenceStarted => "silence-started",
            Self::SilenceEnded => "silence-ended",
            Self::MaintenanceStarted => "maintenance-started",
            Self::MaintenanceEnded => "maintenance-ended",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Hash of the natural key: two witnesses of one happening produce one event.
    pub id: String,
    pub cluster: ClusterName,
    pub ts_ms: i64,
    pub kind: EventKind,
    pub severity: Severity,
    /// What it happened to: a member's instance, an alert's name.
    pub subject: String,
    /// Who did it, where known.
    pub actor: Option<String>,
    /// One sentence for people.
    pub text: String,
    pub details: serde_json::Value,
}

impl Event {
    /// 32 hexadecimal digits from (cluster, kind, subject, `occurrence`). `occurrence` is what tells two
    /// happenings of one kind apart without a clock: a raft term, an incident's episode.
    pub fn id_of(cluster: &ClusterName, kind: EventKind, subject: &str, occurrence: &str) -> String {
        let key = format!("{cluster}\n{}\n{subject}\n{occurrence}", kind.as_str());
        let hash = digest::digest(&digest::SHA256, key.as_bytes());
        hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
