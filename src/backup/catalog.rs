//! Which backups there are: the manifests of a destination, each with what was found out about it last.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};

use super::{BackupId, Destination, MANIFEST_FORMAT, Manifest, Tombstone, Verdict};
use crate::model::ClusterName;
use crate::store::key::{Key, Prefix};
use crate::store::{Store, StoreError, Unfinished};

/// A backup as one destination has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub destination: String,
    pub manifest: Manifest,
    /// The newest one; `None` of a backup that nobody has looked at yet.
    pub verdict: Option<Verdict>,
    /// It is going to be deleted.
    pub tombstone: Option<Tombstone>,
}

impl Kept {
    pub fn is_condemned(&self) -> bool {
        self.tombstone.is_some()
    }
}

/// What is there, oldest first, and what of it could not be read.
#[derive(Debug, Default)]
pub struct Listing {
    pub backups: Vec<Kept>,
    pub problems: Vec<String>,
    /// Objects without a manifest: of backups that are being made, or that failed.
    pub orphans: Vec<Orphan>,
    /// Uploads that go on, or that a killed backup left: the destination, and what it is.
    pub unfinished: Vec<(String, Unfinished)>,
    /// Backups whose deletion broke off.
    pub half_deleted: Vec<HalfDeleted>,
}

/// A backup without a manifest that has a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalfDeleted {
    pub destination: String,
    pub cluster: String,
    pub id: BackupId,
}

/// An object that belongs to no backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pub destination: String,
    pub cluster: String,
    pub key: Key,
    pub bytes: u64,
    /// By the store's clock, ms since the epoch.
    pub modified_ms: i64,
}

const READS_AT_ONCE: usize = 16;

/// Lists all destinations, or what they have of one cluster. A destination that cannot be listed is a problem, and takes
/// nothing from the others.
pub async fn list(destinations: &[Destination], cluster: Option<&ClusterName>) -> Listing {
    let mut listing = Listing::default();
    for destination in destinations {
        if let Err(error) = of_one(destination, cluster, &mut listing).await {
            listing.problems.push(format!("{}: {}", destination.name, crate::model::chain(&error)));
        }
    }
    // Two ids of one second are in no order.
    listing.backups.sort_by(|a, b| {
        let key = |kept: &Kept| {
            let Manifest { finished_ms, id, cluster, .. } = &kept.manifest;
            (*finished_ms, id.clone(), cluster.clone(), kept.destination.clone())
        };
        key(a).cmp(&key(b))
    });
    listing
}

/// Adds the uploads that are no objects yet to what was listed, for whoever deletes. Not to be allowed to list them is a
/// problem, and takes nothing from the rest.
pub async fn add_unfinished(listing: &mut Listing, destinations: &[Destination]) {
    for destination in destinations {
        match destination.store.unfinished(&Prefix::backups()).await {
            Ok(found) => {
                let named = found.into_iter().map(|it| (destination.name.clone(), it));
                listing.unfinished.extend(named);
            }
            Err(error) => {
                listing.problems.push(format!("{}: {}", destination.name, crate::model::chain(&error)));
            }
        }
    }
}

/// What lies in the folders of one cluster.
#[derive(Default)]
struct Folder {
    manifests: Vec<Key>,
    /// By id, the newest.
    verdicts: BTreeMap<String, Key>,
    tombstones: BTreeMap<String, Key>,
    objects: Vec<(Key, u64, i64)>,
}

async fn folders(store: &Store, prefix: &Prefix) -> Result<BTreeMap<String, Folder>, StoreError> {
    let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
    for entry in store.list(prefix).await? {
        let segments: Vec<String> = entry.key.segments().into_iter().map(str::to_owned).collect();
        let [_, cluster, kind, rest @ ..] = segments.as_slice() else { continue };
        let folder = folders.entry(cluster.clone()).or_default();
        match (kind.as_str(), rest) {
            ("manifests", [_]) => folder.manifests.push(entry.key),
            // The listing is sorted, so the newest comes last.
            ("verdicts", [id, _]) => drop(folder.verdicts.insert(id.clone(), entry.key)),
            ("tombstones", [_]) => drop(folder.tombstones.insert(id_of(&entry.key).to_owned(), entry.key)),
            ("data", [_]) => folder.objects.push((entry.key, entry.size_bytes, entry.modified_ms)),
            _ => {}
        }
    }
    Ok(folders)
}

