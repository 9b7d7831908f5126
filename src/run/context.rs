//! What a job is given: the services of the process, and what this run is for.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use anyhow::Context as _;
use ring::rand::{SecureRandom, SystemRandom};

use super::ack_desk::AckDesk;
use super::clock::Clock;
use super::execute::SHARD;
use super::spec::Host;
use super::{discovery, process};
use crate::config::{ClusterSetup, Config, ConfigErrors, Environment};
use crate::deliver::Deliverer;
use crate::etcd::ClusterConfig;
use crate::model::chain;
use crate::probe::{Machine, ReadingSource, SeriesPool};
use crate::promql::EvalOptions;
use crate::rules::{RuleGroup, RuleOptions};
use crate::store::{Store, Writer, heartbeat};
use crate::survey::{Subject, Survey};
use crate::watch::{Change, Judge, Setup, Target};

/// What all runs of a process share.
pub struct Services {
    /// That of this generation, with the clusters that were found when it began.
    pub config: Config,
    pub store: Store,
    /// Who writes: one per process.
    pub writer: Writer,
    pub clock: Clock,
    pub host: Host,
    /// Cancelled at shutdown; long jobs stop at the next safe point.
    pub shutdown: CancellationToken,
    /// Evaluates and commits; shared so that all runs of a process share the channels' breakers.
    pub judge: Arc<Judge>,
    /// What secrets and credentials are read from.
    environment: Environment,
    /// Rung when something changed that people should see before the next slot.
    pub changed: Notify,
    /// The configuration with the clusters that are there now.
    current: watch::Sender<Arc<Config>>,
    pub(super) discovered: discovery::Memory,
    /// Series of all clusters share their texts.
    pool: Arc<SeriesPool>,
    machine: Machine,
}

impl Services {
    /// Opens the store and takes a writer id.
    ///
    /// # Errors
    /// When the store cannot be opened or the system has no randomness.
    pub async fn start(
        config: Config,
        environment: &Environment,
        clock: Clock,
        host: Host,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let store = Store::open(&config.store, &|name| environment.get(name).cloned())
            .await
            .with_context(|| format!("the store {} cannot be opened", config.store.url))?;
        let config = discovery::with_remembered(config, &store).await;
        let writer = new_writer(&clock)?.of_process(&process::name());
        let deliverer =
            Deliverer::new(store.clone(), writer.clone(), config.channels.clone(), config.routes.clone())
                .with_external_url(config.report.public_url.clone())
                .with_storm_cap(config.storm)
                .with_ack_links(config.ack.clone())
                .with_standing_silences(Arc::clone(&config.silences));
        let options = RuleOptions {
            eval: EvalOptions { max_samples: config.query.max_samples, ..EvalOptions::default() },
            external_labels: config.external_labels.clone(),
            external_url: config.report.public_url.clone().unwrap_or_default(),
        };
        let judge = Judge::new(store.clone(), deliverer, config.rule_interval_ms(), options);
        let (judge, changed) = (Arc::new(judge), Notify::new());
        let (current, _) = watch::channel(Arc::new(config.clone()));
        let (discovered, pool, machine) = Default::default();
        Ok(Self {
            config,
            store,
            writer,
            clock,
            host,
            shutdown,
            judge,
            environment: environment.clone(),
            changed,
            current,
            discovered,
            pool,
            machine,
        })
    }

    /// The configuration with the clusters that are there now.
    pub fn current(&self) -> Arc<Config> {
        Arc::clone(&self.current.borrow())
    }

