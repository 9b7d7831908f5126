//! How many sends one channel gets at once, and the pauses it asks for.
//!
//! Owns: the width of a channel in this process, over all sweeps. Refuses: deciding what is sent, and giving
//! a channel up (the breaker does).
//!
//! A channel that asks for a pause (429 with `Retry-After`) gets it from everybody, then one send at a time;
//! the width doubles with each send that is taken, as TCP's slow start does.

use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::lock;

#[derive(Debug)]
pub(super) struct Lanes {
    widest: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    busy: usize,
    width: usize,
    resume: Option<Instant>,
}

/// The right to send once; given back when dropped.
#[derive(Debug)]
pub(super) struct Lane<'a>(&'a Lanes);

impl Lanes {
    pub(super) fn new(widest: usize) -> Self {
        let widest = widest.max(1);
        let state = State { busy: 0, width: widest, resume: None };
        Self { widest, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Waits for a free lane and the end of a pause.
    pub(super) async fn enter(&self) -> Lane<'_> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let paused = {
                let mut state = lock(&self.state);
                let paused = state.resume.filter(|resume| *resume > Instant::now());
                if paused.is_none() && state.busy < state.width {
                    state.busy = state.busy.saturating_add(1);
                    return Lane(self);
                }
                paused
            };
            match paused {
                Some(resume) => sleep_until(resume).await,
                None => changed.await,
            }
        }
    }

    /// The other side wants nothing for `wait`.
    pub(super) fn pause(&self, wait: Duration) {
        let mut state = lock(&self.state);
        state.width = 1;
        state.resume = state.resume.max(Some(Instant::now() + wait));
    }

    /// The other side took something.
    pub(super) fn widen(&self) {
        let mut state = lock(&self.state);
        state.width = state.width.saturating_mul(2).min(self.widest);
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.busy = state.busy.saturating_sub(1);
        drop(state);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn entered(lanes: &Lanes) -> Option<Lane<'_>> {
        lanes.enter().now_or_never()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_everybodys_and_the_width_grows_back() {
        let lanes = Lanes::new(4);
        let all: Vec<_> = (0..4).map(|_| entered(&lanes).expect("free")).collect();
        assert!(entered(&lanes).is_none(), "four at once");
        lanes.pause(Duration::from_secs(2));
        drop(all);
        assert!(entered(&lanes).is_none(), "paused");
        let began = Instant::now();
        let one = lanes.enter().await;
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        assert!(entered(&lanes).is_none(), "one at a time");
        lanes.widen();
        let two = entered(&lanes).expect("two at once");
        assert!(entered(&lanes).is_none());
        lanes.widen();
        lanes.widen();
        let rest = [entered(&lanes).expect("three"), entered(&lanes).expect("four")];
        assert!(entered(&lanes).is_none(), "as wide as ever and no wider");
        drop((one, two, rest));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken() {
        let lanes = Lanes::new(1);
        let first = entered(&lanes).expect("free");
        let wait = async {
            drop(lanes.enter().await);
            true
        };
        let leave = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        assert!(tokio::join!(wait, leave).0);
    }
}
