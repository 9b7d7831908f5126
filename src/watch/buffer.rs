//! What `watch` has seen and not yet flushed.

use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::model::{ClusterName, Event, Instance, Labels, ReadingRow, Samples};
use crate::store::samples::{Block, Recorded};
use crate::store::{Store, StoreError, Writer, events, readings, samples};

/// Samples kept while the store cannot be written; past this the oldest go. About an hour of 10 members.
const MAX_SAMPLES: usize = 4_000_000;

/// One target's samples of one instant, on their way to the store.
#[derive(Debug, Clone)]
pub struct Batch {
    pub cluster: ClusterName,
    /// `None` for series of the cluster as a whole.
    pub instance: Option<Instance>,
    pub ts_ms: i64,
    pub samples: Samples,
}

/// Rows on their way to the store. Ticks add, one flush at a time takes.
#[derive(Default)]
pub struct Buffer {
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    /// Number of the next segment of this writer.
    n: u64,
    samples: Vec<Batch>,
    recorded: Vec<Recorded>,
    rows: Vec<ReadingRow>,
    events: Vec<Event>,
}

/// What a flush wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flushed {
    pub samples: usize,
    pub readings: usize,
    pub events: usize,
}

impl Buffer {
    pub fn add_samples(&self, batch: Batch) {
        if !batch.samples.is_empty() {
            self.lock().samples.push(batch);
        }
    }

    /// Takes what recording rules wrote at `ts_ms`.
    pub fn add_recorded(&self, rows: &[(Labels, f64)], ts_ms: i64) {
        if !rows.is_empty() {
            self.lock().recorded.extend(Recorded::group(rows, ts_ms));
        }
    }

    /// Drops the samples that wait: another writer has them.
    pub fn discard_samples(&self) {
        let mut pending = self.lock();
        pending.samples.clear();
        pending.recorded.clear();
    }

    /// Drops samples and rows of before `ts_ms`: another writer has stored them.
    pub fn discard_before(&self, ts_ms: i64) {
        let mut pending = self.lock();
        pending.samples.retain(|sample| sample.ts_ms >= ts_ms);
        pending.recorded.retain(|recorded| recorded.ts_ms() >= ts_ms);
        pending.rows.retain(|row| row.ts_ms >= ts_ms);
    }

    pub fn add_rows(&self, rows: impl IntoIterator<Item = ReadingRow>) {
        self.lock().rows.extend(rows);
    }

    pub fn add_events(&self, events: impl IntoIterator<Item = Event>) {
        self.lock().events.extend(events);
    }

    /// Writes everything as one segment per table. What cannot be written goes back and is tried with the
    /// next flush.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn flush(&self, store: &Store, writer: &Writer, now_ms: i64) -> Result<Flushed, StoreError> {
        let (n, mut batch) = {
            let mut pending = self.lock();
            pending.n += 1;
            let n = pending.n;
            (n, std::mem::replace(&mut *pending, Pending { n, ..Pending::default() }))
        };
        let flushed = Flushed {
            samples: count(&batch.samples) + batch.recorded.iter().map(Recorded::len).sum::<usize>(),
            readings: batch.rows.len(),
            events: batch.events.len(),
        };
        let written = write(store, writer, now_ms, n, &mut batch).await;
        if written.is_err() {
            self.give_back(batch);
        }
        written.map(|()| flushed)
    }

    /// Writes the events alone: of those two witnesses make one, so a watch that stands by tells its own.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn flush_events(&self, store: &Store, writer: &Writer, now_ms: i64) -> Result<(), StoreError> {
        let mut batch = Pending { events: std::mem::take(&mut self.lock().events), ..Pending::default() };
        let written = write(store, writer, now_ms, 0, &mut batch).await;
        if written.is_err() {
            self.give_back(batch);
        }
        written
    }

    fn give_back(&self, mut batch: Pending) {
        let mut pending = self.lock();
        batch.samples.append(&mut pending.samples);
        batch.recorded.append(&mut pending.recorded);
        batch.rows.append(&mut pending.rows);
        batch.events.append(&mut pending.events);
        batch.n = pending.n;
        let mut over = count(&batch.samples).saturating_sub(MAX_SAMPLES);
        if over > 0 {
            warn!(samples = over, "the store has not been writable for long, the oldest samples are dropped");
            batch.samples.retain(|oldest| {
                let dropped = over > 0;
                over = over.saturating_sub(oldest.samples.len());
                !dropped
            });
            // They are few: as old as the oldest sample that is kept.
            let oldest_ms = batch.samples.first().map_or(i64::MIN, |batch| batch.ts_ms);
            batch.recorded.retain(|recorded| recorded.ts_ms() >= oldest_ms);
        }
        *pending = batch;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(batches: &[Batch]) -> usize {
    batches.iter().map(|batch| batch.samples.len()).sum()
}

/// Writes table by table and clears what is written, so that a failure repeats nothing.
async fn write(
    store: &Store,
    writer: &Writer,
    now_ms: i64,
    n: u64,
    batch: &mut Pending,
) -> Result<(), StoreError> {
    if !batch.events.is_empty() {
        events::write(store, writer, now_ms, &batch.events).await?;
        batch.events.clear();
    }
    if !batch.rows.is_empty() {
        readings::write(store, writer, now_ms, &batch.rows).await?;
        batch.rows.clear();
    }
    if !batch.samples.is_empty() || !batch.recorded.is_empty() {
        let blocks = batch.samples.iter().map(|batch| Block {
            cluster: batch.cluster.as_str(),
            instance: batch.instance.as_ref().map_or("", |instance| instance.as_str()),
            ts_ms: batch.ts_ms,
            samples: &batch.samples,
        });
        let blocks = blocks.chain(batch.recorded.iter().map(Recorded::block));
        samples::write_blocks(store, writer, now_ms, n, &blocks.collect::<Vec<_>>()).await?;
        batch.samples.clear();
        batch.recorded.clear();
    }
    Ok(())
}
