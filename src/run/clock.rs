//! The one place that reads the time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where "now" comes from. Jobs and tests get it as a value, so a pipeline can run at a fixed instant.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    #[default]
    System,
    /// Stands still until it is set: for tests.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now_ms`.
    pub fn fixed(now_ms: i64) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(now_ms)))
    }

    /// Moves a fixed clock; the system's clock is not ours to set, so there it does nothing.
    pub fn set(&self, now_ms: i64) {
        if let Self::Fixed(at) = self {
            at.store(now_ms, Ordering::SeqCst);
        }
    }

    /// Milliseconds since the Unix epoch, UTC.
    pub fn now_ms(&self) -> i64 {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the clock the rule points to")]
            Self::System => chrono::Utc::now().timestamp_millis(),
            Self::Fixed(at) => at.load(Ordering::SeqCst),
        }
    }
}
