//! What a job is given: the services of the process, and what this run is for.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use anyhow::Context as _;
use ring::rand::{SecureRandom, SystemRandom};

use super::ack_desk::AckDesk;
use super::clock::Clock;
use super::execute::SHARD;
use super::process;
use super::spec::Host;
use crate::config::{ClusterSetup, Config, Environment};
use crate::deliver::Deliverer;
use crate::model::chain;
use crate::probe::{ReadingSource, SeriesPool};
use crate::promql::EvalOptions;
use crate::rules::{RuleGroup, RuleOptions};
use crate::store::{Store, Writer, heartbeat};
use crate::survey::{Subject, Survey};
use crate::watch::{Judge, Setup, Target};

/// What all runs of a process share.
pub struct Services {
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
    /// Rung when something changed that people should see before the next slot.
    pub changed: Notify,
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
        let judge = Judge::new(store.clone(), deliverer, config.expected_interval_ms(), options);
        let (judge, changed) = (Arc::new(judge), Notify::new());
        Ok(Self { config, store, writer, clock, host, shutdown, judge, changed })
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
}

impl Context {
    pub fn config(&self) -> &Config {
        &self.services.config
    }

    pub fn store(&self) -> &Store {
        &self.services.store
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
        let pool = Arc::default();
        let targets = config.clusters.iter().map(|cluster| target(config, cluster, &pool));
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

    /// The configured clusters, as a survey knows them.
    pub fn subjects(&self) -> Vec<Subject> {
        self.config().subjects()
    }

    /// A survey of `subjects` over the store.
    pub fn survey<'a>(&'a self, subjects: &'a [Subject]) -> Survey<'a> {
        self.config().survey(self.store(), subjects)
    }
}

/// The cluster as a watch looks at it.
fn target(config: &Config, cluster: &ClusterSetup, pool: &Arc<SeriesPool>) -> anyhow::Result<Target> {
    let source: Box<dyn ReadingSource> = Box::new(cluster.prober(&config.scrape, pool)?);
    Ok(Target { name: cluster.config.name.clone(), source, config: None })
}
