//! Backs up every cluster for which that is switched on.

use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt, stream};

use crate::backup::save::Progress;
use crate::backup::{Origin, catalog};
use crate::config::ClusterSetup;
use crate::model::{ClusterName, Labels, METRIC_NAME, chain};
use crate::run::backups::{self, Backups, Rhythm, Subject};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};
use crate::store::{events, samples};

/// Every six hours.
pub const SCHEDULE: &str = "0 0 */6 * * *";

/// The `backup` job.
pub const JOB: JobSpec = JobSpec {
    name: "backup",
    about: "Save the databases of the clusters for which backups are enabled",
    when: When::Cron(SCHEDULE),
    jitter: Duration::from_secs(60),
    catch_up: CatchUp::Once,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(5 * 3_600),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

/// Each takes processor time and bandwidth; a member of each is read.
const CLUSTERS_AT_ONCE: usize = 2;

async fn run(context: Context) -> anyhow::Result<Summary> {
    let config = context.config().clone();
    let wanted: Vec<ClusterSetup> =
        config.clusters.iter().filter(|cluster| cluster.is_backed_up(&config.backup)).cloned().collect();
    if wanted.is_empty() {
        return Ok(Summary::new("backups are enabled for no cluster"));
    }
    let names: Vec<ClusterName> = wanted.iter().map(|cluster| cluster.config.name.clone()).collect();
    // The run has begun: from now on the next one is due, however long this one takes.
    let rhythm = Rhythm {
        interval_seconds: context.interval_seconds("backup", SCHEDULE),
        next_due_ms: context.next_due_ms("backup", SCHEDULE, context.now_ms()),
    };
    let due: Vec<_> = names.iter().flat_map(|name| backups::due(name, rhythm)).collect();
    samples::write_recorded(context.store(), &context.services.writer, context.now_ms(), &due).await?;
    let backups = backups::open(&config, context.store(), context.environment()).await?;
    let made = wanted.into_iter().map(|cluster| {
        let name = cluster.config.name.clone();
        // A task each: a bug that one cluster brings to light costs another nothing.
        let task = tokio::spawn(one(context.clone(), backups.clone(), cluster));
        async move { (name, task.await.context("this is a bug").flatten()) }
    });
    let made: Vec<_> = stream::iter(made).buffer_unordered(CLUSTERS_AT_ONCE).collect().await;
    let (mut done, mut deleted, mut errors, mut series) = (0, 0, Vec::new(), Vec::new());
    for (name, outcome) in made {
        let labels = [(METRIC_NAME, "etcd_monitor_backup_failed"), ("cluster", name.as_str())];
        series.push((Labels::from_pairs(labels), f64::from(u8::from(outcome.is_err()))));
        match outcome {
            Ok(problems) => {
                done += 1;
                errors.extend(problems.into_iter().map(|problem| format!("{name}: {problem}")));
            }
            Err(error) => errors.push(format!("{name}: {}", chain(error.as_ref()))),
        }
    }
    let mut listing = catalog::list(&backups.destinations, None).await;
    catalog::add_unfinished(&mut listing, &backups.destinations).await;
    errors.append(&mut listing.problems);
    let now_ms = context.services.clock.now_ms();
    for (name, pruned) in backups::prune(&backups, &config, &names, &listing, now_ms).await {
        let event = backups::deletion_told(&name, &pruned, now_ms);
        let events: Vec<_> = event.into_iter().collect();
        events::write(context.store(), &context.services.writer, now_ms, &events).await?;
        listing.backups.retain(|kept| !pruned.deleted.contains(&kept.manifest.id));
        deleted += pruned.deleted.len();
        errors.extend(pruned.problems);
    }
    let others = backups::others(&config, context.store(), context.environment()).await;
    errors.extend(others.problems.iter().cloned());
    let subjects: Vec<Subject> =
        names.iter().map(|name| Subject { name: name.clone(), is_backed_up: true }).collect();
    series.extend(backups::series(&listing, &others.files(), &subjects, rhythm));
    samples::write_recorded(context.store(), &context.services.writer, context.now_ms(), &series).await?;
    let states = backups::states(&config, &listing, &others, rhythm, context.now_ms());
    backups::keep(context.store(), &context.services.writer, &states).await?;
    Ok(Summary::new(format!("{done} of {} cluster(s) backed up, {deleted} backup(s) deleted", names.len()))
        .with_errors(errors))
}

/// Backs up one cluster; returns what went wrong beside.
async fn one(context: Context, backups: Backups, cluster: ClusterSetup) -> anyhow::Result<Vec<String>> {
    let (config, clock) = (context.config().clone(), context.services.clock.clone());
    let outcome =
        backups::make(&backups, &config, &cluster, Origin::Schedule, &clock, &Progress::default()).await;
    let event = backups::told(&cluster.config.name, &outcome, clock.now_ms());
    events::write(context.store(), &context.services.writer, clock.now_ms(), &[event]).await?;
    context.services.changed.notify_one();
    let failed = outcome?.failed.into_iter();
    Ok(failed.map(|(name, error)| format!("destination {name}: {}", chain(&error))).collect())
}
