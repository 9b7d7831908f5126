//! Verifies backups: each soon after it was made, and again from time to time.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use crate::backup::check::is_due;
use crate::backup::tools::ToolError;
use crate::backup::{VerdictState, catalog};
use crate::model::chain;
use crate::run::backups::{Subject, Trial, TrialError};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When, backups};
use crate::store::{events, samples};

use super::backup::SCHEDULE;

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
        let cluster = config.clusters.iter().find(|cluster| cluster.config.name == kept.manifest.cluster);
        match backups::verify(&backups, kept, cluster, &writer, &clock, &Arc::default()).await {
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
    for at in backups::drills_due(&config, &listing, clock.now_ms()) {
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
    let others = backups::look_at_others(&context, &backups, &mut errors).await?;
    let subjects = config.clusters.iter().map(|cluster| Subject {
        name: cluster.config.name.clone(),
        is_backed_up: cluster.is_backed_up(&config.backup),
    });
    let subjects: Vec<Subject> = subjects.collect();
    let rhythm = backups::rhythm(&config, context.store(), &listing, SCHEDULE, context.now_ms()).await?;
    let series = backups::series(&listing, &others.files(), &subjects, rhythm);
    samples::write_recorded(context.store(), &writer, context.now_ms(), &series).await?;
    let states = backups::states(&config, &listing, &others, rhythm, context.now_ms());
    backups::keep(context.store(), &writer, &states).await?;
    let said = format!(
        "{looked} of {} backup(s) verified, {bad} bad, {drilled} restored on trial",
        listing.backups.len()
    );
    Ok(Summary::new(said).with_errors(errors))
}
