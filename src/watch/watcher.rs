//! All clusters together: start, rounds, flush, stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::buffer::{Buffer, Flushed};
use super::cluster::{ClusterWatch, Tick};
use super::config::WatchConfig;
use super::freshness::{Freshness, Limits};
use super::head::Head;
use super::judge::{Judge, Judged};
use super::polling::{Ticker, keep_ticking, offset, or_panic};
use super::sending::send_when_told;
use super::view::View;
use crate::deliver::DeadMan;
use crate::model::{ClusterName, Instance, chain};
use crate::probe::ReadingSource;
use crate::rules::{self, Owner, RuleGroup, Scope};
use crate::store::{Store, StoreError, Writer, events, heartbeat, samples};

/// Samples read back at start, at most.
const REFILL_SAMPLES: usize = 5_000_000;

/// What a watch is made from.
pub struct Setup {
    /// Of each cluster where its readings come from.
    pub sources: Vec<(ClusterName, Box<dyn ReadingSource>)>,
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
    shared: Arc<Shared>,
}

/// What the cluster tasks and the common loop share.
struct Shared {
    head: Head,
    buffer: Buffer,
    judge: Arc<Judge>,
    /// The groups whose ranges the head holds.
    groups: Vec<RuleGroup>,
    scope: Mutex<BTreeMap<ClusterName, Option<BTreeSet<Instance>>>>,
    /// Clusters that were not read since the start.
    unread: Mutex<BTreeSet<ClusterName>>,
    config: WatchConfig,
    store: Store,
    writer: Writer,
    to_send: Arc<tokio::sync::Notify>,
    freshness: Freshness,
    dead_man: Option<Arc<DeadMan>>,
    view: View,
}

impl Watch {
    /// Refills the head from the store, so that `for` and rates survive a restart. A store that cannot be read
    /// keeps nobody from watching.
    pub async fn start(setup: Setup, now_ms: i64) -> Self {
        let recorded = rules::recorded_metrics(&setup.groups);
        let groups: Vec<RuleGroup> =
            setup.groups.into_iter().filter(|group| rules::owner(group, true) == Owner::Watch).collect();
        let interval_ms = i64::try_from(setup.config.scrape_interval.0.as_millis()).unwrap_or(15_000);
        let wanted = rules::selections(&groups, 0, interval_ms);
        let clusters: Vec<ClusterWatch> = setup
            .sources
            .into_iter()
            .map(|(name, source)| ClusterWatch::new(name, source, &setup.config))
            .collect();
        let names = clusters.iter().map(|cluster| cluster.name().clone());
        let max_bytes = usize::try_from(setup.config.head_max_bytes.0).unwrap_or(usize::MAX);
        let head = Head::new(names.clone(), wanted, max_bytes);
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
            groups,
            unread: Mutex::new(names.clone().collect()),
            scope: Mutex::new(names.map(|name| (name, None)).collect()),
            config: setup.config,
            store: setup.store,
            writer: setup.writer,
            to_send: Arc::default(),
            freshness: Freshness::of(clusters.iter().map(|cluster| cluster.name().clone())),
            dead_man: setup.dead_man,
            view: View::default(),
        };
        Self { clusters, shared: Arc::new(shared) }
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
        let (hints, mut hinted) = tokio::sync::mpsc::channel::<()>(1);
        let mut tasks = tokio::task::JoinSet::new();
        let (period, count) = (self.shared.config.status_interval.0, self.clusters.len());
        for (nth, cluster) in self.clusters.into_iter().enumerate() {
            let (shared, now_ms, hints) = (Arc::clone(&self.shared), now_ms.clone(), hints.clone());
            let polled =
                keep_ticking(Polled { shared, cluster, now_ms, hints }, period, offset(nth, count, period));
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(polled));
        }
        drop(hints);
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
                _ = flush.tick() => {
                    self.shared.beat(now_ms()).await;
                    self.shared.flush_and_log(now_ms()).await;
                    if std::mem::take(&mut first) {
                        changed();
                    }
                    continue;
                }
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
        tasks.shutdown().await;
        if tokio::time::timeout(SEND_AT_END, sender).await.is_err() {
            warn!(
                "notifications being sent at the end are abandoned; the next sweep of any host repeats them"
            );
        }
        self.shared.flush_and_log(now_ms()).await;
        if let Err(error) = heartbeat::retire(&self.shared.store, &self.shared.writer, SHARD).await {
            warn!(error = chain(&error), "the heartbeats of this process remain");
        }
    }
}

