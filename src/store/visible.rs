//! Which files of a table a reader sees: all but those whose rows are in a merged file.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::file::Provenance;
use super::key::{Day, Key};
use super::table::{FileKey, Level, Table};
use super::{Entry, Store, StoreError};

/// One day of one table, as listed.
pub(super) struct DayFiles {
    /// All files, with what they are; merged ones with their sources. Sorted by key.
    pub(super) files: Vec<TableFile>,
}

pub(super) struct TableFile {
    pub(super) entry: Entry,
    pub(super) key: FileKey,
    /// Empty for segments, which are not opened for this.
    pub(super) provenance: Arc<Provenance>,
}

impl DayFiles {
    /// Every key that a merged file names, whether it still exists or not.
    pub(super) fn named_sources(&self) -> HashSet<&Key> {
        self.files.iter().flat_map(|file| &file.provenance.sources).collect()
    }

    /// The files that hold each row once.
    pub(super) fn visible(&self) -> impl Iterator<Item = &TableFile> {
        let hidden = self.named_sources();
        self.files.iter().filter(move |file| !hidden.contains(&file.entry.key))
    }
}

impl Store {
    /// Lists one day of a table and opens the footers of its merged files.
    pub(super) async fn day_files(&self, table: Table, day: Day) -> Result<DayFiles, StoreError> {
        // Highest level first: what is merged after that listing still has its sources, which are kept for
        // an hour.
        let mut files = Vec::new();
        for level in Level::ALL.into_iter().rev() {
            let entries = self.list(&table.day(level, day)).await?;
            let opened: Vec<Option<TableFile>> =
                stream::iter(entries).map(|entry| self.table_file(entry)).buffered(16).try_collect().await?;
            files.extend(opened.into_iter().flatten());
        }
        files.sort_unstable_by(|a, b| a.entry.key.cmp(&b.entry.key));
        Ok(DayFiles { files })
    }

    /// Foreign names in a table's folder, and files that are just gone, are no files of the table.
    async fn table_file(&self, entry: Entry) -> Result<Option<TableFile>, StoreError> {
        let Some(key) = FileKey::parse(&entry.key) else { return Ok(None) };
        let provenance = if key.level == Level::Raw {
            Arc::default()
        } else {
            let mut reader = self.file_reader(&entry.key, entry.size_bytes)?;
            match self.footer(&entry.key, &mut reader).await {
                Ok(footer) => footer.provenance,
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        Ok(Some(TableFile { entry, key, provenance }))
    }

    /// The days that a table has files of, oldest first.
    pub(super) async fn days(&self, table: Table) -> Result<Vec<Day>, StoreError> {
        let mut days = BTreeSet::new();
        for level in Level::ALL {
            for folder in self.folders(&table.level(level)).await? {
                let name = folder.as_str().rsplit('/').next().unwrap_or_default();
                days.extend(name.strip_prefix("dt=").and_then(Day::parse));
            }
        }
        Ok(days.into_iter().collect())
    }
}
