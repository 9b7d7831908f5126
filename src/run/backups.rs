//! Backups as jobs and commands make them: destinations opened, keys resolved, what happened written down.

mod others;
mod series;
mod state;
mod trial;

pub use others::{Others, look_at_others, others};
pub use series::{Rhythm, Subject, due, rhythm, series};
pub use state::{keep, look_again, states};
pub use trial::{Trial, TrialError, drill, drill_told, drills_due};

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::backup::check::{Bench, CheckError, Checked, check, note};
use crate::backup::database;
use crate::backup::object::identities;
use crate::backup::prune::{Plan, Pruned, plans, prune as prune_one};
use crate::backup::save::{Order, Progress, SaveError, Saved, save};
use crate::backup::{
    BackupId, Destination, Foreign, ForeignVerdict, Found, Kept, Level, Listing, Manifest, Origin,
    RecordedHash, Verdict, VerdictState, open_destinations, said_now,
};
use crate::config::{ClusterSetup, Config, Environment, resolve};
use crate::model::unit::{human_bytes, human_seconds};
use crate::model::{ClusterName, Event, EventKind, Severity, chain};
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

/// Verifies one copy of a backup, writes the verdict beside it, and says what it found. Where what members said when it was
/// made cannot be compared, the members of `cluster` are asked again.
///
/// # Errors
/// When it cannot be found out.
pub async fn verify(
    backups: &Backups,
    kept: &Kept,
    cluster: Option<&ClusterSetup>,
    writer: &Writer,
    clock: &Clock,
    progress: &Arc<database::Progress>,
) -> Result<Verdict, CheckError> {
    let destination = backups.destinations.iter().find(|there| there.name == kept.destination);
    let Some(destination) = destination else { return Err(CheckError::Bug) };
    let started_ms = clock.now_ms();
    let checked = check(destination, &kept.manifest, &backups.bench, progress).await?;
    let Checked { mut judgement, found, .. } = checked;
    if judgement.state == VerdictState::Unverified
        && judgement.level >= Some(Level::L1)
        && let (Some(found), Some(cluster)) = (&found, cluster)
    {
        let said = said_of(found, cluster).await;
        if let Some(said) = said {
            judgement.state = VerdictState::Verified;
            judgement.level = Some(Level::L2);
            judgement.why = vec![format!(
                "what members said before it cannot be compared; {} said the same when it was verified",
                said.instance
            )];
        }
    }
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

/// The word of a member that says now what the database says, if there is one and none says anything else. A cluster may have
/// gone on, and then says nothing of it: that is no evidence against it.
async fn said_of(found: &Found, cluster: &ClusterSetup) -> Option<RecordedHash> {
    let (hash, revision) = found.hash_kv?;
    let login = cluster.backup_login.as_ref().or(cluster.login.as_ref());
    let (said, _) = said_now(&cluster.config, login, revision).await.ok()?;
    let is_comparable = |said: &RecordedHash| said.compact_revision.max(0) == found.compact_revision;
    let comparable: Vec<RecordedHash> = said.into_iter().filter(is_comparable).collect();
    comparable.iter().all(|said| said.hash == hash).then(|| comparable.into_iter().next()).flatten()
}

/// The event of what was found of a file of others.
pub fn foreign_told(file: &Foreign, verdict: &ForeignVerdict) -> Option<Event> {
    if file.verdict.as_ref().is_some_and(|before| before.state == verdict.state) {
        return None;
    }
    let why = if verdict.why.is_empty() { String::new() } else { format!(": {}", verdict.why.join("; ")) };
    let (kind, severity, said) = match verdict.state {
        VerdictState::Verified => (EventKind::BackupVerified, Severity::Info, "is verified"),
        VerdictState::Unverified => (EventKind::BackupVerified, Severity::Info, "is whole"),
        VerdictState::Bad => (EventKind::BackupBad, Severity::Critical, "is bad"),
    };
    let text = format!("{} of {} {said}{why}", file.path, file.source);
    let occurrence = format!("{} {} {}", file.source, file.path, verdict.finished_ms);
    Some(event(&file.cluster, kind, severity, &occurrence, verdict.finished_ms, text, json!(verdict)))
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
