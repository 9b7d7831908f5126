//! Create-only sequences: state n+1 is one new object, and creating it is the commit.
//!
//! A writer reads the newest state, computes the next one, and appends it under the next number. Of several
//! writers one wins; the others read what won and decide anew. No leases, no clocks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::key::{Key, Prefix, SequenceKey};
use super::{Create, Store, StoreError, Writer};

/// A state with who wrote it: what the objects hold.
#[derive(Serialize, Deserialize)]
struct Body<T> {
    format: u32,
    writer: String,
    nonce: u64,
    state: T,
}

const FORMAT: u32 = 1;

/// Whether the append was the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended<T> {
    Won,
    /// Another state holds that number, or the number is not the next one. What is newest now.
    Lost(Option<(u64, T)>),
}

/// A pause between looking and creating after which the look counts for nothing: while a process was
/// stopped, its number may have been used, superseded and deleted.
const LOOK_VALID: Duration = Duration::from_secs(60);

/// Requests in flight when many sequences are read.
const READS_AT_ONCE: usize = 16;

/// The newest state and its number (from 1), or `None` for a sequence without states.
///
/// # Errors
/// When the store cannot be read, or the newest object is no state of this kind.
pub async fn latest<T: DeserializeOwned>(
    store: &Store,
    sequence: &SequenceKey,
) -> Result<Option<(u64, T)>, StoreError> {
    // A superseded object may be deleted between listing and reading, the newest never is: so a listing
    // that leads nowhere was outdated.
    for _ in 0..3 {
        let Some(number) = newest_number(store, sequence).await? else { return Ok(None) };
        let key = sequence.number(number);
        if let Some(body) = store.get(&key).await? {
            return parse(&key, &body).map(|state| Some((number, state)));
        }
    }
    Err(StoreError::Moving { key: sequence.prefix().as_str().to_owned() })
}

/// The state of one number, or `None` where there is none (any more).
///
/// # Errors
/// When the store cannot be read, or the object is no state of this kind.
pub async fn at<T: DeserializeOwned>(
    store: &Store,
    sequence: &SequenceKey,
    number: u64,
) -> Result<Option<T>, StoreError> {
    let key = sequence.number(number);
    store.get(&key).await?.map(|body| parse(&key, &body)).transpose()
}

async fn newest_number(store: &Store, sequence: &SequenceKey) -> Result<Option<u64>, StoreError> {
    let entries = store.list(sequence.prefix()).await?;
    Ok(entries.iter().filter_map(|entry| SequenceKey::parse(&entry.key)).map(|(_, number)| number).max())
}

/// Commits `state` as number `number`, which is the newest number + 1 (1 for the first).
///
/// # Errors
/// When the store cannot be read or written. The state may have been committed all the same; reading the
/// newest state tells.
pub async fn append<T: Serialize + DeserializeOwned>(
    store: &Store,
    sequence: &SequenceKey,
    number: u64,
    state: &T,
    writer: &Writer,
) -> Result<Appended<T>, StoreError> {
    let key = sequence.number(number);
    let body = Body { format: FORMAT, writer: writer.id().to_string(), nonce: writer.nonce(), state };
    let bytes = serde_json::to_vec(&body)
        .map_err(|error| StoreError::Body { key: key.to_string(), reason: error.to_string() })?;
    let looked = Instant::now();
    if newest_number(store, sequence).await?.unwrap_or(0).checked_add(1) != Some(number) {
        return Ok(Appended::Lost(latest(store, sequence).await?));
    }
    match store.create(&key, bytes.into()).await? {
        Create::Won if looked.elapsed() < LOOK_VALID => Ok(Appended::Won),
        Create::Won if newest_number(store, sequence).await? == Some(number) => Ok(Appended::Won),
        Create::Won | Create::Exists(_) => Ok(Appended::Lost(latest(store, sequence).await?)),
    }
}

/// The newest state of every sequence under `prefix` ([`Prefix::incidents`], [`Prefix::groups`]), in key
/// order.
///
/// # Errors
/// When the store cannot be read, or a newest object is no state of this kind.
pub async fn all_latest<T: DeserializeOwned + Clone>(
    store: &Store,
    prefix: &Prefix,
) -> Result<Vec<(SequenceKey, u64, T)>, StoreError> {
    Newest::default().read(store, prefix).await
}

