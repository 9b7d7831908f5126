//! The sweep: sends every notification that has no receipt.

use std::time::Duration;

use crate::model::chain;
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};

/// The `deliver` job.
pub const JOB: JobSpec = JobSpec {
    name: "deliver",
    about: "Send the notifications that have no receipt",
    when: When::Cron("40 * * * * *"),
    jitter: Duration::ZERO,
    catch_up: CatchUp::Once,
    on_change: true,
    fails_open: true,
    timeout: Duration::from_secs(120),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let deliverer = context.services.judge.deliverer();
    let report = deliverer.sweep(context.now_ms()).await;
    let clusters: Vec<_> =
        context.config().clusters.iter().map(|cluster| cluster.config.name.clone()).collect();
    let recorded = deliverer.record_silences(&clusters, context.now_ms()).await;
    let text =
        format!("{} notification(s) accepted, {} undelivered", report.accepted.len(), report.undelivered);
    let failures = report.failures.iter().map(|failure| format!("{}: {}", failure.channel, failure.error));
    let unrecorded = recorded.err().map(|error| chain(&error));
    Ok(Summary::new(text)
        .with_errors(unrecorded)
        .with_errors(failures)
        .with_errors(report.errors.iter().map(|error| chain(error))))
}
