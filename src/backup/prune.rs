//! Deletes what no rule keeps, in two steps: a tombstone says that a backup is going to be deleted, and after the grace
//! time it is. Until then it can be taken back. Also collects what failed backups left.
//!
//! A deletion begins with the manifest, so that at no moment there is a manifest without its object; the tombstone goes
//! last, and a pass that was killed is finished by the next one.

use serde::Serialize;

use super::retention::{Candidate, Decision, RetentionConfig, decide};
use super::{BackupId, By, Destination, Kept, Listing, Tombstone, VerdictState};
use crate::model::{ClusterName, chain};
use crate::store::key::{self, Prefix};
use crate::store::{Store, StoreError};

/// What is going to be done at one destination about one cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub destination: String,
    pub cluster: ClusterName,
    /// Of every backup, oldest first.
    pub decisions: Vec<Decision>,
    pub steps: Vec<Step>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Step {
    /// Write its tombstone.
    Condemn { id: BackupId, by: By },
    /// A rule keeps it again: remove its tombstone.
    Pardon { id: BackupId },
    /// Its grace time is over.
    Delete { id: BackupId, bytes: u64 },
    /// A deletion that broke off.
    Finish { id: BackupId },
    /// What a failed backup left.
    Collect { key: String, bytes: u64 },
    /// An upload that a killed backup left.
    Discard { key: String, upload: String },
}

impl Step {
    /// Of which backup it is; `None` of what belongs to none.
    pub fn id(&self) -> Option<&BackupId> {
        match self {
            Self::Condemn { id, .. }
            | Self::Pardon { id }
            | Self::Delete { id, .. }
            | Self::Finish { id } => Some(id),
            Self::Collect { .. } | Self::Discard { .. } => None,
        }
    }
}

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Pruned {
    pub condemned: Vec<BackupId>,
    pub pardoned: Vec<BackupId>,
    pub deleted: Vec<BackupId>,
    /// Objects and uploads of failed backups.
    pub collected: usize,
    pub freed_bytes: u64,
    pub problems: Vec<String>,
}

/// The manifest of a backup that is being made is written right after its object; where that hangs it is given up.
const MANIFEST_COMES_MS: i64 = 3_600_000;

/// Plans for one cluster at one destination. `asked` are condemned whatever the rules say, as far as that is allowed.
pub fn plan(
    listing: &Listing,
    destination: &str,
    cluster: &ClusterName,
    policy: &RetentionConfig,
    asked: &[BackupId],
    now_ms: i64,
) -> Plan {
    let here: Vec<&Kept> = listing
        .backups
        .iter()
        .filter(|kept| kept.destination == destination && kept.manifest.cluster == *cluster)
        .collect();
    let candidates: Vec<Candidate> = here.iter().map(|kept| candidate(kept)).collect();
    let decisions = decide(&candidates, policy, now_ms);
    let grace_ms = i64::try_from(policy.grace.0.as_millis()).unwrap_or(i64::MAX);
    let is_over = |since_ms: i64| now_ms.saturating_sub(since_ms) >= grace_ms;
    let mut steps = Vec::new();
    for decision in &decisions {
        let Some(kept) = here.iter().find(|kept| kept.manifest.id == decision.id) else { continue };
        let id = decision.id.clone();
        let is_held = decision.reasons.iter().any(super::retention::Reason::is_absolute);
        let wanted = if asked.contains(&id) && !is_held { Some(By::Command) } else { None };
        match (&kept.tombstone, wanted) {
            (None, Some(by)) => steps.push(Step::Condemn { id, by }),
            (None, None) if !decision.is_kept() => steps.push(Step::Condemn { id, by: By::Retention }),
            (None, None) => {}
            (Some(tombstone), _) => {
                let stays = is_held || (tombstone.by == By::Retention && decision.is_kept());
                if stays {
                    steps.push(Step::Pardon { id });
                } else if is_over(tombstone.condemned_ms) {
                    steps.push(Step::Delete { id, bytes: kept.manifest.object.bytes });
                }
            }
        }
    }
    let mine = |there: &str, of: &str| there == destination && of == cluster.as_str();
    let half = listing.half_deleted.iter().filter(|half| mine(&half.destination, &half.cluster));
    steps.extend(half.map(|half| Step::Finish { id: half.id.clone() }));
    let orphans = listing.orphans.iter().filter(|orphan| mine(&orphan.destination, &orphan.cluster));
    let old = orphans.filter(|orphan| is_over(orphan.modified_ms.saturating_add(MANIFEST_COMES_MS)));
    steps.extend(old.map(|orphan| Step::Collect { key: orphan.key.to_string(), bytes: orphan.bytes }));
    let unfinished = listing.unfinished.iter().filter(|(there, it)| {
        let of = it.key.segments();
        mine(there, of.get(1).copied().unwrap_or_default())
            && is_over(it.touched_ms.saturating_add(MANIFEST_COMES_MS))
    });
    steps.extend(
        unfinished.map(|(_, it)| Step::Discard { key: it.key.to_string(), upload: it.upload.clone() }),
    );
    Plan { destination: destination.to_owned(), cluster: cluster.clone(), decisions, steps }
}

fn candidate(kept: &Kept) -> Candidate {
    let manifest = &kept.manifest;
    Candidate {
        id: manifest.id.clone(),
        finished_ms: manifest.finished_ms,
        state: kept.verdict.as_ref().map(|verdict| verdict.state),
        parent: manifest.parent.clone(),
        locked_until_ms: manifest.locked_until_ms,
    }
}

