//! Verifies backups: each soon after it was made, and again from time to time.

use std::sync::Arc;
use std::time::Duration;

use crate::backup::check::is_due;
use crate::backup::{VerdictState, catalog};
use crate::model::{ClusterName, chain};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When, backups};
use crate::store::{events, samples};

/// The `verify` job.
pub const JOB: JobSpec = JobSpec {
    name: "verify",
    about: "Read backups back and compare them with what the members said of their data",
    when: When::Cron("0 20 * * * *"),
    jitter: Duration::from_secs(120),
    catch_up: CatchUp::Once,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(3 * 3_600),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let config = context.config().clone();
    let backups = backups::open(&config, context.store(), context.environment()).await?;
    let (clock, writer) = (context.services.clock.clone(), context.services.writer.clone());
    let mut listing = catalog::list(&backups.destinations, None).await;
    let mut errors = std::mem::take(&mut listing.problems);
    let again_ms = i64::try_from(config.backup.verify_again.0.as_millis()).unwrap_or(i64::MAX);
    let (mut looked, mut bad, mut told) = (0, 0, Vec::new());
    // One at a time: each takes a scratch file as large as the database.
    for kept in listing.backups.iter_mut().filter(|kept| is_due(kept, clock.now_ms(), again_ms)) {
        if context.stop.is_cancelled() {
            break;
        }
        match backups::verify(&backups, kept, &writer, &clock, &Arc::default()).await {
            Ok(verdict) => {
                looked += 1;
                bad += usize::from(verdict.state == VerdictState::Bad);
                told.extend(backups::verdict_told(kept, &verdict));
                kept.verdict = Some(verdict);
            }
            Err(error) => {
                errors.push(format!("{} at {}: {}", kept.manifest.id, kept.destination, chain(&error)));
            }
        }
    }
    if !told.is_empty() {
        events::write(context.store(), &writer, clock.now_ms(), &told).await?;
        context.services.changed.notify_one();
    }
    let names: Vec<ClusterName> = config.clusters.iter().map(|cluster| cluster.config.name.clone()).collect();
    let series =
        backups::series(&listing, &names, context.interval_seconds("backup", super::backup::SCHEDULE));
    samples::write_recorded(context.store(), &writer, context.now_ms(), &series).await?;
    let said = format!("{looked} of {} backup(s) verified, {bad} bad", listing.backups.len());
    Ok(Summary::new(said).with_errors(errors))
}
