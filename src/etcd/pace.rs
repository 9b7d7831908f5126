//! How fast one member is asked: a token bucket, and a breaker that leaves a dead member alone.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::ErrorKind;

/// Requests that may go out at once when nothing was asked for a while: one full reading.
const BURST: f64 = 8.0;
/// Failures in a row after which the breaker opens.
const FAILURES_TO_REST: u32 = 3;
const FIRST_REST: Duration = Duration::from_secs(1);
/// Kept short: a member that is back should be seen back within a few polls.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Paces the requests to one member.
#[derive(Debug)]
pub struct Pace {
    per_second: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    filled: Instant,
    failures: u32,
    resting: Option<Rest>,
}

#[derive(Debug, Clone)]
struct Rest {
    until: Instant,
    kind: ErrorKind,
    last: String,
}

impl Pace {
    /// At most `per_second` requests per second in the long run.
    pub fn new(per_second: f64) -> Self {
        let state = State { tokens: BURST, filled: Instant::now(), failures: 0, resting: None };
        Self { per_second, state: Mutex::new(state) }
    }

    /// Takes one token; the time to wait before the request may go out.
    pub fn take(&self, now: Instant) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(state.filled).as_secs_f64() * self.per_second;
        state.tokens = (state.tokens + gained).min(BURST) - 1.0;
        state.filled = state.filled.max(now);
        if state.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-state.tokens / self.per_second)
        }
    }

    /// While the breaker is open: how long it stays so, and the failure that opened it.
    pub fn rest(&self, now: Instant) -> Option<(Duration, ErrorKind, String)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = state.resting.as_ref().filter(|rest| rest.until > now)?;
        Some((rest.until - now, rest.kind, rest.last.clone()))
    }

    /// The member answered, be it with a refusal.
    pub fn answered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = 0;
        state.resting = None;
    }

    /// The member did not answer; from the third time on it is left alone, twice as long each time.
    pub fn failed(&self, now: Instant, kind: ErrorKind, last: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        let Some(doublings) = state.failures.checked_sub(FAILURES_TO_REST) else { return };
        let rest = FIRST_REST.saturating_mul(1 << doublings.min(6)).min(LONGEST_REST);
        // Jitter of up to a fifth: members of one cluster that died together are not retried together.
        let jitter = f64::from(u8::try_from(RandomState::new().hash_one(last) % 100).unwrap_or(0)) / 500.0;
        let until = now + rest.mul_f64(1.0 - jitter);
        state.resting = Some(Rest { until, kind, last: last.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_run_rate_holds_after_the_burst() {
        let pace = Pace::new(2.0);
        let start = Instant::now();
        let mut now = start;
        for _ in 0..8 {
            assert_eq!(pace.take(now), Duration::ZERO);
        }
        for n in 1..=20_u32 {
            now += pace.take(now);
            assert!((now - start).as_secs_f64() >= f64::from(n) * 0.5 - 0.02, "request {n} went out early");
        }
    }

    /// The promise for hours of outage: what a member that is away costs, in tries and in memory.
    #[test]
    fn a_member_that_is_away_for_hours_is_tried_at_most_450_times_an_hour() {
        let pace = Pace::new(2.0);
        let start = Instant::now();
        let mut tries = [0; 6];
        // A tick each two seconds asks for Status, and each fifth for two reads more.
        for tick in 0..6 * 1_800_u32 {
            let now = start + Duration::from_secs(2) * tick;
            for _ in 0..(if tick % 5 == 0 { 3 } else { 1 }) {
                if pace.rest(now).is_none() {
                    tries[usize::try_from(tick / 1_800).expect("small")] += 1;
                    pace.failed(now, ErrorKind::Unreachable, "refused");
                }
            }
        }
        assert!(tries.iter().all(|tries| (300..=450).contains(tries)), "{tries:?}");
        let state = pace.state.lock().expect("whole");
        // One failure is remembered, however many there were.
        assert_eq!(state.resting.as_ref().map(|rest| rest.last.len()), Some("refused".len()));
        drop(state);
        // Back again, it is asked at once.
        pace.answered();
        assert!(pace.rest(start + Duration::from_secs(21_600)).is_none());
    }

    #[test]
    fn a_dead_member_is_left_alone_and_comes_back() {
        let pace = Pace::new(2.0);
        let mut now = Instant::now();
        pace.failed(now, ErrorKind::Unreachable, "refused");
        pace.failed(now, ErrorKind::Unreachable, "refused");
        assert!(pace.rest(now).is_none());
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            pace.failed(now, ErrorKind::Unreachable, "refused");
            let (wait, kind, _) = pace.rest(now).expect("open");
            assert_eq!(kind, ErrorKind::Unreachable);
            longest = longest.max(wait);
            now += wait;
            assert!(pace.rest(now).is_none(), "half open after its time");
        }
        assert!(longest > Duration::from_secs(7) && longest <= LONGEST_REST, "{longest:?}");
        pace.failed(now, ErrorKind::Timeout, "x");
        pace.answered();
        assert!(pace.rest(now).is_none());
    }
}
