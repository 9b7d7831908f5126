//! Verifies a backup where it is stored: fetched, decrypted, decompressed into a scratch file, examined, judged.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::x25519;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::database::{Examined, Progress, examine};
use super::object::{ObjectError, Reader};
use super::{
    Destination, Found, Judgement, Kept, Level, Manifest, Verdict, VerdictState, judge, revisions_to_hash,
};
use crate::model::chain;
use crate::store::key;
use crate::store::{StoreError, Writer};

/// With what a backup is verified.
#[derive(Clone)]
pub struct Bench {
    pub identities: Vec<x25519::Identity>,
    /// A folder with room for the database. The file in it has no name: a process that is killed leaves nothing.
    pub scratch: PathBuf,
}

/// Why nothing can be said of a backup.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the scratch folder {folder} cannot be used")]
    Scratch { folder: String, source: io::Error },
    #[error("the scratch folder {folder} has {free} bytes free, and the database takes {wanted}")]
    NoRoom { folder: String, free: u64, wanted: u64 },
    #[error("the verification broke off: this is a bug")]
    Bug,
}

/// Left free beside the scratch file.
pub const SPARE_BYTES: u64 = 64 << 20;

/// What was found out about a copy of a backup.
pub struct Checked {
    pub judgement: Judgement,
    pub found: Option<Found>,
    /// The database, as etcd sent it, in a file without a name; `None` where it cannot be read.
    pub file: Option<File>,
}

impl Checked {
    fn bad(why: String) -> Self {
        let judgement = Judgement { state: VerdictState::Bad, level: None, why: vec![why] };
        Self { judgement, found: None, file: None }
    }
}

