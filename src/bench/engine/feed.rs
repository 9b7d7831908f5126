//! Which request comes next, and when it is due.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

use super::Crew;

/// The requests of one thread.
pub(super) struct Feed {
    crew: Arc<Crew>,
    thread: u64,
    threads: u64,
    total: Option<u64>,
    duration: Duration,
    /// With a rate: requests that are due and nobody has taken.
    due: Semaphore,
    /// With a rate: how many were taken, and when the first was due.
    taken: Cell<u64>,
    start: Cell<Option<Instant>>,
    is_over: Cell<bool>,
}

impl Feed {
    pub(super) fn new(crew: &Arc<Crew>, thread: usize, total: Option<u64>, duration: Duration) -> Self {
        Self {
            crew: Arc::clone(crew),
            thread: thread as u64,
            threads: crew.threads as u64,
            total,
            duration,
            due: Semaphore::new(0),
            taken: Cell::new(0),
            start: Cell::new(None),
            is_over: Cell::new(false),
        }
    }

    /// The next request's number and, with a rate, when it is due. `None` when there is none any more.
    pub(super) async fn next(&self) -> Option<(u64, Option<Instant>)> {
        let Some(rate) = self.crew.plan.rate else {
            if self.is_over.get() {
                return None;
            }
            let n = self.crew.closed.fetch_add(1, Ordering::Relaxed);
            return self.total.is_none_or(|total| n < total).then_some((n, None));
        };
        self.due.acquire().await.ok()?.forget();
        let taken = self.taken.get();
        self.taken.set(taken + 1);
        let n = self.number(taken);
        if self.share().is_some_and(|share| taken + 1 >= share) {
            self.due.close();
        }
        Some((n, Some(self.start.get()? + Duration::from_secs_f64(n as f64 / rate))))
    }

    /// Threads take turns.
    fn number(&self, taken: u64) -> u64 {
        taken * self.threads + self.thread
    }

    /// How many of the total are this thread's.
    fn share(&self) -> Option<u64> {
        let total = self.total?;
        Some(total.saturating_sub(self.thread).div_ceil(self.threads))
    }

    /// Hands requests out as they become due, until the time is over or somebody stops it.
    pub(super) async fn pace(self: std::rc::Rc<Self>, start: Instant) {
        self.start.set(Some(start));
        let end = tokio::time::Instant::from_std(start + self.duration);
        let hand_out = async {
            match self.crew.plan.rate {
                Some(rate) => self.hand_out(start, rate).await,
                None => std::future::pending().await,
            }
        };
        let handed_out = async {
            hand_out.await;
            // The last one is due; who takes it closes the feed.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = handed_out => {}
            () = tokio::time::sleep_until(end) => {}
            () = self.crew.dial.stop.cancelled() => {}
            () = self.crew.finished.cancelled() => {}
        }
        self.is_over.set(true);
        self.due.close();
    }

    async fn hand_out(&self, start: Instant, rate: f64) {
        if self.share() == Some(0) {
            self.due.close();
            return;
        }
        let timer = Timer::new();
        let mut handed = 0_u64;
        while self.share().is_none_or(|share| handed < share) {
            let elapsed = start.elapsed().as_secs_f64();
            // Number n is due at n / rate.
            let mut now_due = 0;
            while self.share().is_none_or(|share| handed < share)
                && self.number(handed) as f64 <= elapsed * rate
            {
                handed += 1;
                now_due += 1;
            }
            self.due.add_permits(now_due);
            let next = Duration::from_secs_f64(self.number(handed) as f64 / rate);
            timer.wait(next.saturating_sub(start.elapsed())).await;
        }
    }
}

/// Waits to the microsecond; tokio's own timers go by milliseconds.
struct Timer(Option<AsyncFd<OwnedFd>>);

impl Timer {
    fn new() -> Self {
        let made = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        #[expect(
            deprecated,
            reason = "its replacement is unsafe to call; what new() cannot rule out, OwnedFd does"
        )]
        Self(made.ok().and_then(|fd| AsyncFd::new(fd).ok()))
    }

    async fn wait(&self, time: Duration) {
        if time.is_zero() {
            tokio::task::yield_now().await;
            return;
        }
        let Some(timer) = &self.0 else {
            tokio::time::sleep(time).await;
            return;
        };
        let value = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().max(1).into(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        if timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once).is_err() {
            tokio::time::sleep(time).await;
            return;
        }
        if let Ok(mut guard) = timer.readable().await {
            let mut expirations = [0; 8];
            let _ = rustix::io::read(timer.get_ref(), &mut expirations);
            guard.clear_ready();
        }
    }
}
