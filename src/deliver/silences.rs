//! Silences in the store: one create-only sequence each.

use super::commit::store_error;
use super::{DeliverError, Deliverer, lock};
use crate::alert::{Silence, Silences, events_of_silence};
use crate::model::{ClusterName, Event};
use crate::store::events;
use crate::store::key::{Prefix, SequenceKey};
use crate::store::sequence::{self, Appended};
use crate::store::{Store, Writer};

/// How often expiring is tried anew after another writer won.
const TRIES: u32 = 4;

/// The newest state of every silence, those that are over among them.
///
/// # Errors
/// When the store cannot be read.
pub async fn read_silences(store: &Store) -> Result<Vec<Silence>, DeliverError> {
    let prefix = Prefix::silences();
    let silences = sequence::all_latest::<Silence>(store, &prefix).await;
    let silences = silences.map_err(|source| store_error("read", prefix.as_str(), source))?;
    Ok(silences.into_iter().map(|(_, _, silence)| silence).collect())
}

/// Commits a new silence. The caller has checked it.
///
/// # Errors
/// When the store cannot be written, or a silence with that id is there.
pub async fn put_silence(store: &Store, writer: &Writer, silence: &Silence) -> Result<(), DeliverError> {
    let sequence = SequenceKey::silence(&silence.id);
    match sequence::append(store, &sequence, 1, silence, writer).await {
        Ok(Appended::Won) => Ok(()),
        Ok(Appended::Lost(_)) => Err(DeliverError::SilenceContended { id: silence.id.clone() }),
        Err(source) => Err(store_error("commit silence", sequence.prefix().as_str(), source)),
    }
}

/// Ends a silence now. `Ok(None)`: there is no silence with that id; else its newest state, which was over
/// already or is so now.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn expire_silence(
    store: &Store,
    writer: &Writer,
    id: &str,
    now_ms: i64,
) -> Result<Option<Silence>, DeliverError> {
    let sequence = SequenceKey::silence(id);
    let failed = |source| store_error("expire silence", sequence.prefix().as_str(), source);
    for _ in 0..TRIES {
        let newest = sequence::latest::<Silence>(store, &sequence).await.map_err(failed)?;
        let Some((number, silence)) = newest else { return Ok(None) };
        let Some(over) = silence.expired(now_ms) else { return Ok(Some(silence)) };
        let appended = sequence::append(store, &sequence, number.saturating_add(1), &over, writer).await;
        if appended.map_err(failed)? == Appended::Won {
            return Ok(Some(over));
        }
    }
    Err(DeliverError::SilenceContended { id: id.to_owned() })
}

/// How far back beginnings and ends are looked for that are not in the history yet, ms: a host may have been away.
const LOOK_BACK_MS: i64 = 3_600_000;

impl Deliverer {
    /// Writes the beginnings and ends of silences and maintenance windows into the history; returns what is new
    /// there. `clusters` are the configured ones.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn record_silences(
        &self,
        clusters: &[ClusterName],
        now_ms: i64,
    ) -> Result<Vec<Event>, DeliverError> {
        let from_ms = now_ms.saturating_sub(LOOK_BACK_MS);
        let mut silences = read_silences(&self.store).await?;
        silences.extend(self.standing.at(now_ms).0);
        let mut happened: Vec<Event> = silences
            .iter()
            .flat_map(|silence| events_of_silence(silence, clusters, from_ms, now_ms))
            .collect();
        if happened.is_empty() {
            return Ok(happened);
        }
        let filter = events::Filter { start_ms: from_ms, end_ms: now_ms + 1, ..events::Filter::default() };
        let failed = |what| move |source| store_error(what, "the events", source);
        let there = events::query(&self.store, &filter).await.map_err(failed("read"))?;
        happened.retain(|event| there.iter().all(|known| known.id != event.id));
        if !happened.is_empty() {
            let written = events::write(&self.store, &self.writer, now_ms, &happened).await;
            written.map_err(failed("write"))?;
        }
        Ok(happened)
    }

    /// The silences; as last read where they cannot be read now. They end by their own time, so outdated
    /// ones silence nothing for ever.
    pub(super) async fn silences(&self, now_ms: i64, errors: &mut Vec<DeliverError>) -> Silences {
        match read_silences(&self.store).await {
            Ok(silences) => *lock(&self.known_silences) = silences,
            Err(error) => errors.push(error),
        }
        let (standing, wrong) = self.standing.at(now_ms);
        errors.extend(wrong);
        let stored = lock(&self.known_silences).clone();
        Silences::new(stored.into_iter().chain(standing))
    }
}
