//! When one cluster is looked at, and what a panic in it costs: its own ticks, for a while.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::error;

use crate::model::ClusterName;

/// After a panic the cluster is left alone this long, then twice as long each time, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What is done for one cluster again and again.
pub(super) trait Ticker: Send {
    fn cluster(&self) -> &ClusterName;

    fn tick(&mut self) -> impl Future<Output = ()> + Send;
}

/// Ticks for ever, every `period`, the first time after `offset`. A tick that panics is said and followed by a
/// rest; meanwhile nothing is heard of the cluster, so what rules say of it turns UNKNOWN. Other clusters have
/// tasks of their own and do not notice.
pub(super) async fn keep_ticking(mut ticker: impl Ticker, period: Duration, offset: Duration) {
    let mut ticks = interval_at(Instant::now() + offset, period);
    // Ticks missed while something took long are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut rest = FIRST_REST;
    loop {
        ticks.tick().await;
        // What the tick left half done is a cache of what the next reading says anew, and locks recover.
        let Err(panic) = or_panic(ticker.tick()).await else {
            rest = FIRST_REST;
            continue;
        };
        error!(cluster = %ticker.cluster(), rest_seconds = rest.as_secs(), "{panic}; nothing is known of it meanwhile");
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(LONGEST_REST);
    }
}

/// When the `nth` of `count` clusters is looked at first, so that their requests do not come all at once.
pub(super) fn offset(nth: usize, count: usize, period: Duration) -> Duration {
    period.mul_f64(nth as f64 / count.max(1) as f64)
}

/// What looking at a cluster gave, or what its panic said.
pub(super) async fn or_panic<T>(look: impl Future<Output = T>) -> Result<T, String> {
    let caught = AssertUnwindSafe(look).catch_unwind().await;
    caught.map_err(|panic| format!("this is a bug: looking at the cluster panicked: {}", words(&*panic)))
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counted {
        name: ClusterName,
        /// Ticks that panic, from the start.
        panics: usize,
        ticks: Arc<AtomicUsize>,
    }

    impl Ticker for Counted {
        fn cluster(&self) -> &ClusterName {
            &self.name
        }

        async fn tick(&mut self) {
            let nth = self.ticks.fetch_add(1, Ordering::Relaxed);
            assert!(nth >= self.panics, "tick {nth}");
        }
    }

    /// The ticks of two clusters in `for_how_long`, of which the first panics `panics` times.
    async fn ticks(panics: usize, for_how_long: Duration) -> (usize, usize) {
        let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
        let mut tasks = tokio::task::JoinSet::new();
        for (name, (panics, ticks)) in ["ill", "well"].iter().zip([(panics, &counts[0]), (0, &counts[1])]) {
            let name = name.parse().expect("a name");
            let counted = Counted { name, panics, ticks: Arc::clone(ticks) };
            tasks.spawn(keep_ticking(counted, Duration::from_secs(2), Duration::ZERO));
        }
        tokio::time::sleep(for_how_long).await;
        (counts[0].load(Ordering::Relaxed), counts[1].load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_costs_its_own_cluster_a_rest_and_others_nothing() {
        let minute = Duration::from_millis(59_900);
        assert_eq!(ticks(0, minute).await, (30, 30));
        // At 0, 2 and 6 s it panics; it rests 2, 4 and 8 s, and goes on at 14 s.
        assert_eq!(ticks(3, minute).await, (3 + 23, 30));
        // For ever ill: every minute once at last, and never given up.
        let (ill, well) = ticks(usize::MAX, Duration::from_secs(3_600) - Duration::from_millis(100)).await;
        assert_eq!(well, 1_800);
        assert!((60..70).contains(&ill), "{ill}");
    }

    #[test]
    fn first_looks_are_spread_over_the_period() {
        let period = Duration::from_secs(2);
        let offsets: Vec<u128> = (0..4).map(|nth| offset(nth, 4, period).as_millis()).collect();
        assert_eq!(offsets, [0, 500, 1_000, 1_500]);
        assert_eq!(offset(0, 0, period), Duration::ZERO);
    }
}