/// How long the first evaluation waits for the first reading of a cluster that does not answer.
const FIRST_READINGS: Duration = Duration::from_secs(10);

/// How long notifications that are being sent may take once the process shall end.
const SEND_AT_END: Duration = Duration::from_secs(15);

/// Heartbeats are per shard; all clusters are one.
const SHARD: &str = "all";

/// Whether a watch loop beats in the store.
///
/// # Errors
/// When the store cannot be listed.
pub async fn is_live(store: &Store, config: &WatchConfig, now_ms: i64) -> Result<bool, StoreError> {
    let fresh_ms = config.fresh_ms(store.local_path().is_some());
    Ok(heartbeat::owner(store, SHARD, now_ms, fresh_ms).await?.is_some())
}

/// One cluster as it is polled by the daemon.
struct Polled<C> {
    shared: Arc<Shared>,
    cluster: ClusterWatch,
    now_ms: C,
    hints: tokio::sync::mpsc::Sender<()>,
}

impl<C: Fn() -> i64 + Send + Sync> Ticker for Polled<C> {
    fn cluster(&self) -> &ClusterName {
        self.cluster.name()
    }

    async fn tick(&mut self) {
        let now_ms = (self.now_ms)();
        let tick = self.shared.tick(&mut self.cluster, now_ms).await;
        // What happened is stored at once, however long a flush may wait.
        if tick.changed || !tick.events.is_empty() {
            self.shared.view.ring();
            // A full channel means that the rules are about to be evaluated anyway.
            let _ = self.hints.try_send(());
        }
    }
}

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

fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    // Ticks missed while something took long are not made up for.
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval
}

