//! The continuous loop that watches the clusters, and the head it keeps in memory.

mod buffer;
mod config;
mod head;

pub use buffer::{Buffer, Flushed};
pub use config::WatchConfig;
pub use head::{Head, HeadSample, HeadStats, SampleKind, full_labels};
