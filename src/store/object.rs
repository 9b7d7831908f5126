//! The handle and its few operations on whole objects.

use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error as ObjectError, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};

use super::backend::{self, Backend};
use super::bucket::Bucket;
use super::key::{self, Key, Prefix};
use super::reader::FooterCache;
use super::tally::{ReadTotals, Tally};
use super::{StoreConfig, StoreError};

/// An open store. Cloning shares it.
#[derive(Clone)]
pub struct Store(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) objects: Arc<dyn ObjectStore>,
    url: String,
    folder: Option<PathBuf>,
    pub(super) bucket: Option<Bucket>,
    pub(super) footers: FooterCache,
    pub(super) tally: Arc<Tally>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.url).finish()
    }
}

/// Who got the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Create {
    Won,
    /// Another body is there; this one.
    Exists(Bytes),
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub key: Key,
    pub size_bytes: u64,
    /// The store's own clock.
    pub modified_ms: i64,
}

/// How often an operation that failed for a passing reason is tried in all.
const ATTEMPTS: u32 = 4;

impl Store {
    /// Opens the store that `config.url` names; `env` is where cloud credentials are looked up.
    /// A local folder is created.
    ///
    /// # Errors
    /// When the URL means no store, or the folder cannot be made.
    pub async fn open(
        config: &StoreConfig,
        env: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Self, StoreError> {
        let backend = backend::open(config, env)?;
        Ok(Self::new(backend, config.url.clone()))
    }

    /// As [`Self::open`], of a place that is not ours: a folder that is not there is an error.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_existing(
        config: &StoreConfig,
        env: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Self, StoreError> {
        let folder = config.url.strip_prefix("file://").unwrap_or(&config.url);
        if !folder.contains("://") && !FsPath::new(folder).is_dir() {
            let reason = "there is no such folder".to_owned();
            return Err(StoreError::Url { url: config.url.clone(), reason });
        }
        Self::open(config, env).await
    }

    /// A store that lives as long as its handles.
    pub fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()), "memory://")
    }

    /// A store over a given backend, which must create atomically. Tests put fault injection under it.
    pub fn over(objects: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self::new(Backend { objects, folder: None, bucket: None }, url.to_owned())
    }

    fn new(backend: Backend, url: String) -> Self {
        Self(Arc::new(Inner {
            objects: backend.objects,
            url,
            folder: backend.folder,
            bucket: backend.bucket,
            footers: FooterCache::default(),
            tally: Arc::default(),
        }))
    }

    /// As configured.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The folder, when the store is one.
    pub fn local_path(&self) -> Option<&FsPath> {
        self.0.folder.as_deref()
    }

    /// What this handle and its clones have read so far.
    pub fn reads(&self) -> ReadTotals {
        self.0.tally.totals()
    }

    /// Creates an object, once and for ever. Of racing creators one wins.
    ///
    /// A body that is already there byte for byte is our own earlier put, whose answer was lost; bodies that
    /// must be told apart carry a writer and a nonce.
    ///
    /// # Errors
    /// When the store cannot be written or, after a lost race, read.
    pub async fn create(&self, key: &Key, body: Bytes) -> Result<Create, StoreError> {
        let path = path_of(key.as_str())?;
        let mut attempt = 1;
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.0.objects.put_opts(&path, body.clone().into(), options).await {
                Ok(_) => return Ok(Create::Won),
                // S3 answers 409 while another request for the key is in flight, and that one may fail
                // yet: only what can be read back counts.
                Err(ObjectError::AlreadyExists { .. } | ObjectError::Precondition { .. }) => {
                    match self.get(key).await? {
                        Some(there) if there == body => return Ok(Create::Won),
                        Some(there) => return Ok(Create::Exists(there)),
                        None if attempt == ATTEMPTS => {
                            return Err(StoreError::Vanished { key: key.to_string() });
                        }
                        None => {}
                    }
                }
                Err(source) if attempt == ATTEMPTS || !is_transient(&source) => {
                    return Err(StoreError::object("create", key.as_str(), source));
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
            attempt += 1;
        }
    }

    /// The object's body, or `None`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let failed = |source| StoreError::object("read", key.as_str(), source);
        match self.0.objects.get(&path_of(key.as_str())?).await {
            Ok(found) => {
                let body = found.bytes().await.map_err(failed)?;
                self.0.tally.count(body.len());
                Ok(Some(body))
            }
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Everything under `prefix`, sorted by key.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn list(&self, prefix: &Prefix) -> Result<Vec<Entry>, StoreError> {
        self.list_after(prefix, None).await
    }

    /// What comes after `after` under `prefix`, sorted by key: keys that sort by time make this the way to
    /// read only what is recent.
    pub(super) async fn list_after(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
    ) -> Result<Vec<Entry>, StoreError> {
        let path = path_of(prefix.as_str())?;
        let listed = match after {
            Some(after) => self.0.objects.list_with_offset(Some(&path), &path_of(after.as_str())?),
            None => self.0.objects.list(Some(&path)),
        };
        let mut entries: Vec<Entry> = listed
            .map_ok(|meta| Entry {
                key: Key::listed(meta.location.as_ref()),
                size_bytes: meta.size,
                modified_ms: meta.last_modified.timestamp_millis(),
            })
            .try_collect()
            .await
            .map_err(|source| StoreError::object("list", prefix.as_str(), source))?;
        entries.sort_unstable();
        Ok(entries)
    }

    /// The folders right under `prefix`, sorted.
    pub(super) async fn folders(&self, prefix: &Prefix) -> Result<Vec<Prefix>, StoreError> {
        let listed = self
            .0
            .objects
            .list_with_delimiter(Some(&path_of(prefix.as_str())?))
            .await
            .map_err(|source| StoreError::object("list", prefix.as_str(), source))?;
        let mut folders: Vec<Prefix> =
            listed.common_prefixes.iter().map(|path| Prefix::listed(path.as_ref())).collect();
        folders.sort_unstable();
        Ok(folders)
    }

    /// Deletes an object; one that is gone already is no error. Only retention and compaction call this.
    pub(super) async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        match self.0.objects.delete(&path_of(key.as_str())?).await {
            Ok(()) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(source) => Err(StoreError::object("delete", key.as_str(), source)),
        }
    }

    /// Publishes one file of the report site, replacing what was there. Local folders have no place for
    /// the two headers.
    ///
    /// # Errors
    /// When `path` is not a clean relative path, or the store cannot be written.
    pub async fn put_site(
        &self,
        path: &str,
        body: Bytes,
        content_type: &str,
        cache_control: &str,
    ) -> Result<(), StoreError> {
        let key = site_key(path)?;
        let mut attributes = Attributes::new();
        if self.0.folder.is_none() {
            attributes.insert(Attribute::ContentType, content_type.to_owned().into());
            attributes.insert(Attribute::CacheControl, cache_control.to_owned().into());
        }
        let options = PutOptions { attributes, ..PutOptions::default() };
        self.0
            .objects
            .put_opts(&path_of(key.as_str())?, body.into(), options)
            .await
            .map(drop)
            .map_err(|source| StoreError::object("publish", key.as_str(), source))
    }

    /// One file of the published site.
    ///
    /// # Errors
    /// When `path` is not a clean relative path, or the store cannot be read.
    pub async fn get_site(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.get(&site_key(path)?).await
    }

    /// Removes one file of the published site.
    ///
    /// # Errors
    /// When `path` is not a clean relative path, or the store cannot be written.
    pub async fn delete_site(&self, path: &str) -> Result<(), StoreError> {
        self.delete(&site_key(path)?).await
    }
}

