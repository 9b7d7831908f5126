//! Makes a backup: one pass from a member's stream to all destinations, nothing on disk.
//!
//! A thread compresses, encrypts and sums up what comes; what is ready goes to every destination, and the slowest of them
//! sets the pace, which the member feels as a reader that takes its time. A destination that fails is left behind, and the
//! backup is made for the others. The manifests are written last, when etcd's checksum has proven right.

mod choose;
mod fsync;
mod pace;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use self::choose::Chosen;
use self::pace::Pace;
use super::destination::{Destination, object_key};
use super::object::{ObjectError, Sums, Writer, recipient};
use super::{BackupConfig, BackupId, Encryption, Kind, MANIFEST_FORMAT, Manifest, Origin, StoredObject};
use crate::etcd::{ClusterConfig, DatabaseStream, EtcdError, Login};
use crate::store::key;
use crate::store::{StoreError, Upload};

/// What is to be saved where.
pub struct Order<'a> {
    pub cluster: &'a ClusterConfig,
    /// With the root role, where authentication is on.
    pub login: Option<&'a Login>,
    pub config: &'a BackupConfig,
    pub destinations: &'a [Destination],
    pub id: BackupId,
    pub origin: Origin,
    /// ms since the epoch, UTC.
    pub now_ms: &'a (dyn Fn() -> i64 + Sync),
}

/// How far a backup is, for others to look at.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Bytes of the database that came, of how many; 0 before it is known.
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// A backup that was made.
#[derive(Debug)]
pub struct Saved {
    pub manifest: Manifest,
    /// The names of the destinations that have it.
    pub stored: Vec<String>,
    /// Those that do not, and why.
    pub failed: Vec<(String, StoreError)>,
}

/// Why no backup was made.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("no member can be copied: {why}")]
    NoMember { why: String },
    #[error("{instance} cannot be copied")]
    Etcd { instance: String, source: EtcdError },
    #[error("what {instance} sent does not end with its checksum")]
    Checksum { instance: String },
    #[error("{instance} was too busy for {seconds} s: its fsync p99 stayed above twice what it was before")]
    Busy { instance: String, seconds: u64 },
    #[error("no destination took it: {why}")]
    NoDestination { why: String },
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// A piece that does not come for so long ends the stream.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pieces between the stages: etcd's have 32 KiB.
const PIECES: usize = 64;

/// Makes a backup, of the member that is the first choice or, if that fails before its stream ends, of the next.
///
/// # Errors
/// [`SaveError`]; nothing is left that counts as a backup then.
pub async fn save(order: &Order<'_>, progress: &Progress) -> Result<Saved, SaveError> {
    let chosen = choose::choose(order).await?;
    let mut last = None;
    for source in chosen.iter().take(2) {
        match save_from(order, source, progress).await {
            Err(error @ SaveError::Etcd { .. }) => last = Some(error),
            outcome => return outcome,
        }
    }
    Err(last.unwrap_or(SaveError::NoMember { why: "the cluster has none".to_owned() }))
}

async fn save_from(order: &Order<'_>, source: &Chosen, progress: &Progress) -> Result<Saved, SaveError> {
    let recipients: Vec<_> =
        order.config.encryption.recipients.iter().map(|text| recipient(text)).collect::<Result<_, _>>()?;
    let writer = Writer::new(order.config.compression_level, &recipients)?;
    let encrypted = !recipients.is_empty();
    let started_ms = (order.now_ms)();
    let said = source.said().await.map_err(|error| source.failed(error))?;
    let pace = Pace::begin(source, order.config).await;
    let stream = source.member.database(PATIENCE).await.map_err(|error| source.failed(error))?;
    progress.done.store(0, Ordering::Relaxed);
    progress.total.store(0, Ordering::Relaxed);
    let object = object_key(order.cluster.name.as_str(), &order.id, encrypted);
    let mut uploads = Uploads::begin(order.destinations, &object).await;
    let outcome = carry(source, stream, writer, pace, &mut uploads, progress).await;
    let (sums, paused) = match outcome {
        Ok(done) => done,
        Err(error) => {
            uploads.abort().await;
            return Err(error);
        }
    };
    let Some(trailer) = sums.trailer else {
        uploads.abort().await;
        return Err(SaveError::Checksum { instance: source.source.instance.to_string() });
    };
    uploads.finish().await;
    let mut hashes = said.hashes;
    hashes.extend(source.said_since(said.compact_revision).await);
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        id: order.id.clone(),
        kind: Kind::Full,
        parent: None,
        origin: order.origin,
        cluster: order.cluster.name.clone(),
        cluster_id: source.cluster_id,
        source: source.source.clone(),
        revision: said.revision,
        compact_revision: said.compact_revision,
        members: source.members.clone(),
        keys: said.keys,
        hashes,
        bytes: sums.plain_bytes,
        sha256: sums.plain_sha256,
        trailer,
        object: StoredObject {
            key: object.to_string(),
            bytes: sums.stored_bytes,
            sha256: sums.stored_sha256,
            frames: sums.frames,
            encryption: encrypted
                .then(|| Encryption { recipients: order.config.encryption.recipients.clone() }),
        },
        started_ms,
        finished_ms: (order.now_ms)(),
        paused_ms: i64::try_from(paused.as_millis()).unwrap_or(i64::MAX),
        locked_until_ms: None,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let failed = uploads.commit(&manifest).await;
    let stored: Vec<String> = uploads.done.into_iter().map(|there| there.name).collect();
    if stored.is_empty() {
        return Err(no_destination(&failed));
    }
    Ok(Saved { manifest, stored, failed })
}

fn no_destination(failed: &[(String, StoreError)]) -> SaveError {
    let why = failed.iter().map(|(name, error)| format!("{name}: {}", crate::model::chain(error)));
    SaveError::NoDestination { why: why.collect::<Vec<_>>().join("; ") }
}

