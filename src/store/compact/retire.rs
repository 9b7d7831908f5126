//! What goes: merged sources, days beyond their retention or over the size limit, superseded state.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::{Compacted, Run, SOURCES_KEPT_MS};
use crate::store::key::{Day, Key, Prefix, SequenceKey};
use crate::store::table::{Level, Table};
use crate::store::visible::{DayFiles, TableFile};
use crate::store::{StoreError, ledger};

impl Run<'_> {
    /// Deletes the sources of files merged at least an hour ago, lowest level first.
    pub(super) async fn retire_sources(&self, done: &mut Compacted) -> Result<(), StoreError> {
        let ledger: HashSet<Key> = ledger::done_keys(self.store, 0).await?.into_iter().collect();
        for table in Table::merged() {
            for day in self.store.days(table).await? {
                let files = self.store.day_files(table, day).await?;
                for key in retired_sources(&files, &ledger, self.now_ms) {
                    self.delete(&key, done).await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes days by the date in their key, then the oldest days of samples above the size limit.
    pub(super) async fn retire_days(&self, done: &mut Compacted) -> Result<(), StoreError> {
        let retention = &self.plan.retention;
        for (table, kept) in [
            (Table::Samples, retention.raw),
            (Table::Rollup5m, retention.rollup_5m),
            (Table::Rollup1h, retention.rollup_1h),
            (Table::Readings, retention.readings),
            (Table::Events, retention.events),
            (Table::JobRuns, retention.job_runs),
            (Table::Backups, retention.backups),
            (Table::BenchRuns, retention.bench_runs),
            (Table::DiskRuns, retention.disk_runs),
            (Table::Advice, retention.advice),
        ] {
            let oldest = Day::of(self.now_ms.saturating_sub(millis(kept.0)));
            for day in self.store.days(table).await? {
                if day < oldest {
                    self.delete_day(table, day, done).await?;
                }
            }
        }
        let Some(size_bytes_max) = self.plan.size_bytes_max else { return Ok(()) };
        let mut size_bytes: u64 = 0;
        for entry in self.store.list(&Prefix::data()).await? {
            size_bytes = size_bytes.saturating_add(entry.size_bytes);
        }
        for day in self.store.days(Table::Samples).await? {
            if size_bytes <= size_bytes_max || day >= Day::of(self.now_ms) {
                break;
            }
            size_bytes = size_bytes.saturating_sub(self.delete_day(Table::Samples, day, done).await?);
        }
        Ok(())
    }

    /// Deletes a day, lowest level first: a source must not outlive what hides it. Gives its bytes.
    async fn delete_day(&self, table: Table, day: Day, done: &mut Compacted) -> Result<u64, StoreError> {
        let mut size_bytes = 0;
        for level in Level::ALL {
            for entry in self.store.list(&table.day(level, day)).await? {
                self.delete(&entry.key, done).await?;
                size_bytes += entry.size_bytes;
            }
        }
        Ok(size_bytes)
    }

    /// Deletes old state objects, but never the newest of a sequence, nor what belongs to it.
    pub(super) async fn retire_state(&self, done: &mut Compacted) -> Result<(), StoreError> {
        let before_ms = self.now_ms.saturating_sub(millis(self.plan.retention.state.0));
        let entries = self.store.list(&Prefix::state()).await?;
        let mut newest: BTreeMap<SequenceKey, u64> = BTreeMap::new();
        let mut newest_evaluation: BTreeMap<String, Key> = BTreeMap::new();
        for entry in &entries {
            if let Some((sequence, number)) = SequenceKey::parse(&entry.key) {
                let highest = newest.entry(sequence).or_default();
                *highest = (*highest).max(number);
            }
            if let ["state", "eval", group, _] = entry.key.segments().as_slice() {
                newest_evaluation.insert((*group).to_owned(), entry.key.clone());
            }
        }
        let is_newest = |key: &Key| match key.segments().as_slice() {
            ["state", "eval", group, _] => newest_evaluation.get(*group) == Some(key),
            ["state", "secrets", _] => true,
            ["state", "receipts" | "claims", group, number, ..] => {
                let group = SequenceKey::of_group_segment(group);
                number
                    .parse::<u64>()
                    .ok()
                    .is_some_and(|number| newest.get(&group).is_some_and(|n| number >= *n))
            }
            _ => SequenceKey::parse(key)
                .is_some_and(|(sequence, number)| newest.get(&sequence) == Some(&number)),
        };
        for entry in &entries {
            if entry.modified_ms < before_ms && !is_newest(&entry.key) {
                self.delete(&entry.key, done).await?;
            }
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Sources whose time has come. An hour file waits until its own sources are gone: it is what hides them.
fn retired_sources(files: &DayFiles, ledger: &HashSet<Key>, now_ms: i64) -> Vec<Key> {
    let listed: HashSet<&Key> = files.files.iter().map(|file| &file.entry.key).collect();
    let due = |file: &&TableFile| {
        file.provenance.merged_ms.is_some_and(|merged_ms| merged_ms + SOURCES_KEPT_MS <= now_ms)
    };
    let named: HashSet<&Key> =
        files.files.iter().filter(due).flat_map(|file| &file.provenance.sources).collect();
    let mut retired = Vec::new();
    for file in files.files.iter().filter(|file| named.contains(&file.entry.key)) {
        let hides_some =
            file.provenance.sources.iter().any(|source| listed.contains(source) || ledger.contains(source));
        if !hides_some {
            retired.push(file.entry.key.clone());
        }
    }
    retired
}
