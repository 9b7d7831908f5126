//! Objects that are larger than memory: written in parts, read as a stream.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{ObjectStoreExt as _, WriteMultipart};

use super::key::{Key, Prefix};
use super::object::path_of;
use super::{LockMode, Store, StoreError};

/// Of a part: S3 takes 10,000 of them, so an object may have 78 GiB. etcd itself is not made for more than 8 GiB.
const PART_BYTES: usize = 8 << 20;
/// Of a piece that is read.
const PIECE_BYTES: u64 = 4 << 20;
/// Pieces on their way at once.
const PIECES_AT_ONCE: usize = 3;
/// Parts on their way at once: with the one that is being filled this is all that is held.
const PARTS_AT_ONCE: usize = 2;

/// An upload that nobody finished, or that is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Of the object that it would have become.
    pub key: Key,
    /// What tells it from other uploads of that key.
    pub upload: String,
    /// What came of it so far; 0 where the store does not say.
    pub bytes: u64,
    /// When it began, or last grew; ms since the epoch.
    pub touched_ms: i64,
}

/// An object that is being written. Nothing is to be seen of it before [`Self::finish`]; when it is dropped, or the process
/// is killed, what was sent is left over at the store (an unfinished multipart upload, which a lifecycle rule removes, or a
/// file that no listing shows).
pub struct Upload {
    key: Key,
    parts: WriteMultipart,
}

impl Store {
    /// Begins an object.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn upload(&self, key: &Key) -> Result<Upload, StoreError> {
        let begun = self.0.objects.put_multipart(&path_of(key.as_str())?).await;
        let begun = begun.map_err(|source| StoreError::object("create", key.as_str(), source))?;
        Ok(Upload { key: key.clone(), parts: WriteMultipart::new_with_chunk_size(begun, PART_BYTES) })
    }

    /// The object's bytes, in order; `None` when there is no such object. It is asked for in pieces, as one request has to end
    /// within the client's timeout however large the object is; a piece that fails is asked for again by itself.
    ///
    /// # Errors
    /// When the store cannot be read; also within the stream.
    pub async fn stream(
        &self,
        key: &Key,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
        let path = path_of(key.as_str())?;
        let Some(size) = self.size(key).await? else { return Ok(None) };
        let pieces = (0..size.div_ceil(PIECE_BYTES)).map(move |n| {
            let start = n * PIECE_BYTES;
            start..size.min(start + PIECE_BYTES)
        });
        let (objects, key) = (Arc::clone(&self.0.objects), key.clone());
        let tally = Arc::clone(&self.0.tally);
        let fetch = move |range| {
            let (objects, path, key, tally) =
                (Arc::clone(&objects), path.clone(), key.clone(), Arc::clone(&tally));
            async move {
                let bytes = objects.get_range(&path, range).await;
                let bytes = bytes.map_err(|source| StoreError::object("read", key.as_str(), source))?;
                tally.count(bytes.len());
                Ok(bytes)
            }
        };
        Ok(Some(futures::stream::iter(pieces).map(fetch).buffered(PIECES_AT_ONCE).boxed()))
    }

    /// How large the object is, bytes; `None` when there is none.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn size(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        match self.0.objects.head(&path_of(key.as_str())?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(StoreError::object("look at", key.as_str(), source)),
        }
    }

    /// The uploads of backups that are not objects yet. In a folder they are files whose names end in `#` and a number.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn unfinished(&self, prefix: &Prefix) -> Result<Vec<Unfinished>, StoreError> {
        if let Some(bucket) = &self.0.bucket {
            return bucket.unfinished(prefix).await;
        }
        let Some(folder) = self.local_path() else { return Ok(Vec::new()) };
        let (root, below) = (folder.to_owned(), folder.join(prefix.as_str()));
        let looked = tokio::task::spawn_blocking(move || staged(&root, &below)).await;
        Ok(looked.unwrap_or_default())
    }

    /// Takes back an upload that nobody finishes any more.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn discard(&self, unfinished: &Unfinished) -> Result<(), StoreError> {
        if let Some(bucket) = &self.0.bucket {
            return bucket.discard(unfinished).await;
        }
        let Some(folder) = self.local_path() else { return Ok(()) };
        let path = folder.join(format!("{}#{}", unfinished.key, unfinished.upload));
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Body { key: unfinished.key.to_string(), reason: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Lets nobody delete an object before `until_ms`: S3 Object Lock.
    ///
    /// # Errors
    /// When the store has no such thing, or refuses.
    pub async fn lock(&self, key: &Key, mode: LockMode, until_ms: i64) -> Result<(), StoreError> {
        match &self.0.bucket {
            Some(bucket) => bucket.lock(key, mode, until_ms).await,
            None => {
                let reason = "only S3 has Object Lock".to_owned();
                Err(StoreError::Body { key: key.to_string(), reason })
            }
        }
    }

    /// Deletes a part of a backup; one that is gone already is no error.
    ///
    /// # Errors
    /// When the store cannot be written, or `key` is no part of a backup.
    pub async fn delete_backup(&self, key: &Key) -> Result<(), StoreError> {
        if key.segments().first() != Some(&"backups") {
            let reason = "it is no part of a backup".to_owned();
            return Err(StoreError::Body { key: key.to_string(), reason });
        }
        self.delete(key).await
    }
}

/// The files below `below` that object_store stages uploads in.
fn staged(root: &std::path::Path, below: &std::path::Path) -> Vec<Unfinished> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            if meta.is_dir() {
                folders.push(path);
                continue;
            }
            let Some(name) = path.strip_prefix(root).ok().and_then(|path| path.to_str()) else { continue };
            let Some((key, upload)) = name.rsplit_once('#') else { continue };
            if upload.is_empty() || !upload.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let touched = meta.modified().ok().map(chrono::DateTime::<chrono::Utc>::from);
            found.push(Unfinished {
                key: Key::listed(key),
                upload: upload.to_owned(),
                bytes: meta.len(),
                touched_ms: touched.map_or(i64::MAX, |at| at.timestamp_millis()),
            });
        }
    }
    found
}

impl Upload {
    /// Sends more, when there is room.
    ///
    /// # Errors
    /// When a part could not be written.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let room = self.parts.wait_for_capacity(PARTS_AT_ONCE).await;
        room.map_err(|source| StoreError::object("write", self.key.as_str(), source))?;
        self.parts.put(bytes);
        Ok(())
    }

    /// Makes it an object. A key that is taken is replaced: whoever uploads chooses keys that nobody else has.
    ///
    /// # Errors
    /// When a part or the end could not be written; nothing is to be seen of the object then.
    pub async fn finish(self) -> Result<(), StoreError> {
        let key = self.key;
        self.parts
            .finish()
            .await
            .map(drop)
            .map_err(|source| StoreError::object("write", key.as_str(), source))
    }

    /// Takes back what was sent.
    ///
    /// # Errors
    /// When that fails, too.
    pub async fn abort(self) -> Result<(), StoreError> {
        let key = self.key;
        self.parts.abort().await.map_err(|source| StoreError::object("take back", key.as_str(), source))
    }
}
