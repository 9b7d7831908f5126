//! The continuous loop that watches the clusters.
//!
//! Owns: what is asked when, the head in memory, the flush buffer, and judging the rule groups that need no
//! more than the head holds. Refuses: connecting (`etcd`), reading (`probe`), storing formats (`store`),
//! sending (`deliver`).
//!
//! Every cluster has its own task, so a dead one costs only its own timeouts; they come and go while the watch runs.
//! One loop of the process flushes and judges.

mod buffer;
mod cluster;
mod config;
mod freshness;
mod head;
mod judge;
mod polling;
mod recorded;
mod roster;
mod schedule;
mod sending;
mod shared;
mod standing;
mod view;
mod watcher;

pub use buffer::{Batch, Buffer, Flushed};
pub use cluster::{ClusterWatch, Tick};
pub use config::WatchConfig;
pub use freshness::{FRESH_MS, blind};
pub use head::{Head, HeadStats, SampleKind, full_labels};
pub use judge::{Judge, Judged};
pub use roster::{Change, Target};
pub use sending::send_when_told;
pub use standing::is_live;
pub use view::View;
pub use watcher::{Setup, Watch};
