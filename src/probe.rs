//! etcd → [`crate::model::Reading`]: every member at once, each with its own deadlines.
//!
//! Owns: what is asked of whom and how often, the `/metrics` parser, the series the probe adds, and the
//! events between two readings. Refuses: storing, judging, and failing as a whole: what went wrong is an
//! error inside the reading.

mod changes;
mod config;
mod derived;
mod exposition;
mod fallback;
mod prober;
mod target;

pub use changes::changes;
pub use config::ScrapeConfig;
pub use derived::{OWN_SERIES, derived};
pub use exposition::{ExpositionError, Parsed, SeriesCache};
pub use prober::{Parts, Prober};
