//! Merges segments to hour and day files, rolls up, and applies the retention.

use std::time::Duration;

use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};
use crate::store::compact::{Plan, compact};

/// The `compact` job.
pub const JOB: JobSpec = JobSpec {
    name: "compact",
    about: "Merge segments to hour and day files, roll up, apply the retention",
    when: When::Cron("0 10 * * * *"),
    jitter: Duration::from_secs(120),
    catch_up: CatchUp::Once,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(600),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let config = &context.config().store;
    let plan = Plan {
        retention: config.retention.clone(),
        size_bytes_max: config.max_size.map(|size| size.0),
        rollup_metrics: crate::survey::rollup_metrics(),
    };
    // Age is counted from the slot, so that a repeat of it decides the same.
    let done = compact(context.store(), &plan, context.slot_ms, &|_| ()).await?;
    Ok(Summary::new(format!(
        "{} file(s) merged, {} row(s), {} object(s) deleted",
        done.merged, done.rows, done.deleted
    )))
}