/// Does what a plan says. One step that fails takes nothing from the others.
pub async fn prune(destination: &Destination, plan: &Plan, listing: &Listing, now_ms: i64) -> Pruned {
    let mut done = Pruned::default();
    let store = &destination.store;
    let cluster = plan.cluster.as_str();
    let deletes = plan.steps.iter().any(|step| matches!(step, Step::Delete { .. }));
    // The listing is as old as it is: whoever deletes looks first whether what shall remain is there.
    let missing = if deletes { witness(destination, plan, listing).await } else { None };
    for step in &plan.steps {
        let outcome = match step {
            Step::Condemn { id, by } => {
                condemn(store, cluster, id, *by, now_ms).await.map(|()| done.condemned.push(id.clone()))
            }
            Step::Pardon { id } => {
                let gone = store.delete_backup(&key::backup_tombstone(cluster, id.as_str())).await;
                gone.map(|()| done.pardoned.push(id.clone()))
            }
            Step::Delete { id, bytes } => {
                if missing.is_some() {
                    continue;
                }
                delete(store, cluster, id).await.map(|()| {
                    done.deleted.push(id.clone());
                    done.freed_bytes += bytes;
                })
            }
            Step::Finish { id } => delete(store, cluster, id).await,
            Step::Collect { key, bytes } => {
                store.delete_backup(&key::backup_object_named(key)).await.map(|()| {
                    done.collected += 1;
                    done.freed_bytes += bytes;
                })
            }
            Step::Discard { key, upload } => match listing.unfinished.iter().find(|(there, it)| {
                *there == plan.destination && it.upload == *upload && it.key.as_str() == key
            }) {
                Some((_, it)) => store.discard(it).await.map(|()| {
                    done.collected += 1;
                    done.freed_bytes += it.bytes;
                }),
                None => Ok(()),
            },
        };
        if let Err(error) = outcome {
            done.problems.push(chain(&error));
        }
    }
    done.problems.extend(missing);
    let named = |problem: String| format!("{} at {}: {problem}", plan.cluster, plan.destination);
    done.problems = std::mem::take(&mut done.problems).into_iter().map(named).collect();
    done
}

impl Pruned {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.condemned.extend(other.condemned);
        self.pardoned.extend(other.pardoned);
        self.deleted.extend(other.deleted);
        self.collected += other.collected;
        self.freed_bytes += other.freed_bytes;
        self.problems.extend(other.problems);
    }
}

/// Why nothing may be deleted: the newest verified backup is not there as it should be.
async fn witness(destination: &Destination, plan: &Plan, listing: &Listing) -> Option<String> {
    let is_kept = |kept: &&Kept| {
        let decided = plan.decisions.iter().find(|decision| decision.id == kept.manifest.id);
        kept.destination == plan.destination
            && kept.manifest.cluster == plan.cluster
            && decided.is_some_and(Decision::is_kept)
    };
    let is_verified =
        |kept: &&Kept| kept.verdict.as_ref().is_some_and(|it| it.state == VerdictState::Verified);
    let mut kept = listing.backups.iter().filter(is_kept).rev();
    let newest = kept.clone().find(is_verified).or_else(|| kept.next());
    let Some(newest) = newest else { return Some("nothing is deleted, as nothing would remain".to_owned()) };
    let manifest = &newest.manifest;
    let held = |what: &str| Some(format!("nothing is deleted: {} is to remain, and {what}", manifest.id));
    match destination.store.size(&key::backup_object_named(&manifest.object.key)).await {
        Ok(Some(bytes)) if bytes == manifest.object.bytes => None,
        Ok(Some(bytes)) => {
            held(&format!("its object has {bytes} bytes instead of {}", manifest.object.bytes))
        }
        Ok(None) => held("its object is gone"),
        Err(error) => held(&chain(&error)),
    }
}

async fn condemn(store: &Store, cluster: &str, id: &BackupId, by: By, now_ms: i64) -> Result<(), StoreError> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let tombstone = Tombstone { backup: id.clone(), by, condemned_ms: now_ms, tool_version: version };
    let body = serde_json::to_vec_pretty(&tombstone).unwrap_or_default();
    store.create(&key::backup_tombstone(cluster, id.as_str()), body.into()).await.map(drop)
}

/// The manifest first, the tombstone last.
async fn delete(store: &Store, cluster: &str, id: &BackupId) -> Result<(), StoreError> {
    store.delete_backup(&key::backup_manifest(cluster, id.as_str())).await?;
    for encrypted in [false, true] {
        store.delete_backup(&super::destination::object_key(cluster, id, encrypted)).await?;
    }
    for verdict in store.list(&Prefix::backup_verdicts(cluster, id.as_str())).await? {
        store.delete_backup(&verdict.key).await?;
    }
    store.delete_backup(&key::backup_tombstone(cluster, id.as_str())).await
}

/// Takes the decision back.
///
/// # Errors
/// When the destination cannot be written.
pub async fn pardon(destination: &Destination, kept: &Kept) -> Result<(), StoreError> {
    let manifest = &kept.manifest;
    let tombstone = key::backup_tombstone(manifest.cluster.as_str(), manifest.id.as_str());
    destination.store.delete_backup(&tombstone).await
}

/// The backups of every cluster at every destination, planned.
pub fn plans(
    listing: &Listing,
    destinations: &[Destination],
    clusters: &[ClusterName],
    policy: &RetentionConfig,
    asked: &[BackupId],
    now_ms: i64,
) -> Vec<Plan> {
    let pairs = clusters.iter().flat_map(|cluster| destinations.iter().map(move |there| (cluster, there)));
    pairs.map(|(cluster, there)| plan(listing, &there.name, cluster, policy, asked, now_ms)).collect()
}
