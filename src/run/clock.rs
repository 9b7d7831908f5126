//! The one place that reads the time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;

/// Where "now" comes from. Jobs and tests get it as a value, so a pipeline can run at a fixed instant.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    #[default]
    System,
    /// Stands still until it is set: for tests.
    Fixed(Arc<AtomicI64>),
    /// Goes with the runtime's time, which tests may pause and advance, from an instant on.
    Runtime { start_ms: i64, began: Instant },
}

impl Clock {
    /// A clock that stands at `now_ms`.
    pub fn fixed(now_ms: i64) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(now_ms)))
    }

    /// A clock that shows `start_ms` now and goes with the runtime's time.
    pub fn runtime(start_ms: i64) -> Self {
        Self::Runtime { start_ms, began: Instant::now() }
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
            Self::Runtime { start_ms, began } => {
                start_ms.saturating_add(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX))
            }
        }
    }
}
