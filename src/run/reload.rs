//! Taking over a changed configuration while the daemon runs.
//!
//! The daemon lives in generations: each has its configuration, from start to end. A configuration file or rule file
//! that changed (looked at by content, so that editors' renames and symbolic links of Kubernetes count), or a SIGHUP,
//! begins the next one, if what the files say now is right; else the running one stays. `watch` reads what it needs of
//! the time before from the store, as after a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::clock::Clock;
use super::context::Services;
use super::spec::{Host, JobSpec};
use super::{configured, daemon};
use crate::config::{Config, ConfigErrors, Environment, digest_of};
use crate::model::chain;

/// A change is seen this late at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A file that is being written is not read: it has to stay as it is for so long.
const SETTLE: Duration = Duration::from_millis(500);

/// What a daemon needs to begin anew.
pub struct Daemon {
    pub jobs: &'static [&'static JobSpec],
    pub environment: Environment,
    pub clock: Clock,
    /// Cancelled when the process shall end.
    pub shutdown: CancellationToken,
    /// Reads the configuration as at the start.
    pub load: Box<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>,
}

impl Daemon {
    /// The services of one generation.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn services(&self, config: Config) -> anyhow::Result<Arc<Services>> {
        let stop = self.shutdown.child_token();
        let services =
            Services::start(config, &self.environment, self.clock.clone(), Host::Daemon, stop).await?;
        Ok(Arc::new(services))
    }

    /// Runs until `shutdown`, beginning with `services`.
    ///
    /// # Errors
    /// When a generation cannot run.
    pub async fn run(&self, mut services: Arc<Services>) -> anyhow::Result<()> {
        // Without the signal a changed file is seen all the same.
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            if let Err(error) = configured::tell(&services).await {
                warn!(error = chain(error.as_ref()), "changes of the configuration could not be told");
            }
            let jobs = daemon::run(self.jobs, Arc::clone(&services));
            tokio::pin!(jobs);
            let next = tokio::select! {
                ended = &mut jobs => return ended,
                next = self.next(&services, hangup.as_mut()) => next,
            };
            info!("the configuration changed: what runs is stopped and started with it");
            services.shutdown.cancel();
            jobs.await?;
            services = next;
        }
    }

    /// Waits for a configuration that is right and not the running one, and opens what it needs.
    async fn next(&self, running: &Arc<Services>, mut hangup: Option<&mut Signal>) -> Arc<Services> {
        let mut files = running.config.files.clone();
        let mut seen = digest_of(&files);
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => false,
                () = hung_up(hangup.as_deref_mut()) => true,
            };
            if !asked && digest_of(&files) == seen {
                continue;
            }
            seen = settled(&files).await;
            match self.attempt(running).await {
                Ok(Some(services)) => return services,
                Ok(None) if asked => info!("the configuration is as it was"),
                Ok(None) => {}
                Err(Refused { reasons, files: read }) => {
                    for reason in &reasons {
                        error!("the changed configuration is refused, the old one stays: {reason}");
                    }
                    configured::tell_refused(running, &seen, &reasons).await;
                    // A rule file that the new text names is looked at, too: mending it must be seen.
                    files = [files, read].concat();
                    files.sort();
                    files.dedup();
                    seen = digest_of(&files);
                }
            }
        }
    }

    /// The services of what the files say now; `None` if that is what runs.
    async fn attempt(&self, running: &Services) -> Result<Option<Arc<Services>>, Refused> {
        let config = (self.load)().map_err(|errors| Refused {
            reasons: errors.0.iter().map(ToString::to_string).collect(),
            files: Vec::new(),
        })?;
        let refused = |reason: String| Refused { reasons: vec![reason], files: config.files.clone() };
        if config.effective == running.config.effective {
            return Ok(None);
        }
        if config.effective.section("store") != running.config.effective.section("store") {
            let why = "the store cannot change while the daemon runs ([store]): restart it";
            return Err(refused(why.to_owned()));
        }
        if config.effective.section("log") != running.config.effective.section("log") {
            warn!("[log] changes with the next start of the process");
        }
        for warning in &config.warnings {
            warn!("{warning}");
        }
        let files = config.files.clone();
        let services = self.services(config).await;
        services.map(Some).map_err(|error| Refused { reasons: vec![chain(error.as_ref())], files })
    }
}

struct Refused {
    reasons: Vec<String>,
    /// What was read on the way.
    files: Vec<PathBuf>,
}

async fn hung_up(hangup: Option<&mut Signal>) {
    match hangup {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

async fn settled(files: &[PathBuf]) -> String {
    let mut seen = digest_of(files);
    loop {
        tokio::time::sleep(SETTLE).await;
        let now = digest_of(files);
        if now == seen {
            return now;
        }
        seen = now;
    }
}