/// The newest states under a prefix, as last read. An object never changes, so the next reading gets only
/// what is new: with a thousand alerts of the past, one listing instead of a thousand requests.
#[derive(Debug)]
pub struct Newest<T>(Mutex<BTreeMap<SequenceKey, (u64, T)>>);

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: DeserializeOwned + Clone> Newest<T> {
    /// The newest state of every sequence under `prefix`, in key order. Always of the same prefix.
    ///
    /// # Errors
    /// As [`all_latest`]; then the next reading starts where the last good one ended.
    pub async fn read(
        &self,
        store: &Store,
        prefix: &Prefix,
    ) -> Result<Vec<(SequenceKey, u64, T)>, StoreError> {
        let mut newest: BTreeMap<SequenceKey, u64> = BTreeMap::new();
        for entry in store.list(prefix).await? {
            if let Some((sequence, number)) = SequenceKey::parse(&entry.key) {
                let highest = newest.entry(sequence).or_default();
                *highest = (*highest).max(number);
            }
        }
        // A listing may be older than the one before it.
        let known = |sequence: &SequenceKey, number| {
            let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            states.get(sequence).filter(|(known, _)| *known >= number).cloned()
        };
        let found: Vec<(SequenceKey, u64, T)> = stream::iter(newest)
            .map(|(sequence, number)| async move {
                if let Some((number, state)) = known(&sequence, number) {
                    return Ok(Some((sequence, number, state)));
                }
                let key = sequence.number(number);
                match store.get(&key).await? {
                    Some(body) => Ok(parse(&key, &body).map(|state| Some((sequence, number, state)))?),
                    None => {
                        Ok(latest(store, &sequence).await?.map(|(number, state)| (sequence, number, state)))
                    }
                }
            })
            .buffered(READS_AT_ONCE)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await?;
        let states =
            found.iter().map(|(sequence, number, state)| (sequence.clone(), (*number, state.clone())));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = states.collect();
        Ok(found)
    }
}

fn parse<T: DeserializeOwned>(key: &Key, body: &[u8]) -> Result<T, StoreError> {
    let malformed = |reason: String| StoreError::Body { key: key.to_string(), reason };
    let body: Body<T> = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    if body.format > FORMAT {
        return Err(StoreError::Format {
            key: key.to_string(),
            found: Some(body.format.to_string()),
            newest: FORMAT,
        });
    }
    Ok(body.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_of_two_appends_wins_and_the_other_sees_it() {
        let store = Store::in_memory();
        let key = SequenceKey::incident("ab");
        let (one, two) = (Writer::new(1, 1), Writer::new(1, 2));
        assert_eq!(latest::<String>(&store, &key).await.expect("read"), None);
        let first = append(&store, &key, 1, &"a".to_owned(), &one).await.expect("append");
        assert_eq!(first, Appended::Won);
        let second = append(&store, &key, 1, &"b".to_owned(), &two).await.expect("append");
        assert_eq!(second, Appended::Lost(Some((1, "a".to_owned()))));
        let gap = append(&store, &key, 3, &"c".to_owned(), &two).await.expect("append");
        assert_eq!(gap, Appended::Lost(Some((1, "a".to_owned()))));
        assert_eq!(append(&store, &key, 2, &"b".to_owned(), &two).await.expect("append"), Appended::Won);
        let all = all_latest::<String>(&store, &Prefix::incidents()).await.expect("list");
        assert_eq!(all, [(key, 2, "b".to_owned())]);
    }

    #[tokio::test]
    async fn what_was_read_is_not_read_again_and_news_are_seen() {
        let (store, writer) = (Store::in_memory(), Writer::new(1, 1));
        let newest = Newest::<u32>::default();
        for (number, groups) in [(1, &["a", "b"][..]), (2, &["b"])] {
            for group in groups {
                let key = SequenceKey::group(group);
                append(&store, &key, number, &7_u32, &writer).await.expect("append");
            }
            let before = store.reads().requests;
            let read = newest.read(&store, &Prefix::groups()).await.expect("reads");
            let numbers: Vec<u64> = read.iter().map(|(_, number, _)| *number).collect();
            assert_eq!(numbers, [1, number]);
            assert_eq!(store.reads().requests - before, u64::try_from(groups.len()).expect("few"));
        }
    }

    #[tokio::test]
    async fn an_equal_state_of_another_writer_is_not_ours() {
        let store = Store::in_memory();
        let key = SequenceKey::group("g");
        let same = 7_u32;
        append(&store, &key, 1, &same, &Writer::new(1, 1)).await.expect("append");
        let lost = append(&store, &key, 1, &same, &Writer::new(1, 2)).await.expect("append");
        assert_eq!(lost, Appended::Lost(Some((1, 7))));
    }
}
