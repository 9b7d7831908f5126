//! Rows of the run ledger into the job_runs table.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};

use super::merging::next_part;
use super::{Compacted, HOUR_SETTLES_MS, Run, Step};
use crate::model::JobRun;
use crate::store::file::{Encoder, Provenance};
use crate::store::key::{self, Day, HOUR_MS, Key};
use crate::store::table::{Level, Table, hour_key, hour_of};
use crate::store::{StoreError, ledger, scan};

impl Run<'_> {
    /// The ledger's objects are the sources, named like segments are: a run that ends late gets into a
    /// further part.
    pub(super) async fn derive_job_runs(&self, done: &mut Compacted) -> Result<(), StoreError> {
        let mut hours: BTreeMap<(Day, u8), Vec<Key>> = BTreeMap::new();
        for key in ledger::done_keys(self.store, 0).await? {
            let Some((slot_ms, ..)) = key::parse_run(&key) else { continue };
            if slot_ms.div_euclid(HOUR_MS) * HOUR_MS + HOUR_MS + HOUR_SETTLES_MS <= self.now_ms {
                hours.entry((Day::of(slot_ms), hour_of(slot_ms))).or_default().push(key);
            }
        }
        for ((day, hour), mut sources) in hours {
            let files = self.store.day_files(Table::JobRuns, day).await?;
            let derived: HashSet<&Key> = files.named_sources();
            sources.retain(|key| !derived.contains(key));
            if sources.is_empty() {
                continue;
            }
            let part = next_part(&files, Level::Hour, Some(hour));
            self.derive_hour(hour_key(Table::JobRuns, day, hour, part), sources, done).await?;
        }
        Ok(())
    }

    async fn derive_hour(&self, key: Key, sources: Vec<Key>, done: &mut Compacted) -> Result<(), StoreError> {
        let runs: Vec<Option<JobRun>> = stream::iter(sources.clone())
            .map(|key| async move { ledger::read(self.store, &key).await })
            .buffered(16)
            .try_collect()
            .await?;
        let runs: Vec<JobRun> = runs.into_iter().flatten().collect();
        (self.on_step)(&Step::Merging { key: key.clone(), sources: sources.len() });
        let provenance = Provenance { sources, merged_ms: Some(self.now_ms) };
        let mut encoder = Encoder::new(&key, Table::JobRuns, &provenance)?;
        encoder.write(&scan::batch_of(&key, &mut runs.iter().collect())?)?;
        let (body, rows) = encoder.finish()?;
        self.commit(key, body, rows, done).await.map(drop)
    }
}
