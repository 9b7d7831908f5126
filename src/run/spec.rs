//! What a job is: name, schedule, limits, and the function that does it.

use std::pin::Pin;
use std::time::Duration;

use super::Context;

/// The future a job returns.
pub type JobFuture = Pin<Box<dyn Future<Output = anyhow::Result<Summary>> + Send>>;

/// Everything the hosts need to know about a job. Each file of `jobs/` exports one as `JOB`.
#[derive(Clone, Copy)]
pub struct JobSpec {
    /// File stem = command-line argument = ledger key = `job_runs.job`.
    pub name: &'static str,
    /// One line for `jobs` and the help text.
    pub about: &'static str,
    /// When it runs unless `[jobs.<name>] schedule` says otherwise.
    pub when: When,
    /// A run starts up to this much after its slot, by a hash of its name, so that jobs of one minute
    /// do not all start in the same second.
    pub jitter: Duration,
    /// What happens to a slot that passed while no host was up.
    pub catch_up: CatchUp,
    /// Whether it also runs as soon as something changed that people should see.
    pub on_change: bool,
    /// Whether it runs although the ledger cannot be used: watching and telling do not wait for a full disk.
    pub fails_open: bool,
    /// After this the run is stopped and recorded as timed out.
    pub timeout: Duration,
    /// Where it can run.
    pub hosts: &'static [Host],
    pub run: fn(Context) -> JobFuture,
}

/// When a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// From start to shutdown, supervised.
    Continuous,
    /// A cron expression with six fields, UTC.
    Cron(&'static str),
}

/// What happens to a slot that passed while no host was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    Skip,
    /// The newest missed slot is run once at start.
    Once,
}

/// Where a job executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Daemon,
    /// `run <job>` by a person or by cron.
    Cli,
    Lambda,
}

impl Host {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Cli => "cli",
            Self::Lambda => "lambda",
        }
    }
}

/// What a run did: one line for the ledger, and the errors of the parts that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub text: String,
    pub errors: Vec<String>,
}

impl Summary {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), errors: Vec::new() }
    }

    /// Adds the errors of parts that failed; the run then counts as partial.
    #[must_use]
    pub fn with_errors(mut self, errors: impl IntoIterator<Item = String>) -> Self {
        self.errors.extend(errors);
        self
    }
}