async fn of_one(
    destination: &Destination,
    cluster: Option<&ClusterName>,
    listing: &mut Listing,
) -> Result<(), StoreError> {
    let store = &destination.store;
    let prefix = cluster.map_or_else(Prefix::backups, |cluster| Prefix::backups_of(cluster.as_str()));
    for (cluster, mut folder) in folders(store, &prefix).await? {
        let (mut known, mut unread) = (Vec::new(), Vec::new());
        let reads = std::mem::take(&mut folder.manifests).into_iter().map(|key| {
            let store = store.clone();
            async move { (read::<Manifest>(&store, &key).await, key) }
        });
        let read_all: Vec<_> = stream::iter(reads).buffered(READS_AT_ONCE).collect().await;
        for (manifest, key) in read_all {
            match manifest {
                Ok(manifest) if manifest.format <= MANIFEST_FORMAT => {
                    known.push(manifest.object.key.clone());
                    let verdict = match folder.verdicts.get(manifest.id.as_str()) {
                        Some(key) => read::<Verdict>(store, key).await.ok(),
                        None => None,
                    };
                    let tombstone = match folder.tombstones.remove(manifest.id.as_str()) {
                        Some(key) => read::<Tombstone>(store, &key).await.ok(),
                        None => None,
                    };
                    let destination = destination.name.clone();
                    listing.backups.push(Kept { destination, manifest, verdict, tombstone });
                }
                Ok(manifest) => {
                    unread.push(key.clone());
                    listing.problems.push(format!(
                        "{}: {key} is of format {}, and this version reads up to {MANIFEST_FORMAT}",
                        destination.name, manifest.format
                    ));
                }
                Err(why) => {
                    listing.problems.push(format!("{}: {key}: {why}", destination.name));
                    unread.push(key);
                }
            }
        }
        // What has no manifest to it. One that could not be read is still there.
        let half = folder.tombstones.keys().filter_map(|id| id.parse().ok());
        let half = half.filter(|id: &BackupId| !unread.iter().any(|key| id_of(key) == id.as_str()));
        listing.half_deleted.extend(half.map(|id| HalfDeleted {
            destination: destination.name.clone(),
            cluster: cluster.clone(),
            id,
        }));
        let orphans = folder.objects.into_iter().filter(|(key, ..)| {
            let id = id_of(key);
            !known.iter().any(|known| known == key.as_str())
                && !unread.iter().any(|unread| id_of(unread) == id)
        });
        listing.orphans.extend(orphans.map(|(key, bytes, modified_ms)| Orphan {
            destination: destination.name.clone(),
            cluster: cluster.clone(),
            key,
            bytes,
            modified_ms,
        }));
    }
    Ok(())
}

/// What stands before the first dot of a key's last part.
fn id_of(key: &Key) -> &str {
    let name = key.as_str().rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

async fn read<T: serde::de::DeserializeOwned>(store: &Store, key: &Key) -> Result<T, String> {
    let body = store.get(key).await.map_err(|error| crate::model::chain(&error))?;
    let body = body.ok_or("it is gone")?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

impl Listing {
    /// As [`Self::find`], at one destination where one is named.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_at(&self, name: &str, destination: Option<&str>) -> Result<&Kept, String> {
        let found = self.find(name)?;
        let Some(destination) = destination else { return Ok(found) };
        let id = &found.manifest.id;
        let there =
            self.backups.iter().find(|kept| kept.manifest.id == *id && kept.destination == destination);
        there.ok_or_else(|| format!("there is no copy of {id} at {destination:?}"))
    }

    /// The backup that `name` means: an id, the beginning of one, or `latest`; `CLUSTER/latest` where there are several
    /// clusters. Of copies the first.
    ///
    /// # Errors
    /// A sentence that says why none, or that several are meant.
    pub fn find(&self, name: &str) -> Result<&Kept, String> {
        let (cluster, id) = name.rsplit_once('/').map_or((None, name), |(cluster, id)| (Some(cluster), id));
        let is_of = |kept: &&Kept| cluster.is_none_or(|cluster| kept.manifest.cluster.as_str() == cluster);
        let is_meant = |kept: &&Kept| id == "latest" || kept.manifest.id.as_str().starts_with(id);
        let found: Vec<&Kept> = self.backups.iter().filter(is_of).filter(is_meant).collect();
        let distinct =
            |of: &dyn Fn(&Kept) -> String| found.iter().map(|kept| of(kept)).collect::<BTreeSet<_>>();
        if id == "latest" {
            let clusters = distinct(&|kept| kept.manifest.cluster.to_string());
            if clusters.len() > 1 {
                let names: Vec<String> = clusters.iter().map(|name| format!("{name}/latest")).collect();
                return Err(format!(
                    "there are backups of several clusters; say which: {}",
                    names.join(", ")
                ));
            }
            let newest = found.last().map(|kept| kept.manifest.id.clone()).ok_or("there is no backup")?;
            return found
                .into_iter()
                .find(|kept| kept.manifest.id == newest)
                .ok_or_else(|| "it is gone".to_owned());
        }
        match distinct(&|kept| kept.manifest.id.to_string()).len() {
            0 => Err(format!("there is no backup {name:?}; `backup list` shows them")),
            1 => found.first().copied().ok_or_else(|| "it is gone".to_owned()),
            several => Err(format!("{several} backups begin with {name:?}")),
        }
    }
}
