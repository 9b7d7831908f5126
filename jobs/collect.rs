//! One reading of every cluster, for hosts without a daemon. Where a `watch` is alive it stores readings
//! only: samples have one writer.

use std::time::Duration;

use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};
use crate::watch::{Watch, is_live};

/// The `collect` job.
pub const JOB: JobSpec = JobSpec {
    name: "collect",
    about: "Read every cluster once",
    when: When::Cron("0 * * * * *"),
    jitter: Duration::ZERO,
    catch_up: CatchUp::Skip,
    on_change: false,
    timeout: Duration::from_secs(50),
    hosts: &[Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let now_ms = context.now_ms();
    let live = is_live(context.store(), now_ms).await?;
    // No groups: `evaluate` judges what is collected, over the store.
    let mut watch = Watch::start(context.watch_setup(Vec::new())?, now_ms).await?;
    let ticks = watch.collect(now_ms, !live).await?;
    let (mut up, mut all, mut errors) = (0, 0, Vec::new());
    for reading in ticks.iter().map(|tick| &tick.reading) {
        up += reading.members.iter().filter(|member| member.reachable()).count();
        all += reading.members.len();
        let members = reading.members.iter().flat_map(|member| &member.errors);
        errors.extend(
            members.chain(&reading.errors).map(|error| format!("{}: {}", reading.cluster, error.message)),
        );
    }
    let text = format!("{} cluster(s), {up} of {all} member(s) answered", ticks.len());
    Ok(Summary::new(text).with_errors(errors))
}
