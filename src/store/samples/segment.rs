//! Writing samples as they come: one segment per flush and hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::columns::Columns;
use crate::model::{Labels, Samples};
use crate::store::file::{Encoder, Provenance};
use crate::store::key::{HOUR_MS, Key};
use crate::store::table::{Table, raw_key};
use crate::store::{Create, Store, StoreError, Writer};

/// One target's samples of one instant, to write.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    pub cluster: &'a str,
    /// Empty for series of the cluster as a whole.
    pub instance: &'a str,
    /// The scrape's start, ms since the epoch, UTC.
    pub ts_ms: i64,
    /// `cluster`, `instance` and `job` are not repeated in the file. The stale marker ends a series.
    pub samples: &'a Samples,
}

/// One sample to write.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub cluster: &'a str,
    pub instance: &'a str,
    /// The series, with `__name__`.
    pub labels: &'a Labels,
    pub ts_ms: i64,
    pub value: f64,
}

/// As [`write_blocks`], for samples that come one by one.
///
/// # Errors
/// As [`write_blocks`].
pub async fn write_segment(
    store: &Store,
    writer: &Writer,
    flush_ms: i64,
    n: u64,
    rows: &[Row<'_>],
) -> Result<Vec<Key>, StoreError> {
    let mut grouped: BTreeMap<_, Vec<&Row<'_>>> = BTreeMap::new();
    for row in rows {
        grouped.entry((row.cluster, row.instance, row.ts_ms)).or_default().push(row);
    }
    let samples: Vec<Samples> = grouped
        .values()
        .map(|rows| rows.iter().map(|row| (row.labels.clone(), row.value)).collect())
        .collect();
    let blocks = grouped.keys().zip(&samples).map(|((cluster, instance, ts_ms), samples)| Block {
        cluster,
        instance,
        ts_ms: *ts_ms,
        samples,
    });
    write_blocks(store, writer, flush_ms, n, &blocks.collect::<Vec<_>>()).await
}

/// Writes a flush as the writer's `n`th; blocks may come in any order. One object per UTC hour of the blocks,
/// mostly one. Of two samples of one series and time the later stays. A repeat with the same arguments finds
/// its own objects and succeeds.
///
/// # Errors
/// When the store cannot be written; objects of other hours may have been.
pub async fn write_blocks(
    store: &Store,
    writer: &Writer,
    flush_ms: i64,
    n: u64,
    blocks: &[Block<'_>],
) -> Result<Vec<Key>, StoreError> {
    // Readers skip segments flushed before the time they ask for, so a name must not be older than its rows.
    let flush_ms = blocks.iter().map(|block| block.ts_ms).fold(flush_ms, i64::max);
    let mut hours: BTreeMap<i64, Vec<Block<'_>>> = BTreeMap::new();
    for block in blocks.iter().filter(|block| !block.samples.is_empty()) {
        hours.entry(block.ts_ms.div_euclid(HOUR_MS)).or_default().push(*block);
    }
    let mut files = Vec::new();
    for hour in hours.values() {
        let Some(first) = hour.first() else { continue };
        let key = raw_key(Table::Samples, first.ts_ms, flush_ms, &writer.id().to_string(), n);
        files.push((key.clone(), encode(&key, hour)?));
    }
    let mut keys = Vec::with_capacity(files.len());
    for (key, body) in files {
        if let Create::Exists(_) = store.create(&key, body).await? {
            return Err(StoreError::Body {
                key: key.to_string(),
                reason: "this writer used the number for other rows before".to_owned(),
            });
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Rows of one batch; what is encoded need not be held as columns any more.
const BATCH_ROWS: usize = 1 << 16;

fn encode(key: &Key, blocks: &[Block<'_>]) -> Result<bytes::Bytes, StoreError> {
    let arrow = |source| StoreError::Arrow { key: key.to_string(), source };
    let mut encoder = Encoder::new(key, Table::Samples, &Provenance::default())?;
    let mut columns = Columns::default();
    let runs = runs(blocks);
    for same in runs.chunk_by(|a, b| a.target() == b.target()) {
        columns.begin(same.first().map_or(("", "", ""), Run::target));
        each_series(same, &mut |text, samples| columns.push(text, samples));
        if columns.len() >= BATCH_ROWS {
            encoder.write_settled(&columns.take().map_err(arrow)?)?;
        }
    }
    if columns.len() > 0 {
        encoder.write_settled(&columns.take().map_err(arrow)?)?;
    }
    Ok(encoder.finish()?.0)
}

/// One metric of one block.
struct Run<'a> {
    cluster: &'a str,
    metric: &'a str,
    instance: &'a str,
    ts_ms: i64,
    samples: &'a Samples,
    /// The metric's series among them, in the order of their texts.
    positions: &'a [u32],
}

impl<'a> Run<'a> {
    fn target(&self) -> (&'a str, &'a str, &'a str) {
        (self.cluster, self.metric, self.instance)
    }

    fn sample(&self, position: u32) -> Option<(&'a Arc<str>, f64)> {
        let series = self.samples.list().get(position as usize)?;
        Some((series.text(), *self.samples.values().get(position as usize)?))
    }
}

/// The runs of all blocks as the table is sorted; of one metric, target and time in the order of the blocks.
fn runs<'a>(blocks: &[Block<'a>]) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    for block in blocks {
        runs.extend(block.samples.list().by_metric().map(|(metric, positions)| Run {
            cluster: block.cluster,
            metric,
            instance: block.instance,
            ts_ms: block.ts_ms,
            samples: block.samples,
            positions,
        }));
    }
    runs.sort_by(|a, b| (a.target(), a.ts_ms).cmp(&(b.target(), b.ts_ms)));
    runs
}

/// Calls `take` with each series of the runs in the order of their texts, and with its samples in time order.
/// All runs are of one metric and target.
fn each_series<'a>(runs: &[Run<'a>], take: &mut impl FnMut(&'a Arc<str>, &[(i64, f64)])) {
    let Some(first) = runs.first() else { return };
    let mut scratch = Vec::with_capacity(runs.len());
    let one_list = runs.iter().all(|run| Arc::ptr_eq(run.samples.list(), first.samples.list()));
    let ascending = runs.is_sorted_by(|a, b| a.ts_ms < b.ts_ms);
    if one_list && ascending && first.samples.list().is_distinct() {
        for position in first.positions {
            scratch.clear();
            let samples = runs.iter().filter_map(|run| Some((run.ts_ms, run.sample(*position)?.1)));
            scratch.extend(samples);
            if let Some((text, _)) = first.sample(*position) {
                take(text, &scratch);
            }
        }
        return;
    }
    let mut all: Vec<_> = runs
        .iter()
        .flat_map(|run| run.positions.iter().filter_map(|at| run.sample(*at).map(|s| (s.0, run.ts_ms, s.1))))
        .collect();
    all.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    for series in all.chunk_by(|a, b| a.0 == b.0) {
        scratch.clear();
        let instants = series.chunk_by(|a, b| a.1 == b.1).filter_map(|same| same.last());
        scratch.extend(instants.map(|(_, ts_ms, value)| (*ts_ms, *value)));
        if let Some((text, ..)) = series.first() {
            take(text, &scratch);
        }
    }
}
