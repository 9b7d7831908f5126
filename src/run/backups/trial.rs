//! Restores on trial as jobs and commands make them.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::{Backups, event};
use crate::backup::check::{CheckError, Checked, check, note};
use crate::backup::database;
use crate::backup::drill::{DrillError, Setup, drill as try_restore};
use crate::backup::tools::{self, ToolError};
use crate::backup::{BackupConfig, Drill, Kept, Level, Listing, Manifest, Verdict, VerdictState};
use crate::config::Config;
use crate::etcd::Login;
use crate::model::unit::human_seconds;
use crate::model::{ClusterName, Event, EventKind, Severity, chain};
use crate::run::clock::Clock;
use crate::store::Writer;

/// Why no restore was tried, or how it failed.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("it cannot be restored: {0}")]
    Unreadable(String),
    #[error(transparent)]
    Drill(#[from] DrillError),
}

/// With what a restore is tried.
pub struct Trial<'a> {
    pub config: &'a BackupConfig,
    /// Where programs are looked for.
    pub path: Option<&'a OsStr>,
    /// Of the cluster, where authentication is on.
    pub login: Option<&'a Login>,
}

/// Restores one copy of a backup on trial, writes the verdict beside it, and says what it found.
///
/// # Errors
/// [`TrialError`]: nothing was found out about the backup then.
pub async fn drill(
    backups: &Backups,
    kept: &Kept,
    trial: &Trial<'_>,
    writer: &Writer,
    clock: &Clock,
    progress: &Arc<database::Progress>,
) -> Result<Verdict, TrialError> {
    let destination = backups.destinations.iter().find(|there| there.name == kept.destination);
    let Some(destination) = destination else { return Err(CheckError::Bug.into()) };
    let version = &kept.manifest.source.version;
    let etcd = tools::server(trial.config.drill.etcd.as_deref(), trial.path, version).await?;
    let etcdutl = tools::restorer(trial.config.etcdutl.as_deref(), trial.path, version).await?;
    let (started_ms, began) = (clock.now_ms(), Instant::now());
    let Checked { judgement, found, file } =
        check(destination, &kept.manifest, &backups.bench, progress).await?;
    let mut verdict = Verdict {
        backup: kept.manifest.id.clone(),
        state: judgement.state,
        level: judgement.level,
        why: judgement.why,
        started_ms,
        finished_ms: clock.now_ms(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        found,
        drill: None,
    };
    if verdict.state != VerdictState::Bad {
        let (Some(found), Some(database)) = (&verdict.found, &file) else {
            return Err(TrialError::Unreadable(verdict.why.join("; ")));
        };
        let scratch = &backups.bench.scratch;
        let (etcd, etcdutl, path, login) = (&etcd, &etcdutl, trial.path, trial.login);
        let setup = Setup { etcd, etcdutl, scratch, login, database, found, path, began };
        match try_restore(&setup).await {
            Ok(drill) => {
                verdict.drill = Some(drill);
                if verdict.state == VerdictState::Verified {
                    verdict.level = Some(Level::L3);
                }
            }
            Err(error @ DrillError::Differs(_)) => {
                verdict.state = VerdictState::Bad;
                verdict.why.push(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    verdict.finished_ms = clock.now_ms();
    note(destination, &kept.manifest, &verdict, writer).await.map_err(CheckError::from)?;
    Ok(verdict)
}

/// The event of a restore on trial.
pub fn drill_told(kept: &Kept, outcome: &Result<Verdict, TrialError>, now_ms: i64) -> Event {
    let Manifest { id, cluster, .. } = &kept.manifest;
    let (severity, text, details) = match outcome {
        Ok(verdict) => match &verdict.drill {
            Some(drill) => {
                let took = human_seconds(drill.recovery_ms as f64 / 1e3);
                let Drill { etcd_version, sampled_keys, .. } = drill;
                let text = format!(
                    "backup {id} was restored on trial in {took}: etcd {etcd_version} runs from it, {sampled_keys} keys compared"
                );
                (Severity::Info, text, json!(verdict))
            }
            None => {
                let text = format!("backup {id} cannot be restored: {}", verdict.why.join("; "));
                (Severity::Critical, text, json!(verdict))
            }
        },
        Err(error) => {
            let why = chain(error);
            (
                Severity::Warning,
                format!("the restore of backup {id} on trial broke off: {why}"),
                json!({ "why": why }),
            )
        }
    };
    let occurrence = format!("drill {id} {now_ms}");
    event(cluster, EventKind::RestoreDrill, severity, &occurrence, now_ms, text, details)
}

/// Of each cluster whose last restore on trial is long ago: where its newest verified backup is in the listing.
pub fn drills_due(config: &Config, listing: &Listing, now_ms: i64) -> Vec<usize> {
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
