//! Inspects every cluster: whether its members agree on who they are and, less often, on what they store.

use std::time::Duration;

use anyhow::Context as _;
use futures::future::join_all;

use crate::config::ClusterSetup;
use crate::inspect::{Inspection, Inspector};
use crate::model::{Labels, chain};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When, inspected};
use crate::store::samples;

/// The `inspect` job.
pub const JOB: JobSpec = JobSpec {
    name: "inspect",
    about: "Look at certificates, compare the members' lists of members and, daily, the hashes of their data",
    when: When::Cron("40 */5 * * * *"),
    jitter: Duration::from_secs(30),
    catch_up: CatchUp::Skip,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(600),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

/// What one cluster may take; a member reads all of its data to hash it.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(540);

async fn run(context: Context) -> anyhow::Result<Summary> {
    let tasks = context.config().clusters.iter().map(|cluster| {
        // A task each: neither a slow cluster nor a bug that one of them brings to light costs another anything.
        let task = tokio::spawn(inspect(context.clone(), cluster.clone()));
        async move { (cluster.config.name.clone(), task.await) }
    });
    let (mut inspected, mut found, mut errors) = (0, 0, Vec::new());
    let mut series: Vec<(Labels, f64)> = Vec::new();
    for (name, outcome) in join_all(tasks).await {
        match outcome.context("this is a bug").flatten() {
            Ok(inspection) => {
                inspected += 1;
                found += usize::from(inspection.found_something());
                series.extend(inspection.series());
                errors.extend(inspection.problems().into_iter().map(|problem| format!("{name}: {problem}")));
            }
            Err(error) => errors.push(format!("{name}: {}", chain(error.as_ref()))),
        }
    }
    let now_ms = context.now_ms();
    samples::write_recorded(context.store(), &context.services.writer, now_ms, &series).await?;
    Ok(Summary::new(format!("{inspected} cluster(s), {found} with something wrong")).with_errors(errors))
}

/// Inspects one cluster and writes down what is new.
async fn inspect(context: Context, cluster: ClusterSetup) -> anyhow::Result<Inspection> {
    let last = inspected::last(&context, &cluster.config.name).await?;
    let hash = last.inspection.as_ref().and_then(|last| last.hash.clone());
    let now_ms = context.now_ms();
    let due = Inspection::hash_is_due(hash.as_ref(), now_ms, context.config().inspect.hash_interval.0);
    let look = async {
        let (login, backup) = (cluster.login.as_ref(), cluster.backup_login.as_ref());
        let inspector = Inspector::find(&cluster.config, login, backup).await?;
        anyhow::Ok(inspector.inspect(now_ms, due, hash).await)
    };
    let inspection =
        tokio::time::timeout(CLUSTER_TIMEOUT, look).await.context("the members are too slow")??;
    inspected::note(&context, last, &inspection).await?;
    Ok(inspection)
}
