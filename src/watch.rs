//! The continuous loop that watches the clusters, and the head it keeps in memory.

mod head;
pub use head::{Head, HeadSample, HeadStats, SampleKind, full_labels};
