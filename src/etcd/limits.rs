//! What keeps the monitor from loading etcd: a token bucket and a breaker per member. Both are pure: the
//! time comes as an argument.

use std::time::Duration;

/// A token bucket: `per_second` tokens, at most `burst` at once.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_ms: i64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(per_second: f64, burst: u32) -> Self {
        Self { per_second, burst: f64::from(burst), tokens: f64::from(burst), filled_ms: i64::MIN }
    }

    /// Takes a token if there is one. A clock that jumps back refills nothing.
    pub fn take(&mut self, now_ms: i64) -> bool {
        if self.filled_ms != i64::MIN {
            let elapsed = now_ms.saturating_sub(self.filled_ms).max(0) as f64 / 1000.0;
            self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        }
        self.filled_ms = now_ms;
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }
}

/// A breaker: after `threshold` failures in a row a member is left alone for a pause that doubles up to
/// `pause_max`, so that etcd down for hours costs nothing.
#[derive(Debug, Clone)]
pub struct Breaker {
    threshold: u32,
    pause_max: Duration,
    failures: u32,
    closed_at_ms: i64,
}

impl Breaker {
    pub fn new(threshold: u32, pause_max: Duration) -> Self {
        Self { threshold, pause_max, failures: 0, closed_at_ms: i64::MIN }
    }

    /// Whether the member may be asked now.
    pub fn allows(&self, now_ms: i64) -> bool {
        now_ms >= self.closed_at_ms
    }

    /// Records how the last call went.
    pub fn record(&mut self, ok: bool, now_ms: i64) {
        if ok {
            self.failures = 0;
            self.closed_at_ms = i64::MIN;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(doublings) = self.failures.checked_sub(self.threshold) {
            let pause = Duration::from_secs(1 << doublings.min(16)).min(self.pause_max);
            self.closed_at_ms = now_ms + i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_passes() {
        let mut bucket = TokenBucket::new(2.0, 4);
        let passed = (0..100).filter(|n| bucket.take(n * 100)).count();
        assert_eq!(passed, 4 + 19, "the burst, then two a second for 9.9 s");
        assert!(!bucket.take(0), "a clock that jumps back gives nothing");
    }

    #[test]
    fn a_dead_member_is_asked_less_and_less_and_at_once_when_it_is_back() {
        let mut breaker = Breaker::new(3, Duration::from_secs(8));
        let mut asked = Vec::new();
        for second in 0..60 {
            if breaker.allows(second * 1000) {
                asked.push(second);
                breaker.record(false, second * 1000);
            }
        }
        assert_eq!(asked, [0, 1, 2, 3, 5, 9, 17, 25, 33, 41, 49, 57]);
        breaker.record(true, 60_000);
        assert!(breaker.allows(60_000));
    }
}
