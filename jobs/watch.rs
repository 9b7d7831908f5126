//! The sentinel: polls every member, keeps samples, evaluates the rules it owns, sends at once.

use std::sync::Arc;
use std::time::Duration;

use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};
use crate::run::{discovery, live, node_settings};
use crate::watch::Watch;

/// The `watch` job.
pub const JOB: JobSpec = JobSpec {
    name: "watch",
    about: "Poll every member, keep samples, evaluate rules, notify at once",
    when: When::Continuous,
    jitter: Duration::ZERO,
    catch_up: CatchUp::Skip,
    on_change: false,
    fails_open: true,
    timeout: Duration::from_secs(100 * 365 * 86_400),
    hosts: &[Host::Daemon, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let groups = context.config().groups.clone();
    let (changes, heeded) = tokio::sync::mpsc::channel(1);
    let watch = Watch::start(context.watch_setup(groups)?, context.now_ms()).await.with_changes(heeded);
    let services = Arc::clone(&context.services);
    let clock = services.clock.clone();
    let changed = move || services.changed.notify_one();
    let stop = context.stop.clone();
    let live = live::keep(context.clone(), watch.view(), stop.clone());
    let settings = node_settings::keep(context.clone(), watch.view(), stop.clone());
    let clusters = stop.clone().run_until_cancelled_owned(discovery::feed(context, changes));
    tokio::join!(watch.run(move || clock.now_ms(), stop, changed), live, settings, clusters);
    Ok(Summary::new("stopped"))
}