impl Shared {
    async fn tick(&self, cluster: &mut ClusterWatch, now_ms: i64) -> Tick {
        let tick = cluster.tick(now_ms, self.view.speaks(), &self.head, &self.buffer).await;
        self.view.see(&tick.reading);
        self.freshness.read(&tick.reading);
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).remove(&tick.reading.cluster);
        self.judge.deliverer().remember_events(&tick.events);
        for event in &tick.events {
            info!(cluster = %event.cluster, kind = event.kind.as_str(), "{}", event.text);
        }
        let members: BTreeSet<Instance> =
            tick.reading.members.iter().map(|member| member.instance.clone()).collect();
        // Who was never heard of cannot have been removed: a reading that reached nobody says nothing.
        if tick.reading.cluster_id.is_some() {
            let mut scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
            scope.insert(tick.reading.cluster.clone(), Some(members));
        }
        tick
    }

    fn has_unread(&self) -> bool {
        !self.unread.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Three misses are no longer chance.
    fn limits(&self) -> Limits {
        let three = |interval: Duration| i64::try_from(interval.as_millis()).unwrap_or(60_000) * 3;
        Limits {
            read_ms: three(self.config.status_interval.0).max(15_000),
            judged_ms: three(self.config.scrape_interval.0),
            stored_ms: self.config.fresh_ms(self.store.local_path().is_some()),
        }
    }

    fn scope(&self) -> Scope {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn judge(&self, now_ms: i64) -> Judged {
        let judged = self.judge.judge(&self.groups, &self.head, &self.scope(), now_ms).await;
        self.buffer.add_events(judged.events.iter().cloned());
        self.buffer.add_recorded(&judged.recorded, now_ms);
        if judged.errors.is_empty() {
            self.freshness.judged(now_ms);
        }
        judged
    }

    /// Evaluates. True when something changed that people are to be told.
    async fn judge_and_log(&self, now_ms: i64) -> bool {
        let judged = self.judge(now_ms).await;
        for error in &judged.errors {
            warn!("{error}");
        }
        for event in &judged.events {
            info!(cluster = %event.cluster, kind = event.kind.as_str(), "{}", event.text);
        }
        judged.transitions > 0
    }

    async fn flush_and_log(&self, now_ms: i64) {
        if !self.view.speaks() {
            if let Err(error) = self.buffer.flush_events(&self.store, &self.writer, now_ms).await {
                warn!(%error, "the events could not be written, they are kept");
            }
            return;
        }
        match self.buffer.flush(&self.store, &self.writer, now_ms).await {
            Ok(flushed) => tracing::debug!(samples = flushed.samples, readings = flushed.readings, "flushed"),
            Err(error) => warn!(error = chain(&error), "the segment could not be written, it is kept"),
        }
    }

    /// What happened is stored at once; samples wait for their segment, however much happens.
    async fn flush_news_and_log(&self, now_ms: i64) {
        let flushed = match self.view.speaks() {
            true => self.buffer.flush_news(&self.store, &self.writer, now_ms).await,
            false => self.buffer.flush_events(&self.store, &self.writer, now_ms).await,
        };
        if let Err(error) = flushed {
            warn!(error = chain(&error), "the events could not be written, they are kept");
        }
    }

    /// Finds out whether this loop is the oldest that is alive; if not, drops what that one has stored by now.
    /// What it may not have stored yet stays, so that nothing is missing when it dies. When nobody can tell
    /// whose word counts, ours does: readers drop what was written twice, and cannot make up what nobody wrote.
    async fn claim(&self, now_ms: i64) {
        let local = self.store.local_path().is_some();
        let fresh_ms = self.config.fresh_ms(local);
        let found = heartbeat::owner_and_beat(&self.store, SHARD, now_ms, fresh_ms).await;
        let other = match found {
            Ok(owner) => owner.filter(|(owner, _)| *owner != self.writer.id().to_string()),
            Err(error) => {
                warn!(%error, "the heartbeats cannot be listed");
                None
            }
        };
        let speaks = other.is_none();
        if let Some((owner, beat_ms)) = other {
            if self.view.speaks() {
                info!(owner, "an older watch is alive and writes the samples");
            }
            // It flushes after it beats, so the flush before its newest beat is the last that is certain.
            let flush_ms = i64::try_from(self.config.flush_interval(local).as_millis()).unwrap_or(60_000);
            self.buffer.discard_before(beat_ms - flush_ms);
        }
        if speaks && !self.view.speaks() {
            self.discard_told(now_ms).await;
        }
        self.view.set_speaks(speaks);
    }

    /// Of what the watch before this one told with its last flushes, nothing is told again.
    async fn discard_told(&self, now_ms: i64) {
        let Some(oldest_ms) = self.buffer.oldest_untold_ms() else { return };
        let minute = 60_000;
        let filter = events::Filter {
            start_ms: oldest_ms - minute,
            end_ms: now_ms + minute,
            ..events::Filter::default()
        };
        match events::query(&self.store, &filter).await {
            Ok(told) => self.buffer.discard_told(&told),
            Err(error) => {
                warn!(error = chain(&error), "events may be told twice: what is stored cannot be read");
            }
        }
    }

    async fn beat(&self, now_ms: i64) {
        let beat = heartbeat::beat(&self.store, &self.writer, SHARD, now_ms).await;
        self.claim(now_ms).await;
        let fresh_ms = self.config.fresh_ms(self.store.local_path().is_some());
        let trimmed = heartbeat::trim(&self.store, &self.writer, SHARD, now_ms - 2 * fresh_ms).await;
        if beat.is_ok() {
            self.freshness.stored(now_ms);
        }
        if let Err(error) = beat.and(trimmed) {
            warn!(error = chain(&error), "the heartbeat could not be written");
        }
    }
}