    /// Tells when the set of clusters changes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.current.subscribe()
    }

    /// From now on these are the found clusters. What runs takes them over as it goes; nothing happens when they are
    /// those that are known.
    ///
    /// # Errors
    /// When what the configuration says of one of them is wrong: the set stays as it was.
    pub fn take_found(&self, found: Vec<ClusterConfig>) -> Result<(), ConfigErrors> {
        let known = self.current();
        let there = known.clusters.iter().skip(known.configured).map(|setup| &setup.config);
        if there.eq(found.iter()) {
            return Ok(());
        }
        let next = self.config.with_found(found)?;
        if next.clusters == known.clusters && next.warnings == known.warnings {
            return Ok(());
        }
        for warning in next.warnings.iter().filter(|warning| !known.warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        // The deliverer asks the windows that it was made with.
        self.config.silences.take_windows(&next.silences);
        self.current.send_replace(Arc::new(next));
        self.changed.notify_one();
        Ok(())
    }

    /// What answers links to acknowledge with; `None` where no URL leads to any.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn ack_desk(&self) -> anyhow::Result<Option<AckDesk>> {
        let Some(source) = &self.config.ack else { return Ok(None) };
        Ok(Some(AckDesk::open(self.store.clone(), self.writer.clone(), source).await?))
    }

    /// Writes the first sign of life, so that a store which can never work is said at the start. What may
    /// pass, a full disk or a bucket out of reach, does not keep anybody from watching.
    ///
    /// # Errors
    /// When the store cannot be used until somebody changes the configuration, its rights or its bucket.
    pub async fn check_store(&self) -> anyhow::Result<()> {
        // Best effort: the dead one's beats are old soon.
        if let Err(error) = heartbeat::bury(&self.store, SHARD, &process::is_gone).await {
            tracing::debug!(error = chain(&error), "heartbeats of dead processes may be there still");
        }
        match heartbeat::beat(&self.store, &self.writer, SHARD, self.clock.now_ms()).await {
            Err(error) if error.is_lasting() => {
                Err(error).with_context(|| format!("the store {} cannot be used", self.store.url()))
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the store cannot be used, watching all the same");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// A writer id of this process's own.
///
/// # Errors
/// When the system has no randomness.
pub fn new_writer(clock: &Clock) -> anyhow::Result<Writer> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(Writer::new(clock.now_ms(), u128::from_ne_bytes(random)))
}

/// One run's view.
#[derive(Clone)]
pub struct Context {
    pub services: Arc<Services>,
    /// The instant this run is for, ms since the epoch, UTC.
    pub slot_ms: i64,
    /// Cancelled when this run shall come to its end: at shutdown, or before the host takes its time away.
    pub stop: CancellationToken,
    config: Arc<Config>,
}

impl Context {
    /// With the clusters that are there now.
    pub fn new(services: &Arc<Services>, slot_ms: i64, stop: CancellationToken) -> Self {
        Self { services: Arc::clone(services), slot_ms, stop, config: services.current() }
    }

    /// With the clusters that were there when the run began.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// With the clusters that are there by now: for runs that do not end.
    #[must_use]
    pub fn refreshed(&self) -> Self {
        Self { config: self.services.current(), ..self.clone() }
    }

    pub fn store(&self) -> &Store {
        &self.services.store
    }

    /// What secrets and credentials are read from.
    pub fn environment(&self) -> &Environment {
        &self.services.environment
    }

    /// The time between two runs of a cron job, as it is configured.
    pub fn interval_seconds(&self, job: &str, default: &str) -> Option<f64> {
        let schedule = self.config.jobs.schedule_of(job, default).ok()?;
        let next_ms = schedule.next_after(self.now_ms())?;
        let after_ms = schedule.next_after(next_ms)?;
        Some((after_ms - next_ms) as f64 / 1e3)
    }

    /// When a cron job is due that last began at `since_ms`, ms since the epoch.
    pub fn next_due_ms(&self, job: &str, default: &str, since_ms: i64) -> Option<i64> {
        self.config.jobs.schedule_of(job, default).ok()?.next_after(since_ms)
    }

    /// Now, ms since the epoch, UTC.
    pub fn now_ms(&self) -> i64 {
        self.services.clock.now_ms()
    }

    /// What a watch over all clusters is made from.
    ///
    /// # Errors
    /// When a cluster's endpoints cannot be used.
    pub fn watch_setup(&self, groups: Vec<RuleGroup>) -> anyhow::Result<Setup> {
        let config = self.config();
        let targets = config.clusters.iter().map(|cluster| self.target(cluster));
        Ok(Setup {
            targets: targets.collect::<anyhow::Result<_>>()?,
            groups,
            config: config.watch.clone(),
            store: self.store().clone(),
            writer: self.services.writer.clone(),
            judge: Arc::clone(&self.services.judge),
            dead_man: config.dead_man.clone(),
        })
    }

    /// What becomes of the set of clusters between two configurations; `None` when nothing does.
    ///
    /// # Errors
    /// When a cluster's endpoints cannot be used.
    pub fn change(&self, known: &Config, next: &Config) -> anyhow::Result<Option<Change>> {
        let differs = |from: &Config, to: &Config| -> Vec<ClusterSetup> {
            from.clusters.iter().filter(|setup| !to.clusters.contains(setup)).cloned().collect()
        };
        let (ended, begun) = (differs(known, next), differs(next, known));
        if ended.is_empty() && begun.is_empty() {
            return Ok(None);
        }
        let begun = begun.iter().map(|cluster| self.target(cluster));
        Ok(Some(Change {
            ended: ended.into_iter().map(|setup| setup.config.name).collect(),
            begun: begun.collect::<anyhow::Result<_>>()?,
            groups: next.groups.clone(),
        }))
    }

    /// The cluster as a watch looks at it.
    fn target(&self, cluster: &ClusterSetup) -> anyhow::Result<Target> {
        let mut prober = cluster.prober(&self.config.scrape, &self.services.pool)?;
        if self.config.scrape.host_metrics {
            prober = prober.on(self.services.machine.clone());
        }
        let source: Box<dyn ReadingSource> = Box::new(prober);
        let config = Some(cluster.watch(&self.config.watch));
        Ok(Target { name: cluster.config.name.clone(), source, config })
    }

    /// The clusters of this run, as a survey knows them.
    pub fn subjects(&self) -> Vec<Subject> {
        self.config().subjects()
    }

    /// A survey of `subjects` over the store.
    pub fn survey<'a>(&'a self, subjects: &'a [Subject]) -> Survey<'a> {
        self.config().survey(self.store(), subjects)
    }
}
