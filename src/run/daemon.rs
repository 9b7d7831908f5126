//! The daemon: cron jobs by tokio-cron-scheduler, each under the guard; `watch` supervised beside them, on threads of
//! its own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Mutex, Notify};
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::context::Services;
use super::discovery;
use super::execute::{Executed, execute};
use super::spec::{CatchUp, Host, JobSpec, When};
use crate::model::{CronSchedule, chain};
use crate::store::ledger;

/// How long running jobs get to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);

/// How far back a missed slot is caught up.
const CATCH_UP_MS: i64 = 48 * 3_600_000;

/// Runs all enabled jobs until `services.shutdown` is cancelled, then waits for what is running.
///
/// # Errors
/// When the scheduler does not start or a schedule is wrong.
pub async fn run(jobs: &'static [&'static JobSpec], services: Arc<Services>) -> anyhow::Result<()> {
    let tracker = TaskTracker::new();
    let mut on_change = Vec::new();
    let mut scheduler = JobScheduler::new().await.context("the scheduler does not start")?;
    for spec in enabled(jobs, &services) {
        match spec.when {
            When::Continuous => {
                tracker.spawn_on(supervise(spec, Arc::clone(&services)), &apart()?);
            }
            When::Cron(default) => {
                let schedule = services.config.jobs.schedule_of(spec.name, default)?;
                let guard = CronGuard::new(spec, schedule, &services);
                tracker.spawn(Arc::clone(&guard).catch_up());
                if spec.on_change {
                    on_change.push(Arc::clone(&guard));
                }
                let added = add(&scheduler, guard, &tracker).await;
                added.with_context(|| format!("the schedule of {} cannot be added", spec.name))?;
            }
        }
    }
    scheduler.start().await.context("the scheduler does not start")?;
    for guard in &on_change {
        tracker.spawn(Arc::clone(guard).run_on_change());
    }
    tracker.spawn(pass_on(on_change, Arc::clone(&services)));
    for source in &services.config.sources {
        tracker.spawn(discovery::keep(Arc::clone(&services), Arc::clone(source)));
    }
    services.shutdown.cancelled().await;
    if let Err(error) = scheduler.shutdown().await {
        warn!(%error, "the scheduler did not stop cleanly");
    }
    tracker.close();
    if tokio::time::timeout(DRAIN, tracker.wait()).await.is_err() {
        warn!(
            seconds = DRAIN.as_secs(),
            "jobs still running are abandoned; the ledger lets another host repeat them"
        );
    }
    Ok(())
}

/// The jobs this host runs: those that can run here and are not switched off.
fn enabled<'a>(
    jobs: &'static [&'static JobSpec],
    services: &'a Services,
) -> impl Iterator<Item = &'static JobSpec> + use<'a> {
    let here = jobs.iter().copied().filter(|spec| spec.hosts.contains(&Host::Daemon));
    here.filter(|spec| services.config.jobs.is_enabled(spec.name))
}

async fn add(scheduler: &JobScheduler, guard: Arc<CronGuard>, tracker: &TaskTracker) -> anyhow::Result<()> {
    let tracker = tracker.clone();
    let expression = guard.schedule.as_str().to_owned();
    // Only cron jobs: repeated ones of this crate can stop firing for good.
    let job = Job::new_async(expression.as_str(), move |_, _| {
        let (guard, tracker) = (Arc::clone(&guard), tracker.clone());
        Box::pin(async move {
            // A task of its own: the scheduler's must not wait for the work.
            tracker.spawn(guard.tick());
        })
    })?;
    scheduler.add(job).await?;
    Ok(())
}

/// The threads of continuous jobs. What cron jobs decode and render keeps the other runtime's threads busy for seconds, and
/// members are to be asked every two; between threads the operating system is fair. One for all generations of a process:
/// connections that were opened on it outlive them.
fn apart() -> anyhow::Result<Handle> {
    static APART: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let start = || Builder::new_multi_thread().thread_name("watch").enable_all().build();
    match APART.get_or_init(start) {
        Ok(runtime) => Ok(runtime.handle().clone()),
        Err(error) => anyhow::bail!("the threads of continuous jobs do not start: {error}"),
    }
}

/// Tells every job that runs on changes of each.
async fn pass_on(guards: Vec<Arc<CronGuard>>, services: Arc<Services>) {
    while services.shutdown.run_until_cancelled(services.changed.notified()).await.is_some() {
        guards.iter().for_each(|guard| guard.changed.notify_one());
    }
}

