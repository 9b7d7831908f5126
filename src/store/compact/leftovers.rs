//! Files that a killed process was still writing, in a local folder.
//!
//! An object is written to `<name>#<number>` beside its place and linked there when it is whole. A kill in
//! between leaves the first file; no listing shows it, but it takes space.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::merging::blocking;
use super::{Compacted, Run};
use crate::store::StoreError;
use crate::store::key::Key;

/// Nothing is being written for this long.
const ABANDONED_MS: i64 = 3_600_000;

impl Run<'_> {
    pub(super) async fn clear_leftovers(&self, done: &mut Compacted) -> Result<(), StoreError> {
        let Some(folder) = self.store.local_path().map(Path::to_owned) else { return Ok(()) };
        let before_ms = self.now_ms.saturating_sub(ABANDONED_MS);
        let root = Key::listed(&folder.display().to_string());
        let key = root.clone();
        done.deleted += blocking(&root, move || {
            clear(&folder, before_ms).map_err(|source| {
                let source = object_store::Error::Generic { store: "LocalFileSystem", source: source.into() };
                StoreError::object("clear leftovers under", key.as_str(), source)
            })
        })
        .await?;
        Ok(())
    }
}

/// Deletes abandoned files under `folder`; gives their number. What vanishes meanwhile is no error.
fn clear(folder: &Path, before_ms: i64) -> io::Result<u64> {
    let mut cleared = 0;
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(entries) = unless_gone(fs::read_dir(&folder))? else { continue };
        for entry in entries {
            let Some(entry) = unless_gone(entry)? else { continue };
            let Some(metadata) = unless_gone(entry.metadata())? else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if is_staged(&entry.file_name().to_string_lossy())
                && metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()
                    < u128::try_from(before_ms).unwrap_or(0)
            {
                unless_gone(fs::remove_file(entry.path()))?;
                cleared += 1;
            }
        }
    }
    Ok(cleared)
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `name#12`: how the backend names a file that is not whole yet.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_unfinished_files_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("data");
        fs::create_dir(&inner).expect("creates");
        for name in ["a.parquet", "a.parquet#1", "b#x", "c#"] {
            fs::write(inner.join(name), "x").expect("writes");
        }
        assert_eq!(clear(folder.path(), 0).expect("reads"), 0, "all are younger");
        assert_eq!(clear(folder.path(), i64::MAX).expect("reads"), 1);
        assert!(!inner.join("a.parquet#1").exists() && inner.join("a.parquet").exists());
        assert!(inner.join("b#x").exists() && inner.join("c#").exists());
    }
}
