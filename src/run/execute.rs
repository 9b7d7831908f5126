//! The one guard around every execution of a job: ledger, timeout, panics, the record of the run.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use super::context::{Context, Services};
use super::discovery;
use super::spec::{Host, JobSpec, Summary};
use crate::model::unit::{format_duration, rfc3339};
use crate::model::{JobRun, Outcome, chain};
use crate::store::ledger::{self, Claim, Started};

/// What became of a request to run a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Executed {
    Ran(JobRun),
    /// The ledger has this slot as done: nothing to do.
    AlreadyDone(JobRun),
    /// Another host is running this slot, until the given time (ms since the epoch) at most.
    RunningElsewhere {
        until_ms: i64,
    },
}

/// All clusters are one shard; the ledger's keys have a place for more.
pub const SHARD: &str = "all";

/// Runs `spec` for `slot_ms` under the guard. An error of the job is in the [`JobRun`]; an error here means
/// that the ledger cannot be used.
///
/// # Errors
/// When the run ledger cannot be read or written, unless the job fails open.
pub async fn execute(spec: &JobSpec, services: &Arc<Services>, slot_ms: i64) -> anyhow::Result<Executed> {
    execute_within(spec, services, slot_ms, spec.timeout, services.shutdown.clone()).await
}

/// [`execute`] on a host that gives a run less time than the job would take: it is timed out after `limit`, and
/// the host cancels `stop` before, so that the run can end well.
///
/// # Errors
/// When the run ledger cannot be read or written.
pub async fn execute_within(
    spec: &JobSpec,
    services: &Arc<Services>,
    slot_ms: i64,
    limit: Duration,
    stop: CancellationToken,
) -> anyhow::Result<Executed> {
    let started_ms = services.clock.now_ms();
    let limit = limit.min(spec.timeout);
    let unusable = || format!("the store {} cannot be used", services.store.url());
    let attempt = match claim(spec, services, slot_ms, limit, started_ms).await {
        Ok(Started::Run { attempt }) => attempt,
        Ok(Started::Done(run)) => return Ok(Executed::AlreadyDone(*run)),
        Ok(Started::Running { until_ms }) => return Ok(Executed::RunningElsewhere { until_ms }),
        Err(error) if spec.fails_open => {
            warn!(job = spec.name, error = chain(error.as_ref()), "the run is not in the ledger");
            1
        }
        Err(error) => return Err(error.context(unusable())),
    };
    // The daemon keeps up with its sources itself; elsewhere the store has what some host found meanwhile.
    if services.host != Host::Daemon {
        discovery::refresh(services).await;
    }
    let context = Context::new(services, slot_ms, stop);
    let span = info_span!("job", name = spec.name);
    let (outcome, summary) = guarded(spec, limit, context).instrument(span).await;
    let run = JobRun {
        job: spec.name.to_owned(),
        shard: SHARD.to_owned(),
        slot_ms,
        attempt,
        host: services.host.as_str().to_owned(),
        started_ms,
        ended_ms: services.clock.now_ms(),
        outcome,
        summary: summary.text,
        errors: summary.errors,
    };
    // The command line prints the run itself.
    if services.host != Host::Cli {
        log(&run);
    }
    match ledger::finish(&services.store, &run).await {
        Err(error) if spec.fails_open => {
            warn!(job = spec.name, error = chain(&error), "the run is not in the ledger");
        }
        finished => finished.with_context(unusable)?,
    }
    Ok(Executed::Ran(run))
}

/// Every job claims its slot, so that every run is in the ledger and a slot has one run at a time. (A
/// continuous job's slot is its start, which no other host shares.)
async fn claim(
    spec: &JobSpec,
    services: &Services,
    slot_ms: i64,
    limit: Duration,
    now_ms: i64,
) -> anyhow::Result<Started> {
    let timeout_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let claim = Claim { job: spec.name, shard: SHARD, slot_ms, timeout_ms, now_ms };
    Ok(ledger::start(&services.store, &services.writer, &claim).await?)
}

async fn guarded(spec: &JobSpec, limit: Duration, context: Context) -> (Outcome, Summary) {
    let work = AssertUnwindSafe((spec.run)(context)).catch_unwind();
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(Ok(summary))) if summary.errors.is_empty() => (Outcome::Done, summary),
        Ok(Ok(Ok(summary))) => (Outcome::Partial, summary),
        Ok(Ok(Err(error))) => (Outcome::Failed, failure("failed", chain(error.as_ref()))),
        Ok(Err(panic)) => (Outcome::Panicked, failure("panicked", panic_text(&*panic))),
        Err(_) => {
            let limit = format_duration(limit);
            (Outcome::TimedOut, failure("timed out", format!("stopped after {limit}")))
        }
    }
}

