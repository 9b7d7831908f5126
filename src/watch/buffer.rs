//! What `watch` has seen and not yet flushed.

use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::model::{ClusterName, Event, Instance, Labels, ReadingRow, Samples};
use crate::store::samples::{Block, Recorded};
use crate::store::{Store, StoreError, Writer, events, readings, samples};

/// Samples kept while the store cannot be written; past this the oldest go. About an hour of 10 members.
const MAX_SAMPLES: usize = 4_000_000;

/// Two watches see one happening at most this far apart, ms: the longest rest of a dead member's breaker, a call's
/// timeout, and a poll.
const WITNESSES_APART_MS: i64 = 30_000;

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

    /// Drops of before `ts_ms` what another writer has stored: samples, rows, and events that both saw.
    pub fn discard_before(&self, ts_ms: i64) {
        let mut pending = self.lock();
        pending.events.retain(|event| event.ts_ms >= ts_ms || event.kind.is_one_to_all_witnesses());
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

    /// When the oldest event that another watch may have told happened, ms since the epoch.
    pub fn oldest_untold_ms(&self) -> Option<i64> {
        let pending = self.lock();
        let untold = pending.events.iter().filter(|event| !event.kind.is_one_to_all_witnesses());
        untold.map(|event| event.ts_ms).min()
    }

    /// Drops events of which `told` tells: the same kind and subject, seen within half a minute.
    pub fn discard_told(&self, told: &[Event]) {
        let is_told = |event: &Event| {
            told.iter().any(|other| {
                (&other.cluster, other.kind, &other.subject) == (&event.cluster, event.kind, &event.subject)
                    && (other.ts_ms - event.ts_ms).abs() <= WITNESSES_APART_MS
            })
        };
        self.lock().events.retain(|event| event.kind.is_one_to_all_witnesses() || !is_told(event));
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

    /// Writes only those events that are one whoever saw them: a watch that stands by tells these at once. What
    /// would be told twice waits for [`Self::discard_before`], or until this watch is the one that tells.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn flush_events(&self, store: &Store, writer: &Writer, now_ms: i64) -> Result<(), StoreError> {
        let mut batch = Pending::default();
        {
            let mut pending = self.lock();
            let events = std::mem::take(&mut pending.events);
            (batch.events, pending.events) =
                events.into_iter().partition(|event| event.kind.is_one_to_all_witnesses());
        }
        let written = write(store, writer, now_ms, 0, &mut batch).await;
        if written.is_err() {
            self.give_back(batch);
        }
        written
    }

    /// Writes events and readings, which are few, and leaves the samples to the next [`Self::flush`]: a segment for
    /// each event would make many small ones.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn flush_news(&self, store: &Store, writer: &Writer, now_ms: i64) -> Result<(), StoreError> {
        let mut batch = Pending::default();
        {
            let mut pending = self.lock();
            batch.n = pending.n;
            batch.events = std::mem::take(&mut pending.events);
            batch.rows = std::mem::take(&mut pending.rows);
        }
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
        // Meanwhile another flush may have counted on.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, Severity};
    use crate::store::events;

    fn event(kind: EventKind, ts_ms: i64) -> Event {
        let cluster: ClusterName = "a".parse().expect("name");
        Event {
            id: Event::id_of(&cluster, kind, "m1:2379", &ts_ms.to_string()),
            cluster,
            ts_ms,
            kind,
            severity: Severity::Info,
            subject: "m1:2379".to_owned(),
            actor: None,
            text: "text".to_owned(),
            details: serde_json::Value::Null,
        }
    }

    #[tokio::test]
    async fn news_are_written_without_the_samples() {
        let store = Store::in_memory();
        let buffer = Buffer::default();
        let now_ms = 1_790_000_000_000;
        let labels = Labels::from_pairs([("__name__", "up"), ("cluster", "prod")]);
        let segments = async || {
            let all = store.list(&crate::store::key::Prefix::data()).await.expect("listed");
            let under = |part: &str| all.iter().filter(|entry| entry.key.as_str().contains(part)).count();
            (under("/events/"), under("/samples/"))
        };
        let writer = Writer::new(now_ms, 1);
        for n in 0..3 {
            buffer.add_recorded(&[(labels.clone(), 1.0)], now_ms + n * 2_000);
            buffer.add_events([event(EventKind::LeaderChanged, now_ms + n * 2_000)]);
            buffer.flush_news(&store, &writer, now_ms + n * 2_000).await.expect("written");
        }
        assert_eq!(segments().await, (3, 0));
        let flushed = buffer.flush(&store, &writer, now_ms + 15_000).await.expect("written");
        assert_eq!((flushed.samples, flushed.events), (3, 0));
        assert_eq!(segments().await, (3, 1));
    }

    #[tokio::test]
    async fn a_watch_that_stands_by_tells_only_what_is_one_event_to_all() {
        let store = Store::in_memory();
        let buffer = Buffer::default();
        let now_ms = 1_790_000_000_000;
        let [seen, old, new] = [now_ms, now_ms + 1_000, now_ms + 60_000];
        buffer.add_events([
            event(EventKind::LeaderChanged, seen),
            event(EventKind::MemberUnreachable, old),
            event(EventKind::MemberReachable, new),
            event(EventKind::MemberUnreachable, new),
        ]);
        let stored = async || {
            let filter = events::Filter { end_ms: i64::MAX / 2, ..events::Filter::default() };
            let events = events::query(&store, &filter).await.expect("read");
            events.into_iter().map(|event| (event.kind, event.ts_ms)).collect::<Vec<_>>()
        };
        let writer = Writer::new(now_ms, 1);
        buffer.flush_events(&store, &writer, new).await.expect("written");
        assert_eq!(stored().await, [(EventKind::LeaderChanged, seen)]);
        assert_eq!(buffer.oldest_untold_ms(), Some(old));
        // The watch that speaks has stored what it saw until then.
        buffer.discard_before(new);
        assert_eq!(buffer.oldest_untold_ms(), Some(new));
        // It died after it told of one more, which it saw a little later.
        buffer.discard_told(&[event(EventKind::MemberUnreachable, new + 2_000)]);
        buffer.flush(&store, &writer, new + 5_000).await.expect("written");
        assert_eq!(stored().await, [(EventKind::MemberReachable, new), (EventKind::LeaderChanged, seen)]);
    }
}
