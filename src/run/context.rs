//! What a job is given: the services of the process, and what this run is for.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use anyhow::Context as _;
use ring::rand::{SecureRandom, SystemRandom};

use super::clock::Clock;
use super::spec::Host;
use crate::config::{Config, Environment};
use crate::store::{Store, Writer};

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
    /// Rung when something was committed that `deliver` or `report` may want to see before their slot.
    pub hint: Notify,
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
        let mut random = [0; 16];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        let writer = Writer::new(clock.now_ms(), u128::from_ne_bytes(random));
        Ok(Self { config, store, writer, clock, host, shutdown, hint: Notify::new() })
    }
}

/// One run's view.
#[derive(Clone)]
pub struct Context {
    pub services: Arc<Services>,
    /// The instant this run is for, ms since the epoch, UTC.
    pub slot_ms: i64,
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
}
