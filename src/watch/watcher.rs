//! All clusters together: start, rounds, flush, stop.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::buffer::{Buffer, Flushed};
use super::cluster::{ClusterWatch, Tick};
use super::config::WatchConfig;
use super::freshness::Freshness;
use super::head::Head;
use super::judge::{Judge, Judged};
use super::polling::or_panic;
use super::roster::{Change, Roster, Target};
use super::sending::send_when_told;
use super::shared::{Shared, owned, scrape_interval_ms};
use super::view::View;
use crate::deliver::DeadMan;
use crate::model::{ClusterName, chain};
use crate::rules::{self, RuleGroup};
use crate::store::{Store, StoreError, Writer, samples};

/// Samples read back at start, at most.
const REFILL_SAMPLES: usize = 5_000_000;

/// What a watch is made from.
pub struct Setup {
    pub targets: Vec<Target>,
    pub groups: Vec<RuleGroup>,
    pub config: WatchConfig,
    pub store: Store,
    pub writer: Writer,
    pub judge: Arc<Judge>,
    /// Pinged while everything is fresh.
    pub dead_man: Option<Arc<DeadMan>>,
}

/// The sentinel.
pub struct Watch {
    clusters: Vec<ClusterWatch>,
    changes: Option<mpsc::Receiver<Change>>,
    shared: Arc<Shared>,
}

impl Watch {
    /// Refills the head from the store, so that `for` and rates survive a restart. A store that cannot be read
    /// keeps nobody from watching.
    pub async fn start(setup: Setup, now_ms: i64) -> Self {
        let recorded = rules::recorded_metrics(&setup.groups);
        let (groups, interval_ms) = (owned(setup.groups), scrape_interval_ms(&setup.config));
        let wanted = rules::selections(&groups, 0, interval_ms);
        let targets = setup.targets.into_iter();
        let clusters: Vec<ClusterWatch> = targets.map(|target| target.watch(&setup.config)).collect();
        let names: Vec<ClusterName> = clusters.iter().map(|cluster| cluster.name().clone()).collect();
        let max_bytes = usize::try_from(setup.config.head_max_bytes.0).unwrap_or(usize::MAX);
        let head = Head::new([], wanted, max_bytes);
        names.iter().for_each(|name| head.begin(name.clone()));
        let at_now = rules::selections(&groups, now_ms, interval_ms);
        match samples::load(&setup.store, &at_now, REFILL_SAMPLES).await {
            Ok(refill) => {
                let stored = refill.series.iter().cloned().collect();
                head.refill(setup.judge.refill(stored, &recorded).await);
            }
            Err(error) => {
                warn!(error = chain(&error), "the stored samples cannot be read, rules start without a past");
            }
        }
        let shared = Shared {
            head,
            buffer: Buffer::default(),
            judge: setup.judge,
            groups: Mutex::new(Arc::new(groups)),
            unread: Mutex::default(),
            scope: Mutex::default(),
            config: setup.config,
            store: setup.store,
            writer: setup.writer,
            to_send: Arc::default(),
            freshness: Freshness::default(),
            dead_man: setup.dead_man,
            view: View::default(),
        };
        shared.begin(clusters.iter());
        Self { clusters, changes: None, shared: Arc::new(shared) }
    }

    /// While it runs, clusters come and go as these changes say.
    #[must_use]
    pub fn with_changes(mut self, changes: mpsc::Receiver<Change>) -> Self {
        self.changes = Some(changes);
        self
    }

    /// What this watch sees, also while it runs.
    pub fn view(&self) -> View {
        self.shared.view.clone()
    }

    /// One round over all clusters at a given instant: read what is due, judge, no flush. For `collect` and for
    /// tests with a clock of their own.
    pub async fn round(&mut self, now_ms: i64) -> (Vec<Tick>, Judged) {
        let shared = &self.shared;
        let ticks = self.clusters.iter_mut().map(async |cluster| {
            let name = cluster.name().clone();
            let ticked = or_panic(shared.tick(cluster, now_ms)).await;
            ticked.unwrap_or_else(|panic| Tick::failed(name, now_ms, panic))
        });
        let ticks = futures::future::join_all(ticks).await;
        let judged = shared.judge(now_ms).await;
        (ticks, judged)
    }

