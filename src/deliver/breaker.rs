//! The circuit breaker of one channel: after several failures in a row it is left alone for a while.

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// How long it stays open.
const OPEN_MS: i64 = 30_000;

/// The state of one channel in this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until_ms: i64,
    /// Half open: one send finds out whether the channel works again.
    probing: bool,
}

impl Breaker {
    /// Whether a send may be tried; [`Self::left`] says when it is over. Once the time is over one send is let
    /// through, and its failure opens the breaker again.
    pub(super) fn enter(&mut self, now_ms: i64) -> bool {
        let half_open = self.failures >= FAILURES_MAX;
        if now_ms < self.open_until_ms || (half_open && self.probing) {
            return false;
        }
        self.probing = half_open;
        true
    }

    /// A send that was let through is over, however it ended.
    pub(super) fn left(&mut self) {
        self.probing = false;
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// `retry_after_ms` is what the other side asked for.
    pub(super) fn failed(&mut self, now_ms: i64, retry_after_ms: Option<i64>) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            self.open_until_ms = now_ms.saturating_add(OPEN_MS);
        }
        if let Some(wait_ms) = retry_after_ms {
            self.open_until_ms = self.open_until_ms.max(now_ms.saturating_add(wait_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_five_failures_and_lets_one_through_later() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.failed(0, None);
        }
        assert!(breaker.enter(0) && breaker.enter(0), "closed: any number");
        breaker.failed(0, None);
        breaker.left();
        assert!(!breaker.enter(29_999) && breaker.enter(30_000));
        assert!(!breaker.enter(30_000), "half open: one at a time");
        breaker.left();
        assert!(breaker.enter(30_000), "the one was not sent after all");
        breaker.failed(30_000, None);
        breaker.left();
        assert!(!breaker.enter(30_001), "half open: one failure is enough");
        breaker.succeeded();
        assert!(breaker.enter(30_001) && breaker.enter(30_001));
        breaker.failed(40_000, Some(7_000));
        assert!(!breaker.enter(46_999) && breaker.enter(47_000), "the other side's wish counts");
    }
}
