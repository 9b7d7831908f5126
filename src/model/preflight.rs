//! Whether a machine is fit for a member of a cluster that is not there yet.

use serde::{Deserialize, Serialize};

use super::{Check, DiskRun, Level};

/// All that was looked at before an etcd is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preflight {
    /// The machine's name.
    pub host: String,
    /// ms since the epoch.
    pub started_ms: i64,
    /// The worst first.
    pub checks: Vec<Check>,
    /// What the checks of the disk are made of.
    pub disk: Option<DiskRun>,
    /// Round trips to the other planned members.
    pub peers: Vec<PeerTrip>,
}

/// Round trips to one planned member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerTrip {
    /// `host:port`, as given.
    pub peer: String,
    pub sent: u64,
    /// How many were answered; a refused connection is an answer.
    pub answered: u64,
    /// Seconds; absent without an answer.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    /// Why the last that was not answered was not.
    pub problem: Option<String>,
}

impl Preflight {
    /// The worst that was found. What nobody can say counts where a cluster depends on it: its disk, its clock, its network.
    pub fn level(&self) -> Level {
        let counts = |check: &&Check| {
            check.level != Level::Unknown || matches!(check.id.as_str(), "fsync" | "clock" | "round-trip")
        };
        self.checks.iter().filter(counts).map(|check| check.level).max().unwrap_or(Level::Unknown)
    }
}