/// From the member through the writer to the destinations.
async fn carry(
    source: &Chosen,
    mut stream: DatabaseStream,
    writer: Writer,
    mut pace: Pace<'_>,
    uploads: &mut Uploads,
    progress: &Progress,
) -> Result<(Sums, Duration), SaveError> {
    let (pieces, came) = mpsc::channel::<Bytes>(PIECES);
    let (ready, mut out) = mpsc::channel::<Bytes>(2);
    let work = tokio::task::spawn_blocking(move || compress(writer, came, &ready));
    let read = async move {
        while let Some(piece) = stream.next().await.map_err(|error| source.failed(error))? {
            let length = piece.len() as u64;
            if progress.total.load(Ordering::Relaxed) == 0 {
                let total = length + stream.remaining_bytes().unwrap_or(0);
                progress.total.store(total, Ordering::Relaxed);
            }
            progress.done.fetch_add(length, Ordering::Relaxed);
            // The other end goes when it failed; it says why itself.
            if pieces.send(piece).await.is_err() {
                break;
            }
            pace.after(length).await?;
        }
        Ok::<Duration, SaveError>(pace.paused())
    };
    let store = async {
        while let Some(bytes) = out.recv().await {
            uploads.write(&bytes).await;
            if uploads.open.is_empty() {
                return Err(no_destination(&uploads.failed));
            }
        }
        Ok(())
    };
    // One that fails ends the others: their futures are dropped, and with them the ends of the channels.
    let (paused, ()) = tokio::try_join!(read, store)?;
    let (last, sums) = work.await.map_err(|error| ObjectError::Broken(error.to_string()))??;
    uploads.write(&Bytes::from(last)).await;
    if uploads.open.is_empty() { Err(no_destination(&uploads.failed)) } else { Ok((sums, paused)) }
}

fn compress(
    mut writer: Writer,
    mut came: mpsc::Receiver<Bytes>,
    ready: &mpsc::Sender<Bytes>,
) -> Result<(Vec<u8>, Sums), ObjectError> {
    while let Some(piece) = came.blocking_recv() {
        let bytes = writer.push(&piece)?;
        if !bytes.is_empty() && ready.blocking_send(Bytes::from(bytes)).is_err() {
            break;
        }
    }
    writer.finish()
}

/// The object at every destination.
struct Uploads {
    destinations: Vec<Destination>,
    open: Vec<(String, Upload)>,
    done: Vec<Destination>,
    failed: Vec<(String, StoreError)>,
}

impl Uploads {
    async fn begin(destinations: &[Destination], object: &key::Key) -> Self {
        let known = destinations.to_vec();
        let mut uploads =
            Self { destinations: known, open: Vec::new(), done: Vec::new(), failed: Vec::new() };
        for Destination { name, store, .. } in destinations {
            match store.upload(object).await {
                Ok(upload) => uploads.open.push((name.clone(), upload)),
                Err(error) => uploads.failed.push((name.clone(), error)),
            }
        }
        uploads
    }

    async fn write(&mut self, bytes: &Bytes) {
        let writes = self.open.drain(..).map(|(name, mut upload)| async move {
            let written = upload.write(bytes.clone()).await;
            (name, upload, written)
        });
        for (name, upload, written) in futures::future::join_all(writes).await {
            match written {
                Ok(()) => self.open.push((name, upload)),
                Err(error) => {
                    // What it has of it shall not stay; that it does not even take that back adds nothing.
                    let _ = upload.abort().await;
                    self.failed.push((name, error));
                }
            }
        }
    }

    async fn finish(&mut self) {
        let ends = self.open.drain(..).map(|(name, upload)| async move { (name, upload.finish().await) });
        for (name, ended) in futures::future::join_all(ends).await {
            match ended {
                Ok(()) => {
                    let destination = self.destinations.iter().find(|there| there.name == name);
                    self.done.extend(destination.cloned());
                }
                Err(error) => self.failed.push((name, error)),
            }
        }
    }

    /// Writes the manifest wherever the object is. Returns what failed of all.
    async fn commit(&mut self, manifest: &Manifest) -> Vec<(String, StoreError)> {
        let mut kept = Vec::new();
        for destination in std::mem::take(&mut self.done) {
            match commit_at(&destination, manifest).await {
                Ok(()) => kept.push(destination),
                Err(error) => self.failed.push((destination.name, error)),
            }
        }
        self.done = kept;
        std::mem::take(&mut self.failed)
    }

    async fn abort(self) {
        for (_, upload) in self.open {
            // The collection of what is left over finds what this does not.
            let _ = upload.abort().await;
        }
    }
}

/// Locks the object, where that is wanted, and writes the manifest. What was to be locked and is not is no backup.
async fn commit_at(destination: &Destination, manifest: &Manifest) -> Result<(), StoreError> {
    let key = key::backup_manifest(manifest.cluster.as_str(), manifest.id.as_str());
    let mut manifest = manifest.clone();
    let until = destination.lock.map(|lock| {
        let lasts_ms = i64::try_from(lock.lasts.0.as_millis()).unwrap_or(i64::MAX);
        // Whole seconds: not every S3 takes finer ones.
        (lock.mode, manifest.finished_ms.saturating_add(lasts_ms) / 1000 * 1000)
    });
    if let Some((mode, until_ms)) = until {
        let object = key::backup_object_named(&manifest.object.key);
        destination.store.lock(&object, mode, until_ms).await?;
        manifest.locked_until_ms = Some(until_ms);
    }
    let body = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    destination.store.create(&key, body.into()).await?;
    if let Some((mode, until_ms)) = until {
        destination.store.lock(&key, mode, until_ms).await?;
    }
    Ok(())
}
