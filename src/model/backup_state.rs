//! What is known of the backups of one cluster: as the jobs found it last, for pages, commands and the table.

use serde::{Deserialize, Serialize};

use super::ClusterName;

/// All backups of one cluster, at all places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupState {
    pub cluster: ClusterName,
    /// When it was looked, ms since the epoch, UTC.
    pub seen_ms: i64,
    /// Whether the job makes them.
    pub is_backed_up: bool,
    /// When the job makes the next one, ms since the epoch.
    pub next_due_ms: Option<i64>,
    /// Between two of them, by the schedule, ms.
    pub interval_ms: Option<i64>,
    /// How the database grows, by the oldest and the newest backup of the last 30 days; bytes per day.
    pub growth_bytes_per_day: Option<f64>,
    /// The newest first.
    pub copies: Vec<BackupCopy>,
}

/// A backup at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupCopy {
    /// Of ours the id; of others' the path.
    pub id: String,
    /// The destination; of others' the source.
    pub at: String,
    /// Others make it.
    pub is_external: bool,
    /// ms since the epoch.
    pub finished_ms: i64,
    /// The database.
    pub bytes: u64,
    /// As it is stored; `None` of others', which are as they are.
    pub stored_bytes: Option<u64>,
    /// The change beside the one before at the same place: 0.1 is 10 % more.
    pub change: Option<f64>,
    pub revision: Option<i64>,
    pub is_encrypted: bool,
    /// It is going to be deleted.
    pub is_condemned: bool,
    pub state: BackupStanding,
    /// `L0` to `L3`.
    pub level: Option<String>,
    pub why: Vec<String>,
    /// When it was looked at last, ms since the epoch.
    pub looked_ms: Option<i64>,
    /// How long a restore on trial took, ms.
    pub recovery_ms: Option<i64>,
}

/// What was seen of a backup at one place: a row of the table of backups.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupRow {
    pub cluster: ClusterName,
    /// When it was seen, ms since the epoch.
    pub ts_ms: i64,
    pub copy: BackupCopy,
    /// It is not there any more.
    pub is_gone: bool,
}

/// Whether a backup may be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupStanding {
    /// Nobody has looked at it yet.
    New,
    Verified,
    /// Nobody can tell.
    Unverified,
    Bad,
}

impl BackupStanding {
    pub const ALL: [Self; 4] = [Self::New, Self::Verified, Self::Unverified, Self::Bad];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Bad => "bad",
        }
    }
}

impl BackupState {
    /// The newest of ours, or of others' where there is none of ours; what is going to be deleted does not count.
    pub fn newest(&self) -> Option<&BackupCopy> {
        let mut copies = self.copies.iter().filter(|copy| !copy.is_condemned);
        copies.clone().find(|copy| !copy.is_external).or_else(|| copies.next())
    }

    /// Whether `other` says the same, whenever it was looked.
    pub fn is_same(&self, other: &Self) -> bool {
        Self { seen_ms: 0, ..self.clone() } == Self { seen_ms: 0, ..other.clone() }
    }

    /// What is new since `before`: copies that came, changed or went.
    pub fn changes(&self, before: Option<&Self>) -> Vec<BackupRow> {
        let same_place = |one: &BackupCopy, other: &BackupCopy| one.id == other.id && one.at == other.at;
        // Beside which it has grown changes when another goes, and is not of it.
        let bare = |copy: &BackupCopy| BackupCopy { change: None, ..copy.clone() };
        let row = |copy: &BackupCopy, is_gone| BackupRow {
            cluster: self.cluster.clone(),
            ts_ms: self.seen_ms,
            copy: bare(copy),
            is_gone,
        };
        let known = before.map(|before| before.copies.as_slice()).unwrap_or_default();
        let is_news = |copy: &&BackupCopy| !known.iter().any(|known| bare(known) == bare(copy));
        let went = known.iter().filter(|known| !self.copies.iter().any(|copy| same_place(copy, known)));
        let came = self.copies.iter().filter(is_news).map(|copy| row(copy, false));
        came.chain(went.map(|copy| row(copy, true))).collect()
    }
}
