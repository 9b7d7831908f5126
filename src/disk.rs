//! Disks, as etcd needs them: how long it takes to make data durable, what the device is, who else uses it.
//!
//! Owns: the built-in probe, fio's jobs and what they say, the facts of a device, what all that means. Refuses to measure
//! where a running etcd would feel it, unless told to, and leaves no file behind.

mod config;
mod device;
mod error;
mod fio;
mod neighbours;
mod pattern;
mod probe;
mod run;
mod scratch;
pub mod text;
mod verdict;

pub use config::DiskConfig;
pub use device::{Machine, device_of};
pub use error::DiskError;
pub use fio::{Job, parse as parse_fio};
pub use neighbours::{Neighbour, neighbours};
pub use pattern::{Snapshot, snapshot};
pub use probe::{APPENDS, NAME as PROBE, ProbeOptions, probe};
pub use run::{Assignment, Dial, LocalMember, Order, Stage, run};
pub use scratch::clean;
pub use verdict::{CRITICAL_P99, READY_P99, SOURCE, judge, verdict_of};
