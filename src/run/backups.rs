//! Backups as jobs and commands make them: destinations opened, keys resolved, what happened written down.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::backup::check::{Bench, CheckError, Checked, check, note};
use crate::backup::database;
use crate::backup::drill::{DrillError, Setup, drill as try_restore};
use crate::backup::object::identities;
use crate::backup::prune::{Plan, Pruned, plans, prune as prune_one};
use crate::backup::save::{Order, Progress, SaveError, Saved, save};
use crate::backup::tools::{self, ToolError};
use crate::backup::{
    BackupConfig, BackupId, Destination, Drill, Kept, Level, Listing, Manifest, Origin, Verdict,
    VerdictState, open_destinations,
};
use crate::config::{ClusterSetup, Config, Environment, resolve};
use crate::etcd::Login;
use crate::model::unit::{human_bytes, human_seconds};
use crate::model::{ClusterName, Event, EventKind, Labels, METRIC_NAME, Severity, chain};
use crate::store::{Store, Writer};

use super::clock::Clock;

/// Where backups are, and with what they are read.
#[derive(Clone)]
pub struct Backups {
    pub destinations: Vec<Destination>,
    pub bench: Bench,
}

/// Opens what `config` says; `own` is the product's store.
///
/// # Errors
/// When a destination cannot be opened, or a key is none.
pub async fn open(config: &Config, own: &Store, environment: &Environment) -> anyhow::Result<Backups> {
    let section = &config.backup;
    let destinations = open_destinations(section, own, &|name| environment.get(name).cloned()).await;
    let destinations = destinations
        .map_err(|(name, error)| anyhow::Error::new(error).context(format!("backup destination {name}")))?;
    let mut keys = Vec::new();
    for reference in &section.encryption.identities {
        let secret = resolve(reference, environment)?;
        let found = identities(secret.expose_secret());
        keys.extend(found.with_context(|| format!("backup.encryption.identities: {reference:?}"))?);
    }
    Ok(Backups { destinations, bench: Bench { identities: keys, scratch: section.scratch.clone() } })
}

/// Makes a backup of one cluster.
///
/// # Errors
/// [`SaveError`].
pub async fn make(
    backups: &Backups,
    config: &Config,
    cluster: &ClusterSetup,
    origin: Origin,
    clock: &Clock,
    progress: &Progress,
) -> Result<Saved, SaveError> {
    let now_ms = || clock.now_ms();
    let order = Order {
        cluster: &cluster.config,
        login: cluster.backup_login.as_ref().or(cluster.login.as_ref()),
        config: &config.backup,
        destinations: &backups.destinations,
        id: BackupId::new(clock.now_ms(), ulid::Ulid::generate().0),
        origin,
        now_ms: &now_ms,
    };
    save(&order, progress).await
}

/// The event of a backup that was made or was not.
pub fn told(cluster: &ClusterName, outcome: &Result<Saved, SaveError>, now_ms: i64) -> Event {
    let (kind, severity, occurrence, text, details) = match outcome {
        Ok(saved) => {
            let Manifest { id, bytes, object, started_ms, finished_ms, .. } = &saved.manifest;
            let took = human_seconds((finished_ms - started_ms) as f64 / 1e3);
            let (size, stored) = (human_bytes(*bytes as f64), human_bytes(object.bytes as f64));
            let at = saved.stored.join(", ");
            let failed: Vec<String> =
                saved.failed.iter().map(|(name, error)| format!("{name}: {}", chain(error))).collect();
            let text = format!("backup {id}: {size} in {took}, {stored} stored at {at}");
            let severity = if failed.is_empty() { Severity::Info } else { Severity::Warning };
            let details = json!({ "id": id, "bytes": bytes, "stored": saved.stored, "failed": failed });
            (EventKind::BackupDone, severity, id.to_string(), text, details)
        }
        Err(error) => {
            let why = chain(error);
            let text = format!("no backup was made: {why}");
            (EventKind::BackupFailed, Severity::Warning, now_ms.to_string(), text, json!({ "why": why }))
        }
    };
    event(cluster, kind, severity, &occurrence, now_ms, text, details)
}

