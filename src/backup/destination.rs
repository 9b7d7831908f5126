//! Where backups are put: a store of its own each.

use crate::store::key::{self, Key};
use crate::store::{LockConfig, Store, StoreConfig, StoreError};

use super::{BackupConfig, BackupId};

/// The name of the product's own store, where none is configured.
pub const OWN_STORE: &str = "store";

/// An open destination.
#[derive(Debug, Clone)]
pub struct Destination {
    pub name: String,
    pub store: Store,
    pub lock: Option<LockConfig>,
}

/// Opens what is configured; without any it is `own`.
///
/// # Errors
/// With the name of the first that cannot be opened.
pub async fn open(
    config: &BackupConfig,
    own: &Store,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Vec<Destination>, (String, StoreError)> {
    if config.destination.is_empty() {
        return Ok(vec![Destination { name: OWN_STORE.to_owned(), store: own.clone(), lock: None }]);
    }
    let mut opened = Vec::new();
    for destination in &config.destination {
        let store = StoreConfig {
            url: destination.url.clone(),
            s3: destination.s3.clone(),
            ..StoreConfig::default()
        };
        let store = Store::open(&store, env).await.map_err(|error| (destination.name.clone(), error))?;
        opened.push(Destination { name: destination.name.clone(), store, lock: destination.object_lock });
    }
    Ok(opened)
}

/// The object of a backup.
pub(super) fn object_key(cluster: &str, id: &BackupId, encrypted: bool) -> Key {
    key::backup_object(cluster, id.as_str(), if encrypted { "db.zst.age" } else { "db.zst" })
}