fn failure(text: &str, error: String) -> Summary {
    Summary { text: text.to_owned(), errors: vec![error] }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

/// The one place where the end of a run is logged.
fn log(run: &JobRun) {
    let (job, slot, duration_ms) = (&run.job, rfc3339(run.slot_ms), run.ended_ms - run.started_ms);
    let errors = run.errors.join("; ");
    match run.outcome {
        Outcome::Done => info!(job, slot, duration_ms, "{}", run.summary),
        Outcome::Partial => warn!(job, slot, duration_ms, errors, "{}", run.summary),
        _ => error!(job, slot, duration_ms, errors, "{}", run.summary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Overrides};
    use crate::run::clock::Clock;
    use crate::run::spec::{CatchUp, Host, JobFuture, When};

    async fn services() -> Arc<Services> {
        let environment = Environment::new();
        let overrides = Overrides {
            store_url: Some("memory://".to_owned()),
            clusters_optional: true,
            ..Overrides::default()
        };
        let config = Config::load(None, &environment, overrides).expect("the defaults are valid");
        let shutdown = CancellationToken::new();
        let started = Services::start(config, &environment, Clock::fixed(60_000), Host::Cli, shutdown);
        Arc::new(started.await.expect("an in-memory store opens"))
    }

    fn job(name: &'static str, run: fn(Context) -> JobFuture) -> JobSpec {
        JobSpec {
            name,
            about: "",
            when: When::Continuous,
            jitter: Duration::ZERO,
            catch_up: CatchUp::Skip,
            on_change: false,
            fails_open: false,
            timeout: Duration::from_millis(50),
            hosts: &[Host::Cli],
            run,
        }
    }

    #[tokio::test]
    async fn every_end_of_a_run_is_recorded_and_a_done_slot_is_not_run_again() {
        let services = services().await;
        let jobs = [
            (job("done", |_| Box::pin(async { Ok(Summary::new("all well")) })), Outcome::Done, ""),
            (
                job("partial", |_| {
                    Box::pin(async { Ok(Summary::new("most").with_errors(["one part".to_owned()])) })
                }),
                Outcome::Partial,
                "one part",
            ),
            (job("failed", |_| Box::pin(async { anyhow::bail!("no store") })), Outcome::Failed, "no store"),
            (job("panicked", |_| Box::pin(async { panic!("a bug") })), Outcome::Panicked, "a bug"),
            (job("stuck", |_| Box::pin(std::future::pending())), Outcome::TimedOut, "stopped after 50ms"),
        ];
        for (spec, outcome, error) in jobs {
            let Executed::Ran(run) = execute(&spec, &services, 60_000).await.expect("ledger works") else {
                panic!("{} did not run", spec.name)
            };
            assert_eq!((run.outcome, run.errors.join("; ").as_str()), (outcome, error), "{}", spec.name);
            let again = execute(&spec, &services, 60_000).await.expect("ledger works");
            assert_eq!(again, Executed::AlreadyDone(run.clone()), "{}", spec.name);
            let recorded = ledger::latest(&services.store, 0).await.expect("ledger works");
            assert!(recorded.contains(&run), "{}", spec.name);
        }
    }

    #[tokio::test]
    async fn a_slot_that_another_host_runs_is_left_to_it() {
        let services = services().await;
        let spec = job("done", |_| Box::pin(async { Ok(Summary::new("ran")) }));
        let claim = Claim { job: "done", shard: SHARD, slot_ms: 60_000, timeout_ms: 50, now_ms: 60_000 };
        ledger::start(&services.store, &services.writer, &claim).await.expect("ledger works");
        let elsewhere = execute(&spec, &services, 60_000).await.expect("ledger works");
        assert_eq!(elsewhere, Executed::RunningElsewhere { until_ms: 60_050 });
        services.clock.set(60_050);
        let Executed::Ran(run) = execute(&spec, &services, 60_000).await.expect("ledger works") else {
            panic!("the dead host's slot was not taken over")
        };
        assert_eq!(run.attempt, 2);
    }
}