/// Verifies one copy of a backup, writes the verdict beside it, and says what it found.
///
/// # Errors
/// When it cannot be found out.
pub async fn verify(
    backups: &Backups,
    kept: &Kept,
    writer: &Writer,
    clock: &Clock,
    progress: &Arc<database::Progress>,
) -> Result<Verdict, CheckError> {
    let destination = backups.destinations.iter().find(|there| there.name == kept.destination);
    let Some(destination) = destination else { return Err(CheckError::Bug) };
    let started_ms = clock.now_ms();
    let checked = check(destination, &kept.manifest, &backups.bench, progress).await?;
    let Checked { judgement, found, .. } = checked;
    // What a trial has shown stays shown, as long as the object is the same.
    let drill = kept.verdict.as_ref().and_then(|before| before.drill.clone());
    let drill = drill.filter(|_| judgement.state == VerdictState::Verified);
    let level = if drill.is_some() { Some(Level::L3) } else { judgement.level };
    let verdict = Verdict {
        backup: kept.manifest.id.clone(),
        state: judgement.state,
        level,
        why: judgement.why,
        started_ms,
        finished_ms: clock.now_ms(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        found,
        drill,
    };
    note(destination, &kept.manifest, &verdict, writer).await?;
    Ok(verdict)
}

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

/// The event of a verdict that says something new.
pub fn verdict_told(kept: &Kept, verdict: &Verdict) -> Option<Event> {
    if kept.verdict.as_ref().is_some_and(|before| before.state == verdict.state) {
        return None;
    }
    let Manifest { id, cluster, .. } = &kept.manifest;
    let (kind, severity, said) = match verdict.state {
        VerdictState::Verified => (EventKind::BackupVerified, Severity::Info, "is verified"),
        VerdictState::Unverified => (EventKind::BackupVerified, Severity::Warning, "cannot be verified"),
        VerdictState::Bad => (EventKind::BackupBad, Severity::Critical, "is bad"),
    };
    let why = if verdict.why.is_empty() { String::new() } else { format!(": {}", verdict.why.join("; ")) };
    let text = format!("backup {id} at {} {said}{why}", kept.destination);
    let occurrence = format!("{id} {} {}", kept.destination, verdict.finished_ms);
    Some(event(cluster, kind, severity, &occurrence, verdict.finished_ms, text, json!(verdict)))
}

fn event(
    cluster: &ClusterName,
    kind: EventKind,
    severity: Severity,
    occurrence: &str,
    ts_ms: i64,
    text: String,
    details: serde_json::Value,
) -> Event {
    const SUBJECT: &str = "backup";
    Event {
        id: Event::id_of(cluster, kind, SUBJECT, occurrence),
        cluster: cluster.clone(),
        ts_ms,
        kind,
        severity,
        subject: SUBJECT.to_owned(),
        actor: None,
        text,
        details,
    }
}

/// Keeps the rules of retention for `clusters` at every destination.
pub async fn prune(
    backups: &Backups,
    config: &Config,
    clusters: &[ClusterName],
    listing: &Listing,
    now_ms: i64,
) -> Vec<(ClusterName, Pruned)> {
    let plans = plans(listing, &backups.destinations, clusters, &config.backup.retention, &[], now_ms);
    carry_out(backups, &plans, listing, now_ms).await
}

/// Does what plans say; returns what was done for each cluster.
pub async fn carry_out(
    backups: &Backups,
    plans: &[Plan],
    listing: &Listing,
    now_ms: i64,
) -> Vec<(ClusterName, Pruned)> {
    let mut done: BTreeMap<ClusterName, Pruned> = BTreeMap::new();
    for plan in plans {
        let Some(there) = backups.destinations.iter().find(|there| there.name == plan.destination) else {
            continue;
        };
        let pruned = prune_one(there, plan, listing, now_ms).await;
        done.entry(plan.cluster.clone()).or_default().add(pruned);
    }
    done.into_iter().collect()
}

/// The event of a deletion; `None` where nothing was deleted.
pub fn deletion_told(cluster: &ClusterName, pruned: &Pruned, now_ms: i64) -> Option<Event> {
    let ids: Vec<&str> = pruned.deleted.iter().map(BackupId::as_str).collect();
    let first = ids.first()?;
    let freed = human_bytes(pruned.freed_bytes as f64);
    let text = format!("{} backup(s) deleted, {freed} freed: {}", ids.len(), ids.join(", "));
    Some(event(cluster, EventKind::BackupsDeleted, Severity::Info, first, now_ms, text, json!(pruned)))
}

/// The series that rules read of what there is: of each of `clusters`, where one was backed up at all.
pub fn series(
    listing: &Listing,
    clusters: &[ClusterName],
    interval_seconds: Option<f64>,
) -> Vec<(Labels, f64)> {
    let mut series = Vec::new();
    for cluster in clusters {
        let mut add = |name: &str, value: f64| {
            series.push((Labels::from_pairs([(METRIC_NAME, name), ("cluster", cluster.as_str())]), value));
        };
        let of_it = || {
            listing.backups.iter().filter(|kept| kept.manifest.cluster == *cluster && !kept.is_condemned())
        };
        let Some(newest_ms) = of_it().map(|kept| kept.manifest.finished_ms).max() else { continue };
        add("etcd_monitor_backup_last_success_timestamp_seconds", newest_ms as f64 / 1e3);
        if let Some(interval) = interval_seconds {
            add("etcd_monitor_backup_interval_seconds", interval);
        }
        let is_verified = |kept: &&Kept| {
            kept.verdict.as_ref().is_some_and(|verdict| verdict.state == VerdictState::Verified)
        };
        let unverified =
            of_it().filter(|kept| !is_verified(kept)).map(|kept| kept.manifest.finished_ms).min();
        if let Some(oldest_ms) = unverified {
            add("etcd_monitor_backup_oldest_unverified_timestamp_seconds", oldest_ms as f64 / 1e3);
        }
        let is_bad =
            |kept: &Kept| kept.verdict.as_ref().is_some_and(|verdict| verdict.state == VerdictState::Bad);
        let drilled = of_it().filter_map(|kept| kept.verdict.as_ref().filter(|it| it.drill.is_some()));
        if let Some(drilled) = drilled.max_by_key(|verdict| verdict.finished_ms) {
            add(
                "etcd_monitor_restore_drill_last_success_timestamp_seconds",
                drilled.finished_ms as f64 / 1e3,
            );
            let recovery_ms = drilled.drill.as_ref().map_or(0, |drill| drill.recovery_ms);
            add("etcd_monitor_restore_drill_recovery_seconds", recovery_ms as f64 / 1e3);
        }
        add("etcd_monitor_backups_bad", of_it().filter(|kept| is_bad(kept)).count() as f64);
    }
    series
}
