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

/// What one merge reads at most: it holds its inputs and its output in memory.
const MERGE_BYTES_MAX: u64 = 256 << 20;

/// A file to merge, with its size in bytes.
type Source = (Key, u64);

impl Run<'_> {
    pub(super) async fn merge_table(&self, table: Table, done: &mut Compacted) -> Result<(), StoreError> {
        for day in self.store.days(table).await? {
            let files = self.store.day_files(table, day).await?;
            for (hour, sources) in pending_hours(&files) {
                let end_ms = day.start_ms() + (i64::from(hour) + 1) * HOUR_MS;
                if end_ms + HOUR_SETTLES_MS > self.now_ms {
                    continue;
                }
                let first = next_part(&files, Level::Hour, Some(hour));
                for (part, sources) in (first..).zip(batches(sources, MERGE_BYTES_MAX)) {
                    if !self.merge(table, hour_key(table, day, hour, part), sources, done).await? {
                        break;
                    }
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
        let sources: Vec<Source> = files
            .visible()
            .filter(|file| file.key.level == Level::Hour)
            .map(|file| (file.entry.key.clone(), file.entry.size_bytes))
            .collect();
        let first = next_part(&files, Level::Day, None);
        for (part, sources) in (first..).zip(batches(sources, MERGE_BYTES_MAX)) {
            if !self.merge(table, day_key(table, day, part), sources, done).await? {
                break;
            }
        }
        Ok(())
    }

    /// False when another compactor had that part first. Its sources may be cut differently, so that the
    /// parts after it would overlap: they are left to a new listing.
    async fn merge(
        &self,
        table: Table,
        key: Key,
        sources: Vec<Key>,
        done: &mut Compacted,
    ) -> Result<bool, StoreError> {
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
        stream::iter(sources.to_vec())
            .map(|key| async move { self.store.get_table_file(&key).await.map(|body| (key, body)) })
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
    ) -> Result<bool, StoreError> {
        match self.store.create(&key, body).await? {
            Create::Won => {
                done.merged += 1;
                done.rows += rows;
                (self.on_step)(&Step::Merged { key });
                Ok(true)
            }
            Create::Exists(_) => {
                done.lost += 1;
                Ok(false)
            }
        }
    }
}

/// The segments of each hour that no hour file holds yet.
fn pending_hours(files: &DayFiles) -> BTreeMap<u8, Vec<Source>> {
    let mut hours: BTreeMap<u8, Vec<Source>> = BTreeMap::new();
    for file in files.visible().filter(|file| file.key.level == Level::Raw) {
        if let Some(hour) = file.key.hour {
            hours.entry(hour).or_default().push((file.entry.key.clone(), file.entry.size_bytes));
        }
    }
    hours
}

/// Splits sources into merges of at most `bytes_max` each; a larger file is one by itself.
fn batches(sources: Vec<Source>, bytes_max: u64) -> Vec<Vec<Key>> {
    let mut batches: Vec<Vec<Key>> = Vec::new();
    let mut bytes: u64 = 0;
    for (key, size_bytes) in sources {
        bytes = bytes.saturating_add(size_bytes);
        match batches.last_mut() {
            Some(batch) if bytes <= bytes_max => batch.push(key),
            _ => {
                bytes = size_bytes;
                batches.push(vec![key]);
            }
        }
    }
    batches
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_are_bounded_and_hold_every_source_once() {
        for (sizes, expected) in [
            (vec![], vec![]),
            (vec![5, 5], vec![2]),
            (vec![5, 5, 1], vec![2, 1]),
            (vec![99, 1, 1], vec![1, 2]),
            (vec![4, 99, 4], vec![1, 1, 1]),
        ] {
            let sources: Vec<Source> = (0..)
                .zip(&sizes)
                .map(|(part, size)| (day_key(Table::Samples, Day(1), part), *size))
                .collect();
            let keys: Vec<Key> = sources.iter().map(|(key, _)| key.clone()).collect();
            let batches = batches(sources, 10);
            assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{sizes:?}");
            assert_eq!(batches.concat(), keys);
        }
    }
}