fn site_key(path: &str) -> Result<Key, StoreError> {
    key::site(path).ok_or_else(|| StoreError::Body {
        key: path.to_owned(),
        reason: "a site path is relative and has no empty, '.' or '..' parts".to_owned(),
    })
}

pub(super) fn path_of(text: &str) -> Result<Path, StoreError> {
    Path::parse(text).map_err(|error| StoreError::Body { key: text.to_owned(), reason: error.to_string() })
}

/// Whether trying again can help: a lost answer can, a full disk or a missing right cannot.
fn is_transient(error: &ObjectError) -> bool {
    match error {
        // A folder that was cleaned up between its making and its use.
        ObjectError::NotFound { .. } | ObjectError::JoinError { .. } => true,
        ObjectError::Generic { store, .. } => *store != "LocalFileSystem",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_body_stays_and_an_equal_one_is_our_own() {
        let store = Store::in_memory();
        let key = key::evaluation("g", 0);
        assert_eq!(store.create(&key, "a".into()).await.expect("put"), Create::Won);
        assert_eq!(store.create(&key, "a".into()).await.expect("put"), Create::Won);
        assert_eq!(store.create(&key, "b".into()).await.expect("put"), Create::Exists("a".into()));
    }

    #[tokio::test]
    async fn a_site_path_cannot_leave_the_site() {
        let store = Store::in_memory();
        for path in ["../state/x", "", "a//b", "/a"] {
            assert!(store.put_site(path, Bytes::new(), "text/html", "no-cache").await.is_err(), "{path}");
        }
    }
}