/// Verifies the copy of a backup at `destination`. Times are the caller's to fill in.
///
/// # Errors
/// When it cannot be found out: the destination does not answer, or there is no room. That is no verdict.
pub async fn check(
    destination: &Destination,
    manifest: &Manifest,
    bench: &Bench,
    progress: &Arc<Progress>,
) -> Result<Checked, CheckError> {
    let object = key::backup_object_named(&manifest.object.key);
    let Some(stream) = destination.store.stream(&object).await? else {
        return Ok(Checked::bad(format!("its object {object} is not there")));
    };
    let encrypted = manifest.object.encryption.is_some();
    if let Some(encryption) = &manifest.object.encryption {
        let here: Vec<String> = bench.identities.iter().map(|key| key.to_public().to_string()).collect();
        if !here.iter().any(|key| encryption.recipients.contains(key)) {
            return sealed(stream, manifest, here.len()).await;
        }
    }
    let scratch = scratch(&bench.scratch, manifest.bytes)?;
    // Whole pieces wait in between: the network's and the disk's pace differ.
    let (pieces, came) = mpsc::channel::<Result<Bytes, StoreError>>(16);
    let (manifest, identities) = (manifest.clone(), bench.identities.clone());
    let progress = Arc::clone(progress);
    let work = tokio::task::spawn_blocking(move || {
        let failure = Arc::default();
        let source = Pieces { came, piece: Bytes::new(), failure: Arc::clone(&failure) };
        let unpacked = unpack(source, encrypted, &identities, &manifest, &scratch);
        if let Some(error) = failure.lock().ok().and_then(|mut failure| failure.take()) {
            return Err(CheckError::Store(error));
        }
        Ok(match unpacked {
            Ok(()) => {
                let (judgement, found) = examined(&scratch, &manifest, &progress);
                Checked { judgement, found, file: Some(scratch) }
            }
            Err(error) => Checked::bad(chain(&error)),
        })
    });
    let mut stream = stream;
    while let Some(piece) = stream.next().await {
        // The other end goes when what it read is broken.
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    work.await.map_err(|_| CheckError::Bug)?
}

/// Examines a file that is no backup of ours.
pub fn check_file(file: &File, progress: &Progress) -> (Examined, Judgement) {
    let found = examine(file, &[0], progress);
    let judgement = judge(&found, &[]);
    (found, judgement)
}

fn examined(file: &File, manifest: &Manifest, progress: &Progress) -> (Judgement, Option<Found>) {
    let mut at = revisions_to_hash(&manifest.hashes);
    if at.is_empty() {
        at.push(0);
    }
    let found = examine(file, &at, progress);
    let judgement = judge(&found, &manifest.hashes);
    (judgement, found.found)
}

/// All that can be said of an encrypted object without a key: whether it is still the one that was stored.
async fn sealed(
    mut stream: futures::stream::BoxStream<'static, Result<Bytes, StoreError>>,
    manifest: &Manifest,
    keys: usize,
) -> Result<Checked, CheckError> {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    while let Some(piece) = stream.next().await {
        digest.update(&piece?);
    }
    let is_right = digest.finish().as_ref() == manifest.object.sha256.0;
    let judgement = if is_right {
        let why = match keys {
            0 => "it is encrypted, and there is no identity here to read it with".to_owned(),
            keys => format!("it is encrypted, and to none of the {keys} identities here"),
        };
        Judgement { state: VerdictState::Unverified, level: Some(Level::L0), why: vec![why] }
    } else {
        let why = "it is not what was stored: its SHA-256 is not that of the manifest".to_owned();
        Judgement { state: VerdictState::Bad, level: None, why: vec![why] }
    };
    Ok(Checked { judgement, found: None, file: None })
}

/// A file without a name in `folder`, which has room for `bytes`.
///
/// # Errors
/// [`CheckError::Scratch`], [`CheckError::NoRoom`].
pub fn scratch(folder: &Path, bytes: u64) -> Result<File, CheckError> {
    room(folder, bytes)?;
    let failed = |source: io::Error| CheckError::Scratch { folder: folder.display().to_string(), source };
    let path = folder.join(format!(".etcd-monitor-scratch-{}", ulid::Ulid::generate()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

/// Makes sure that `folder` is there and has room.
pub(super) fn room(folder: &Path, bytes: u64) -> Result<(), CheckError> {
    let named = folder.display().to_string();
    let failed = |source: io::Error| CheckError::Scratch { folder: named.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let room = rustix::fs::statvfs(folder).map_err(|error| failed(error.into()))?;
    let (free, wanted) = (room.f_bavail.saturating_mul(room.f_frsize), bytes + SPARE_BYTES);
    if free < wanted {
        return Err(CheckError::NoRoom { folder: named, free, wanted });
    }
    Ok(())
}

fn unpack(
    source: Pieces,
    encrypted: bool,
    identities: &[x25519::Identity],
    manifest: &Manifest,
    scratch: &File,
) -> Result<(), ObjectError> {
    let mut reader = Reader::new(source, encrypted, identities)?;
    let mut file = BufWriter::with_capacity(1 << 20, scratch);
    // One byte more shows that it goes on: an object that swells must not fill the disk.
    io::copy(&mut (&mut reader).take(manifest.bytes + 1), &mut file)?;
    file.flush()?;
    reader.finish()?.check(manifest)
}

/// What an asynchronous stream gives, as a file to read.
struct Pieces {
    came: mpsc::Receiver<Result<Bytes, StoreError>>,
    piece: Bytes,
    /// Why it ended early: the store's fault, not the backup's.
    failure: Arc<std::sync::Mutex<Option<StoreError>>>,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.came.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    if let Ok(mut failure) = self.failure.lock() {
                        *failure = Some(error);
                    }
                    return Err(io::Error::other("the destination does not go on"));
                }
            }
        }
        let piece = self.piece.split_to(self.piece.len().min(into.len()));
        into.get_mut(..piece.len()).unwrap_or_default().copy_from_slice(&piece);
        Ok(piece.len())
    }
}

/// Writes a verdict beside the manifest.
///
/// # Errors
/// When the destination cannot be written.
pub async fn note(
    destination: &Destination,
    manifest: &Manifest,
    verdict: &Verdict,
    writer: &Writer,
) -> Result<(), StoreError> {
    let name = format!("{}-{}", writer.id(), writer.nonce());
    let key =
        key::backup_verdict(manifest.cluster.as_str(), manifest.id.as_str(), verdict.finished_ms, &name);
    let body = serde_json::to_vec_pretty(verdict).unwrap_or_default();
    destination.store.create(&key, body.into()).await.map(drop)
}

/// Whether `kept` is to be verified: it never was, or `again_ms` ago. What could not be verified is tried again each time,
/// as a key or a member may be there now.
pub fn is_due(kept: &Kept, now_ms: i64, again_ms: i64) -> bool {
    let fresh = |verdict: &Verdict| now_ms - verdict.finished_ms < again_ms;
    !kept.is_condemned() && !kept.verdict.as_ref().is_some_and(fresh)
}
