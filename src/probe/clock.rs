//! How far a member's clock is from ours, by the `Date` of its answers.
//!
//! The header has whole seconds, cut off: the member wrote it within a second after it, and between our question and
//! its answer. Each answer so gives a range; what all ranges of some minutes have in common is narrower.

use std::collections::VecDeque;

use crate::model::ClockOffset;

/// Answers older than this are forgotten: clocks drift, and are set.
const WINDOW_MS: i64 = 300_000;

/// What recent answers allow.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    /// When it was answered, and the least and the greatest offset that fit, all ms.
    answers: VecDeque<(i64, i64, i64)>,
}

/// A `Date` and when it was written by our own clock, ms since the epoch: not before and not after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dated {
    pub(super) date_ms: i64,
    pub(super) asked_ms: i64,
    pub(super) answered_ms: i64,
}

impl Clock {
    /// The offset after this answer; positive where the member's clock is ahead.
    pub(super) fn observe(&mut self, at: Dated) -> ClockOffset {
        let (least, greatest) = (at.date_ms - at.answered_ms, at.date_ms + 1_000 - at.asked_ms);
        self.answers.retain(|(answered_ms, _, _)| at.answered_ms - answered_ms < WINDOW_MS);
        self.answers.push_back((at.answered_ms, least, greatest));
        let fold = |(low, high): (i64, i64), (_, least, greatest): &(i64, i64, i64)| {
            (low.max(*least), high.min(*greatest))
        };
        let (mut low, mut high) = self.answers.iter().fold((i64::MIN, i64::MAX), fold);
        if low > high {
            // A clock was set: what came before says nothing of now.
            self.answers.clear();
            self.answers.push_back((at.answered_ms, least, greatest));
            (low, high) = (least, greatest);
        }
        ClockOffset { seconds: (low + high) as f64 / 2_000.0, within_seconds: (high - low) as f64 / 2_000.0 }
    }
}

/// The instant of an HTTP date, ms since the epoch.
pub(super) fn http_date_ms(text: &str) -> Option<i64> {
    Some(chrono::DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the member writes at our `now_ms`, being `ahead_ms` ahead, in an answer that takes `took_ms`.
    fn dated(now_ms: i64, ahead_ms: i64, took_ms: i64) -> Dated {
        let theirs = now_ms + took_ms / 2 + ahead_ms;
        Dated { date_ms: theirs - theirs.rem_euclid(1_000), asked_ms: now_ms, answered_ms: now_ms + took_ms }
    }

    #[test]
    fn the_true_offset_is_always_within_the_range_and_the_range_narrows() {
        for ahead_ms in [-90_000, -700, 0, 3, 499, 2_345] {
            let mut clock = Clock::default();
            let mut last = None;
            for n in 0..20 {
                let found = clock.observe(dated(1_000_000 + n * 15_057, ahead_ms, 4));
                let off = found.seconds - ahead_ms as f64 / 1e3;
                assert!(off.abs() <= found.within_seconds + 1e-9, "{ahead_ms}: {found:?}");
                last = Some(found);
            }
            assert!(last.expect("some").within_seconds < 0.06, "{ahead_ms}: {last:?}");
        }
    }

    #[test]
    fn a_clock_that_is_set_is_believed_at_once() {
        let mut clock = Clock::default();
        for n in 0..10 {
            clock.observe(dated(n * 15_000, 5_000, 10));
        }
        let found = clock.observe(dated(150_000, 0, 10));
        assert!(found.seconds.abs() <= found.within_seconds, "{found:?}");
    }

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(http_date_ms("Mon, 23 Nov 2026 12:00:00 GMT"), Some(1_795_435_200_000));
        assert_eq!(http_date_ms("yesterday"), None);
    }
}
