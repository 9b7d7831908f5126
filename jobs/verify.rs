//! Verifies backups: each soon after it was made, and again from time to time.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use crate::backup::check::is_due;
use crate::backup::tools::ToolError;
use crate::backup::{Kept, Listing, VerdictState, catalog};
use crate::config::Config;
use crate::model::{ClusterName, chain};
use crate::run::backups::{Trial, TrialError};
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
    let mut drilled = 0;
    for at in drills_due(&config, &listing, clock.now_ms()) {
        let Some(kept) = listing.backups.get_mut(at).filter(|_| !context.stop.is_cancelled()) else {
            continue;
        };
        let cluster = config.clusters.iter().find(|cluster| cluster.config.name == kept.manifest.cluster);
        let path = context.environment().get("PATH").map(OsString::from);
        let trial = Trial {
            config: &config.backup,
            path: path.as_deref(),
            login: cluster.and_then(|cluster| cluster.backup_login.as_ref().or(cluster.login.as_ref())),
        };
        let outcome = backups::drill(&backups, kept, &trial, &writer, &clock, &Arc::default()).await;
        match &outcome {
            // A host without etcd does the rest.
            Err(TrialError::Tool(ToolError::Missing { .. })) => break,
            Err(error) => errors.push(format!("restore of {} on trial: {}", kept.manifest.id, chain(error))),
            Ok(_) => drilled += 1,
        }
        told.push(backups::drill_told(kept, &outcome, clock.now_ms()));
        if let Ok(verdict) = outcome {
            kept.verdict = Some(verdict);
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
    let said = format!(
        "{looked} of {} backup(s) verified, {bad} bad, {drilled} restored on trial",
        listing.backups.len()
    );
    Ok(Summary::new(said).with_errors(errors))
}

/// Of each cluster whose last restore on trial is long ago: where its newest verified backup is in the listing.
fn drills_due(config: &Config, listing: &Listing, now_ms: i64) -> Vec<usize> {
    let drill = &config.backup.drill;
    let every_ms = i64::try_from(drill.every.0.as_millis()).unwrap_or(i64::MAX);
    let is_fresh = |kept: &Kept| {
        let verdict = kept.verdict.as_ref().filter(|verdict| verdict.drill.is_some());
        verdict.is_some_and(|verdict| now_ms.saturating_sub(verdict.finished_ms) < every_ms)
    };
    let of_one = |cluster: &ClusterName| {
        let of_it =
            || listing.backups.iter().enumerate().filter(|(_, kept)| kept.manifest.cluster == *cluster);
        let is_verified =
            |kept: &Kept| kept.verdict.as_ref().is_some_and(|it| it.state == VerdictState::Verified);
        if of_it().any(|(_, kept)| is_fresh(kept)) {
            return None;
        }
        of_it().filter(|(_, kept)| is_verified(kept) && !kept.is_condemned()).map(|(at, _)| at).next_back()
    };
    let clusters = config.clusters.iter().filter(|_| drill.enabled);
    clusters.filter_map(|cluster| of_one(&cluster.config.name)).collect()
}
