//! Exit codes, documented in `etcd-monitor --help` and used by cron, CI and scripts.

use std::process::ExitCode;

/// How a command ended. `check` does not use these: it follows the Nagios convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// The work failed.
    Failed,
    /// The command line or the configuration is wrong; nothing was written.
    Usage,
    /// The work is done, but parts of it failed.
    Partial,
    /// A bug in etcd-monitor (a panic).
    Bug,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Bug => 70,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
