//! Benchmarks of a cluster: load of our own making, measured from when each request was due.
//!
//! Owns: the loads and their options, the engine that sends them, the prefix they write below and its clean-up, the
//! governor that stops a run before it harms, and what a run's figures mean beside others'.
//! Refuses: the store and the clock (times are arguments), and printing: [`text`] says what a report reads like.

pub mod baseline;
mod config;
mod engine;
mod error;
pub mod etcdctl;
mod governor;
mod ground;
mod keys;
mod load;
pub mod options;
mod recorder;
pub mod regression;
mod run;
pub mod text;

pub use config::{BenchConfig, Profile};
pub use engine::{Dial, Stage};
pub use error::BenchError;
pub use governor::{GovernorConfig, Verdict};
pub use ground::{Leftover, ROOT, clear_left, defragment, leftovers};
pub use options::{Driving, Operation, Order};
pub use recorder::{QUANTILES, ten_steps};
pub use run::{Assignment, run};

#[cfg(test)]
pub(crate) mod tests;
