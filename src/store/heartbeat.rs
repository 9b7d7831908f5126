//! Signs of life of the `watch` loops of a shard: the oldest live one writes samples, the others stand by.

use std::collections::BTreeMap;

use super::key::{self, Key, Prefix};
use super::{Store, StoreError, Writer};

/// Says that this writer's loop is alive, and which process it is. One object per beat; the state retention
/// clears them.
///
/// # Errors
/// When the store cannot be written.
pub async fn beat(store: &Store, writer: &Writer, shard: &str, now_ms: i64) -> Result<(), StoreError> {
    let key = key::heartbeat(shard, &writer.id().to_string(), now_ms);
    store.create(&key, writer.process().to_owned().into()).await.map(drop)
}

/// Takes back the beats of writers whose process `is_gone`: one that was killed would count as alive, and keep
/// its successor from writing, until its last beat is old.
///
/// # Errors
/// When the store cannot be listed, read or written.
pub async fn bury(store: &Store, shard: &str, is_gone: &dyn Fn(&str) -> bool) -> Result<(), StoreError> {
    for writer in store.folders(&Prefix::watch(shard)).await? {
        let beats = store.list(&writer).await?;
        let Some(newest) = beats.iter().max_by(|a, b| a.key.cmp(&b.key)) else { continue };
        let Some(process) = store.get(&newest.key).await? else { continue };
        if std::str::from_utf8(&process).is_ok_and(is_gone) {
            for beat in &beats {
                store.delete(&beat.key).await?;
            }
        }
    }
    Ok(())
}

/// The ids of the writers with a beat in the last `fresh_ms`, oldest writer first (their ids sort by start).
///
/// # Errors
/// When the store cannot be listed.
pub async fn live(store: &Store, shard: &str, now_ms: i64, fresh_ms: i64) -> Result<Vec<String>, StoreError> {
    Ok(beats(store, shard, now_ms, fresh_ms).await?.into_keys().collect())
}

/// Writers with a beat in the last `fresh_ms`, oldest writer first, and when they last beat, ms since the epoch.
///
/// # Errors
/// When the store cannot be listed.
pub async fn beats(
    store: &Store,
    shard: &str,
    now_ms: i64,
    fresh_ms: i64,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let after = key::instant(now_ms.saturating_sub(fresh_ms));
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    for writer in store.folders(&Prefix::watch(shard)).await? {
        let offset = Key::listed(&format!("{}/{after}", writer.as_str()));
        for entry in store.list_after(&writer, Some(&offset)).await? {
            if let Some((writer, beat_ms)) = key::parse_heartbeat(&entry.key) {
                let newest_ms = newest.entry(writer).or_insert(beat_ms);
                *newest_ms = beat_ms.max(*newest_ms);
            }
        }
    }
    Ok(newest)
}

/// The id of the writer that owns the shard's samples now, if any loop is alive.
///
/// # Errors
/// When the store cannot be listed.
pub async fn owner(
    store: &Store,
    shard: &str,
    now_ms: i64,
    fresh_ms: i64,
) -> Result<Option<String>, StoreError> {
    Ok(beats(store, shard, now_ms, fresh_ms).await?.into_keys().next())
}

/// Takes back this writer's beats, so that a stand-by takes over at once after a clean stop.
///
/// # Errors
/// When the store cannot be listed or written.
pub async fn retire(store: &Store, writer: &Writer, shard: &str) -> Result<(), StoreError> {
    let id = writer.id().to_string();
    for entry in store.list(&Prefix::watch(shard)).await? {
        if key::parse_heartbeat(&entry.key).is_some_and(|(writer, _)| writer == id) {
            store.delete(&entry.key).await?;
        }
    }
    Ok(())
}

/// Deletes this writer's own beats before `before_ms`: a loop that beats every few seconds keeps its
/// folder small this way.
///
/// # Errors
/// When the store cannot be listed or written.
pub async fn trim(store: &Store, writer: &Writer, shard: &str, before_ms: i64) -> Result<(), StoreError> {
    let id = writer.id().to_string();
    for entry in store.list(&Prefix::watch(shard)).await? {
        let old = key::parse_heartbeat(&entry.key)
            .is_some_and(|(writer, beat_ms)| writer == id && beat_ms < before_ms);
        if old {
            store.delete(&entry.key).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_live_loop_owns_the_shard() {
        let store = Store::in_memory();
        let (old, new) = (Writer::new(1000, 9), Writer::new(2000, 1));
        beat(&store, &old, "0", 10_000).await.expect("beat");
        beat(&store, &new, "0", 12_000).await.expect("beat");
        let owner = |now_ms| owner(&store, "0", now_ms, 5000);
        assert_eq!(owner(13_000).await.expect("list"), Some(old.id().to_string()));
        assert_eq!(owner(16_000).await.expect("list"), Some(new.id().to_string()));
        assert_eq!(owner(60_000).await.expect("list"), None);
        retire(&store, &old, "0").await.expect("retire");
        assert_eq!(super::owner(&store, "0", 13_000, 5000).await.expect("list"), Some(new.id().to_string()));
    }

    #[tokio::test]
    async fn a_dead_process_keeps_nobody_waiting() {
        let store = Store::in_memory();
        let (dead, alive) = (Writer::new(1000, 9).of_process("a"), Writer::new(2000, 1).of_process("b"));
        for ms in [10_000, 11_000] {
            beat(&store, &dead, "0", ms).await.expect("beat");
        }
        beat(&store, &alive, "0", 11_000).await.expect("beat");
        bury(&store, "0", &|process| process == "a").await.expect("buried");
        assert_eq!(live(&store, "0", 12_000, 5000).await.expect("list"), [alive.id().to_string()]);
    }
}
