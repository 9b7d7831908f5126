//! Which of several watches over one store writes: the oldest that is alive, as its heartbeats say.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::config::WatchConfig;
use super::shared::Shared;
use crate::model::chain;
use crate::store::{Store, StoreError, events, heartbeat};

/// Heartbeats are per shard; all clusters are one.
const SHARD: &str = "all";

/// One that speaks, and one that knows what it knows and takes over within seconds.
const AT_WORK: usize = 2;

/// Whether a watch loop beats in the store.
///
/// # Errors
/// When the store cannot be listed.
pub async fn is_live(store: &Store, config: &WatchConfig, now_ms: i64) -> Result<bool, StoreError> {
    let fresh_ms = config.fresh_ms(store.local_path().is_some());
    Ok(heartbeat::owner(store, SHARD, now_ms, fresh_ms).await?.is_some())
}

/// Older watches than `own`, which began at `began_ms`, that beat since then: the beats of one that was killed before do
/// not count, or a process that is killed again and again would wait for its own ghosts.
fn older_at_work(beats: &BTreeMap<String, i64>, own: &str, began_ms: u64) -> usize {
    let since_ms = i64::try_from(began_ms).unwrap_or(i64::MAX);
    beats.iter().filter(|(writer, beat_ms)| writer.as_str() < own && **beat_ms > since_ms).count()
}

impl Shared {
    /// Finds out whether this loop is the oldest that is alive; if not, drops what that one has stored by now.
    /// What it may not have stored yet stays, so that nothing is missing when it dies. When nobody can tell
    /// whose word counts, ours does: readers drop what was written twice, and cannot make up what nobody wrote.
    async fn claim(&self, now_ms: i64) {
        let local = self.store.local_path().is_some();
        let fresh_ms = self.config.fresh_ms(local);
        let beats = heartbeat::beats(&self.store, SHARD, now_ms, fresh_ms).await.unwrap_or_else(|error| {
            warn!(%error, "the heartbeats cannot be listed");
            BTreeMap::new()
        });
        let own = self.writer.id().to_string();
        let older = older_at_work(&beats, &own, self.writer.id().timestamp_ms());
        let other = beats.into_iter().next().filter(|(owner, _)| *owner != own);
        let speaks = other.is_none();
        self.rest(older >= AT_WORK).await;
        if let Some((owner, beat_ms)) = other {
            if self.view.speaks() {
                info!(owner, "an older watch is alive and writes the samples");
            }
            // It flushes after it beats, so the flush before its newest beat is the last that is certain.
            let flush_ms = i64::try_from(self.config.flush_interval(local).as_millis()).unwrap_or(60_000);
            self.buffer.discard_before(beat_ms - flush_ms);
        }
        if speaks && !self.view.speaks() {
            self.discard_told(now_ms).await;
        }
        self.view.set_speaks(speaks);
    }

    /// Of many watches over one store only the two oldest ask anything: together they keep the promise of requests. The
    /// others wait until one of these is gone.
    async fn rest(&self, rests: bool) {
        if rests == self.view.rests() {
            return;
        }
        if rests {
            info!("{AT_WORK} older watches are alive: this one asks nothing until one of them is gone");
        } else {
            info!("an older watch is gone: this one begins to stand by");
            self.judge.forget().await;
        }
        self.view.set_rests(rests);
    }

    /// Of what the watch before this one told with its last flushes, nothing is told again.
    async fn discard_told(&self, now_ms: i64) {
        let Some(oldest_ms) = self.buffer.oldest_untold_ms() else { return };
        let minute = 60_000;
        let filter = events::Filter {
            start_ms: oldest_ms - minute,
            end_ms: now_ms + minute,
            ..events::Filter::default()
        };
        match events::query(&self.store, &filter).await {
            Ok(told) => self.buffer.discard_told(&told),
            Err(error) => {
                warn!(error = chain(&error), "events may be told twice: what is stored cannot be read");
            }
        }
    }

    pub(super) async fn beat(&self, now_ms: i64) {
        let beat = heartbeat::beat(&self.store, &self.writer, SHARD, now_ms).await;
        self.claim(now_ms).await;
        let fresh_ms = self.config.fresh_ms(self.store.local_path().is_some());
        let trimmed = heartbeat::trim(&self.store, &self.writer, SHARD, now_ms - 2 * fresh_ms).await;
        if beat.is_ok() {
            self.freshness.stored(now_ms);
        }
        if let Err(error) = beat.and(trimmed) {
            warn!(error = chain(&error), "the heartbeat could not be written");
        }
    }

    /// Takes the heartbeats of this process back.
    pub(super) async fn retire(&self) {
        if let Err(error) = heartbeat::retire(&self.store, &self.writer, SHARD).await {
            warn!(error = chain(&error), "the heartbeats of this process remain");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ghosts_keep_nobody_from_work() {
        let beats = |beats: &[(&str, i64)]| -> BTreeMap<String, i64> {
            beats.iter().map(|(writer, beat_ms)| ((*writer).to_owned(), *beat_ms)).collect()
        };
        for (of, expected) in [
            (beats(&[("c", 12_000)]), 0),
            // Both were killed before it began.
            (beats(&[("a", 9_000), ("b", 9_900), ("c", 12_000)]), 0),
            (beats(&[("a", 9_000), ("b", 11_000), ("c", 12_000)]), 1),
            // Younger ones wait for it.
            (beats(&[("a", 11_500), ("b", 11_000), ("c", 12_000), ("d", 12_000)]), 2),
        ] {
            assert_eq!(older_at_work(&of, "c", 10_000), expected, "{of:?}");
        }
    }
}