    /// One reading of every cluster, flushed at once; without samples where another watch writes them.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn collect(&mut self, now_ms: i64, with_samples: bool) -> Result<Vec<Tick>, StoreError> {
        let (ticks, _) = self.round(now_ms).await;
        if !with_samples {
            self.shared.buffer.discard_samples();
        }
        self.flush(now_ms).await?;
        Ok(ticks)
    }

    /// Writes what is in the buffer.
    ///
    /// # Errors
    /// When the store cannot be written; the buffer keeps what was not.
    pub async fn flush(&self, now_ms: i64) -> Result<Flushed, StoreError> {
        self.shared.buffer.flush(&self.shared.store, &self.shared.writer, now_ms).await
    }

    /// Sends what waits in the outbox.
    pub async fn sweep(&self, now_ms: i64) -> crate::deliver::SweepReport {
        self.shared.judge.deliverer().sweep(now_ms).await
    }

    /// Runs until `shutdown` resolves, then flushes. `now_ms` is the clock; `changed` is called after
    /// the first flush and whenever something was committed that pages should show.
    pub async fn run(
        self,
        now_ms: impl Fn() -> i64 + Clone + Send + Sync + 'static,
        shutdown: tokio_util::sync::CancellationToken,
        changed: impl Fn() + Send,
    ) {
        let (hints, mut hinted) = mpsc::channel::<()>(1);
        let mut roster = Roster::new(Arc::clone(&self.shared), now_ms.clone(), hints);
        roster.begin(self.clusters).await;
        let mut changes = self.changes;
        let (judge, told) = (Arc::clone(&self.shared.judge), Arc::clone(&self.shared.to_send));
        let sender = tokio::spawn(send_when_told(judge, told, now_ms.clone(), shutdown.clone()));
        if let Some(switch) = &self.shared.dead_man {
            let (shared, switch) = (Arc::clone(&self.shared), Arc::clone(switch));
            let hold = hold(shared, switch, now_ms.clone());
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(hold));
        }
        self.shared.beat(now_ms()).await;
        let local = self.shared.store.local_path().is_some();
        let mut judge = interval(self.shared.config.scrape_interval.0);
        let mut flush = interval(self.shared.config.flush_interval(local));
        // The first segment comes early, so that a new user has a page within the first seconds.
        flush.reset_after(Duration::from_secs(3));
        let mut first = true;
        let mut seen_change = false;
        let started = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = judge.tick() => {}
                Some(()) = hinted.recv() => seen_change = true,
                Some(change) = next(&mut changes) => {
                    roster.apply(change).await;
                    seen_change = true;
                }
                _ = flush.tick() => {
                    self.shared.beat(now_ms()).await;
                    self.shared.flush_and_log(now_ms()).await;
                    if std::mem::take(&mut first) {
                        changed();
                    }
                    continue;
                }
            }
            if self.shared.view.rests() {
                continue;
            }
            // What was stored before a pause is old: judged by it alone, what fires would become unknown for a moment.
            if self.shared.has_unread() && started.elapsed() < FIRST_READINGS {
                continue;
            }
            let transitions = self.shared.judge_and_log(now_ms()).await;
            if transitions {
                self.shared.to_send.notify_one();
                self.shared.view.ring();
            }
            if transitions || std::mem::take(&mut seen_change) {
                self.shared.flush_news_and_log(now_ms()).await;
                changed();
            }
        }
        roster.close().await;
        if tokio::time::timeout(SEND_AT_END, sender).await.is_err() {
            warn!(
                "notifications being sent at the end are abandoned; the next sweep of any host repeats them"
            );
        }
        self.shared.flush_and_log(now_ms()).await;
        self.shared.retire().await;
    }
}

/// How long the first evaluation waits for the first reading of a cluster that does not answer.
const FIRST_READINGS: Duration = Duration::from_secs(10);

/// How long notifications that are being sent may take once the process shall end.
const SEND_AT_END: Duration = Duration::from_secs(15);

/// Pings the dead man's switch while everything is fresh, and says once when it no longer does.
async fn hold(shared: Arc<Shared>, switch: Arc<DeadMan>, now_ms: impl Fn() -> i64) {
    let mut ticks = interval(switch.interval());
    let mut held = false;
    loop {
        ticks.tick().await;
        let stale = shared.freshness.stale(shared.limits(), now_ms());
        if stale.is_none()
            && let Err(error) = switch.ping().await
        {
            warn!("the dead man's switch was not reached: {error}");
        }
        match &stale {
            Some(why) if held => warn!("the dead man's switch is let go: {why}"),
            None if !held => info!("the dead man's switch is held"),
            _ => {}
        }
        held = stale.is_none();
    }
}

/// The next change of the set; `None` where there are none and never will be.
async fn next(changes: &mut Option<mpsc::Receiver<Change>>) -> Option<Change> {
    changes.as_mut()?.recv().await
}

fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    // Ticks missed while something took long are not made up for.
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval
}
