//! Segments to hour files, hour files to day files.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Compacted, DAY_SETTLES_MS, HOUR_SETTLES_MS, Run, Step};
use crate::store::file::{Encoder, Provenance};
use crate::store::key::{DAY_MS, Day, HOUR_MS, Key};
use crate::store::merge::{Input, Merge};
use crate::store::table::{FileKey, Level, Table, day_key, hour_key};
use crate::store::visible::DayFiles;
use crate::store::{Create, StoreError};

impl Run<'_> {
    pub(super) async fn merge_table(&self, table: Table, done: &mut Compacted) -> Result<(), StoreError> {
        for day in self.store.days(table).await? {
            let files = self.store.day_files(table, day).await?;
            for (hour, sources) in pending_hours(&files) {
                let end_ms = day.start_ms() + (i64::from(hour) + 1) * HOUR_MS;
                if end_ms + HOUR_SETTLES_MS <= self.now_ms {
                    let part = next_part(&files, Level::Hour, Some(hour));
                    self.merge(table, hour_key(table, day, hour, part), sources, done).await?;
                }
            }
            if day.start_ms() + DAY_MS + DAY_SETTLES_MS <= self.now_ms {
                self.merge_day(table, day, done).await?;
            }
        }
        Ok(())
    }

    async fn merge_day(&self, table: Table, day: Day, done: &mut Compacted) -> Result<(), StoreError> {
        let files = self.store.day_files(table, day).await?;
        let sources: Vec<Key> = files
            .visible()
            .filter(|file| file.key.level == Level::Hour)
            .map(|file| file.entry.key.clone())
            .collect();
        if sources.is_empty() {
            return Ok(());
        }
        let part = next_part(&files, Level::Day, None);
        self.merge(table, day_key(table, day, part), sources, done).await
    }

    async fn merge(
        &self,
        table: Table,
        key: Key,
        sources: Vec<Key>,
        done: &mut Compacted,
    ) -> Result<(), StoreError> {
        let inputs = self.fetch(&sources).await?;
        let provenance = Provenance { sources, merged_ms: Some(self.now_ms) };
        (self.on_step)(&Step::Merging { key: key.clone(), sources: provenance.sources.len() });
        let target = key.clone();
        let (body, rows) = blocking(&key, move || merge_files(table, &target, inputs, &provenance)).await?;
        self.commit(key, body, rows, done).await
    }

    /// The bodies of the sources. One that is gone was merged by another compactor in the meantime, an error
    /// that the next run does not meet.
    pub(super) async fn fetch(&self, sources: &[Key]) -> Result<Vec<Input>, StoreError> {
        stream::iter(sources)
            .map(|key| async move { self.store.get_table_file(key).await.map(|body| (key.clone(), body)) })
            .buffered(16)
            .try_collect()
            .await
    }

    pub(super) async fn commit(
        &self,
        key: Key,
        body: Bytes,
        rows: u64,
        done: &mut Compacted,
    ) -> Result<(), StoreError> {
        match self.store.create(&key, body).await? {
            Create::Won => {
                done.merged += 1;
                done.rows += rows;
                (self.on_step)(&Step::Merged { key });
            }
            Create::Exists(_) => done.lost += 1,
        }
        Ok(())
    }
}

/// The segments of each hour that no hour file holds yet.
fn pending_hours(files: &DayFiles) -> BTreeMap<u8, Vec<Key>> {
    let mut hours: BTreeMap<u8, Vec<Key>> = BTreeMap::new();
    for file in files.visible().filter(|file| file.key.level == Level::Raw) {
        if let Some(hour) = file.key.hour {
            hours.entry(hour).or_default().push(file.entry.key.clone());
        }
    }
    hours
}

/// The number after every one that was ever used. Files that were merged and deleted count too, as their
/// number is among the sources of what replaced them: used again, it would be hidden.
pub(super) fn next_part(files: &DayFiles, level: Level, hour: Option<u8>) -> u32 {
    let named = files.named_sources().into_iter().filter_map(FileKey::parse);
    let listed = files.files.iter().map(|file| file.key.clone());
    named
        .chain(listed)
        .filter(|key| key.level == level && key.hour == hour)
        .filter_map(|key| key.part)
        .max()
        .map_or(0, |part| part + 1)
}

fn merge_files(
    table: Table,
    key: &Key,
    inputs: Vec<Input>,
    provenance: &Provenance,
) -> Result<(Bytes, u64), StoreError> {
    let mut merge = Merge::open(table, inputs, None)?;
    let mut encoder = Encoder::new(key, table, provenance)?;
    while let Some(batch) = merge.next_batch()? {
        encoder.write(&batch)?;
    }
    encoder.finish()
}

/// Runs what computes for long off the threads that wait for I/O.
pub(in crate::store) async fn blocking<T: Send + 'static>(
    key: &Key,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|source| Err(StoreError::object("merge", key.as_str(), source.into())))
}
