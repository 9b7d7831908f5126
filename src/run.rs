//! How a job comes to run: its specification, what it is given, the one guard around every execution,
//! and the hosts (daemon, Lambda, command line) that are thin adapters over that guard.
//!
//! Owns: the clock, exit codes, telemetry, scheduling. Refuses: what a single job does (`jobs/`), and
//! parsing of configuration (`config`).

pub mod ack_desk;
pub mod advice;
pub mod backups;
pub mod benches;
pub mod clock;
mod configured;
mod context;
pub mod daemon;
pub mod discovery;
pub mod disks;
mod execute;
pub mod exit_code;
pub mod inspected;
pub mod lambda;
pub mod live;
pub mod node_settings;
mod process;
pub mod reload;
pub mod signal;
pub mod site_server;
mod spec;
mod switch;
pub mod telemetry;

pub use context::{Context, Services, new_writer};
pub use execute::{Executed, SHARD, execute, execute_within};
pub use signal::shutdown_signal;
pub use spec::{CatchUp, Host, JobFuture, JobSpec, Summary, When};
pub use switch::hold_switch;
