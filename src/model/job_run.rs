//! One execution of a job, as the run ledger and the `job_runs` table keep it.

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    /// Done, but parts failed; their errors are in `errors`.
    Partial,
    Failed,
    TimedOut,
    Panicked,
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::Done, Self::Partial, Self::Failed, Self::TimedOut, Self::Panicked];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Panicked => "panicked",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// One execution of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRun {
    pub job: String,
    pub shard: String,
    /// The instant the run was for (from its cron, UTC), ms since the epoch.
    pub slot_ms: i64,
    pub attempt: u32,
    /// `daemon`, `cli`, `lambda`.
    pub host: String,
    pub started_ms: i64,
    pub ended_ms: i64,
    pub outcome: Outcome,
    /// What the job says it did, one line.
    pub summary: String,
    pub errors: Vec<String>,
}
