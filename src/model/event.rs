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
    /// A new leader at a higher term.
    LeaderChanged,
    /// The raft term grew by more than the leaders that were seen: elections between two polls.
    ElectionsHeld,
    /// Members answer, and none knows a leader.
    LeaderLost,
    MemberAdded,
    MemberRemoved,
    /// A learner votes now.
    MemberPromoted,
    /// The member's process started anew.
    MemberRestarted,
    /// Members that the monitor reaches do not hear each other, or others than before.
    PartitionStarted,
    /// All members hear each other again.
    PartitionEnded,
    MemberUnreachable,
    MemberReachable,
    AlarmRaised,
    AlarmCleared,
    VersionChanged,
    /// Flags, URLs, names, certificates: details hold `before` and `after`.
    ConfigChanged,
    /// A member compacted its history.
    Compaction,
    DefragStarted,
    DefragEnded,
    /// A member saved a snapshot of its raft state.
    RaftSnapshotSaved,
    /// A member that was behind was sent the whole database.
    RaftSnapshotApplied,
    /// A backup was made; details say where it is.
    BackupDone,
    BackupFailed,
    /// A backup was read back: it says the same as the members, or nobody can tell.
    BackupVerified,
    /// A backup is damaged, or not what its manifest says.
    BackupBad,
    /// Backups went that no rule kept, or somebody wanted gone.
    BackupsDeleted,
    /// A benchmark was run.
    BenchDone,
    /// A disk was measured; details have the verdict.
    DiskChecked,
    /// Something is advised that was not before.
    AdviceOpened,
    /// A recommendation is done, or somebody decided to live with it.
    AdviceClosed,
    /// An etcd was started from a backup, on trial.
    RestoreDrill,
    /// The fleet has a new cluster, by discovery or configuration.
    ClusterAdded,
    ClusterRemoved,
    /// The monitor's own configuration: details hold `before` and `after`.
    MonitorConfigChanged,
    /// A new configuration is wrong; the old one stays.
    MonitorConfigRefused,
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
    pub const ALL: [Self; 42] = [
        Self::LeaderChanged,
        Self::ElectionsHeld,
        Self::LeaderLost,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::MemberPromoted,
        Self::MemberRestarted,
        Self::PartitionStarted,
        Self::PartitionEnded,
        Self::MemberUnreachable,
        Self::MemberReachable,
        Self::AlarmRaised,
        Self::AlarmCleared,
        Self::VersionChanged,
        Self::ConfigChanged,
        Self::Compaction,
        Self::DefragStarted,
        Self::DefragEnded,
        Self::RaftSnapshotSaved,
        Self::RaftSnapshotApplied,
        Self::BackupDone,
        Self::BackupFailed,
        Self::BackupVerified,
        Self::BackupBad,
        Self::BackupsDeleted,
        Self::BenchDone,
        Self::DiskChecked,
        Self::AdviceOpened,
        Self::AdviceClosed,
        Self::RestoreDrill,
        Self::ClusterAdded,
        Self::ClusterRemoved,
        Self::MonitorConfigChanged,
        Self::MonitorConfigRefused,
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
            Self::ElectionsHeld => "elections-held",
            Self::LeaderLost => "leader-lost",
            Self::MemberAdded => "member-added",
            Self::MemberRemoved => "member-removed",
            Self::MemberPromoted => "member-promoted",
            Self::MemberRestarted => "member-restarted",
            Self::PartitionStarted => "partition-started",
            Self::PartitionEnded => "partition-ended",
            Self::MemberUnreachable => "member-unreachable",
            Self::MemberReachable => "member-reachable",
            Self::AlarmRaised => "alarm-raised",
            Self::AlarmCleared => "alarm-cleared",
            Self::VersionChanged => "version-changed",
            Self::ConfigChanged => "config-changed",
            Self::Compaction => "compaction",
            Self::DefragStarted => "defrag-started",
            Self::DefragEnded => "defrag-ended",
            Self::RaftSnapshotSaved => "raft-snapshot-saved",
            Self::RaftSnapshotApplied => "raft-snapshot-applied",
            Self::BackupDone => "backup-done",
            Self::BackupFailed => "backup-failed",
            Self::BackupVerified => "backup-verified",
            Self::BackupBad => "backup-bad",
            Self::BackupsDeleted => "backups-deleted",
            Self::BenchDone => "bench-done",
            Self::DiskChecked => "disk-checked",
            Self::AdviceOpened => "advice-opened",
            Self::AdviceClosed => "advice-closed",
            Self::RestoreDrill => "restore-drill",
            Self::ClusterAdded => "cluster-added",
            Self::ClusterRemoved => "cluster-removed",
            Self::MonitorConfigChanged => "monitor-config-changed",
            Self::MonitorConfigRefused => "monitor-config-refused",
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

    /// Whether every witness gives the happening one id: by a raft term, a member's id, an incident's episode.
    /// The others are known by when they were seen, so only one watch may tell of them.
    pub fn is_one_to_all_witnesses(self) -> bool {
        !matches!(
            self,
            Self::MemberUnreachable
                | Self::MemberReachable
                | Self::AlarmRaised
                | Self::AlarmCleared
                | Self::VersionChanged
                | Self::RaftSnapshotSaved
                | Self::PartitionStarted
                | Self::PartitionEnded
        )
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