/// Keeps one cron job from overlapping itself.
struct CronGuard {
    spec: &'static JobSpec,
    schedule: CronSchedule,
    services: Arc<Services>,
    running: Mutex<()>,
    /// There is something to show or to send before the next slot.
    changed: Notify,
}

/// From one run on a change to the next, so that a storm of changes is one run.
const PAUSE: Duration = Duration::from_secs(5);
/// And of what such a run took: rendering a large fleet anew for every change of it leaves time for other work.
const PAUSE_OF_RUN: u32 = 3;

impl CronGuard {
    fn new(spec: &'static JobSpec, schedule: CronSchedule, services: &Arc<Services>) -> Arc<Self> {
        let (running, changed) = (Mutex::new(()), Notify::new());
        Arc::new(Self { spec, schedule, services: Arc::clone(services), running, changed })
    }

    /// Runs the job when there are changes. Each such job has a task of its own: messages do not wait for pages.
    async fn run_on_change(self: Arc<Self>) {
        let shutdown = &self.services.shutdown;
        while shutdown.run_until_cancelled(self.changed.notified()).await.is_some() {
            let running = self.running.lock().await;
            let began = Instant::now();
            self.run_slot(self.services.clock.now_ms()).await;
            drop(running);
            let pause = PAUSE.max(began.elapsed() * PAUSE_OF_RUN);
            let _ = shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    async fn tick(self: Arc<Self>) {
        let Some(slot_ms) = self.schedule.slot_at(self.services.clock.now_ms()) else { return };
        let Ok(_running) = self.running.try_lock() else {
            warn!(job = self.spec.name, "the previous run is still going, this slot is skipped");
            return;
        };
        let shutdown = &self.services.shutdown;
        if tokio::time::timeout(jitter(self.spec), shutdown.cancelled()).await.is_err() {
            self.run_slot(slot_ms).await;
        }
    }

    /// Runs the newest slot once if it passed while no host was up.
    async fn catch_up(self: Arc<Self>) {
        if self.spec.catch_up == CatchUp::Skip {
            return;
        }
        let now_ms = self.services.clock.now_ms();
        let (Some(slot_ms), _running) = (self.schedule.slot_at(now_ms), self.running.lock().await) else {
            return;
        };
        match ledger::latest(&self.services.store, now_ms - CATCH_UP_MS).await {
            Ok(runs) if runs.iter().any(|run| run.job == self.spec.name && run.slot_ms >= slot_ms) => {}
            Ok(_) => self.run_slot(slot_ms).await,
            Err(error) => {
                error!(job = self.spec.name, error = chain(&error), "the run ledger cannot be read");
            }
        }
    }

    async fn run_slot(&self, slot_ms: i64) {
        match execute(self.spec, &self.services, slot_ms).await {
            Ok(Executed::Ran(_) | Executed::AlreadyDone(_)) => {}
            Ok(Executed::RunningElsewhere { .. }) => {
                info!(job = self.spec.name, "another host runs this slot");
            }
            Err(error) => {
                error!(job = self.spec.name, error = chain(error.as_ref()), "the run ledger cannot be used");
            }
        }
    }
}

/// The same share of `spec.jitter` in every process, so that runs stay evenly spaced.
fn jitter(spec: &JobSpec) -> Duration {
    let mut hasher = DefaultHasher::new();
    spec.name.hash(&mut hasher);
    spec.jitter.mul_f64((hasher.finish() % 1000) as f64 / 1000.0)
}

/// Runs a continuous job and starts it again when it fails, with growing pauses up to a minute.
async fn supervise(spec: &'static JobSpec, services: Arc<Services>) {
    let mut failures: HashMap<&str, u32> = HashMap::new();
    while !services.shutdown.is_cancelled() {
        let started_ms = services.clock.now_ms();
        match execute(spec, &services, started_ms).await {
            Ok(Executed::Ran(run)) if run.errors.is_empty() && services.shutdown.is_cancelled() => return,
            Ok(_) => {}
            Err(error) => {
                error!(job = spec.name, error = chain(error.as_ref()), "the run ledger cannot be used");
            }
        }
        let count = failures.entry(spec.name).or_default();
        // A run that lasted shows that the cause is gone.
        *count = if services.clock.now_ms() - started_ms > 60_000 { 1 } else { (*count + 1).min(6) };
        let pause = Duration::from_secs(1 << *count).min(Duration::from_secs(60));
        let _ = tokio::time::timeout(pause, services.shutdown.cancelled()).await;
    }
}
