//! What is known of backups, kept for pages and commands: written when it changes.

use super::{Backups, Others, Rhythm};
use crate::backup::{Foreign, Listing, catalog, overview};
use crate::config::{Config, Environment};
use crate::model::{BackupState, ClusterName};
use crate::store::backups as rows_of_backups;
use crate::store::key::SequenceKey;
use crate::store::sequence::Appended;
use crate::store::{Store, StoreError, Writer, sequence};

/// What is known of each configured cluster, and of each that has backups.
pub fn states(
    config: &Config,
    listing: &Listing,
    others: &Others,
    rhythm: Rhythm,
    now_ms: i64,
) -> Vec<BackupState> {
    let mut names: Vec<ClusterName> =
        config.clusters.iter().map(|cluster| cluster.config.name.clone()).collect();
    names.extend(listing.backups.iter().map(|kept| kept.manifest.cluster.clone()));
    names.sort();
    names.dedup();
    let foreign: Vec<Foreign> = others.places.iter().flat_map(|(_, files)| files.clone()).collect();
    let state = |name: ClusterName| {
        let cluster = config.clusters.iter().find(|cluster| cluster.config.name == name);
        let is_backed_up = cluster.is_some_and(|cluster| cluster.is_backed_up(&config.backup));
        BackupState {
            is_backed_up,
            next_due_ms: rhythm.next_due_ms.filter(|_| is_backed_up),
            interval_ms: rhythm
                .interval_seconds
                .filter(|_| is_backed_up)
                .map(|seconds| (seconds * 1e3) as i64),
            ..overview(&name, listing, &foreign, now_ms)
        }
    };
    names.into_iter().map(state).collect()
}

/// Keeps what is new, and writes the rows of what changed.
///
/// # Errors
/// When the store cannot be used.
pub async fn keep(store: &Store, writer: &Writer, states: &[BackupState]) -> Result<(), StoreError> {
    for state in states {
        let key = SequenceKey::backups(state.cluster.as_str());
        let (number, last) = match sequence::latest::<BackupState>(store, &key).await? {
            Some((number, last)) => (number, Some(last)),
            // A cluster that never had a backup has no state.
            None if state.copies.is_empty() => continue,
            None => (0, None),
        };
        if last.as_ref().is_some_and(|last| last.is_same(state)) {
            continue;
        }
        // Who loses a race said the same a moment before.
        let appended = sequence::append(store, &key, number + 1, state, writer).await?;
        if matches!(appended, Appended::Won) {
            let rows = state.changes(last.as_ref());
            rows_of_backups::write(store, writer, state.seen_ms, &rows).await?;
        }
    }
    Ok(())
}

/// Looks at everything and keeps what is new, after a command changed something. `schedule` is the backup job's own.
///
/// # Errors
/// When the store cannot be used.
pub async fn look_again(
    config: &Config,
    store: &Store,
    environment: &Environment,
    backups: &Backups,
    schedule: &str,
    writer: &Writer,
    now_ms: i64,
) -> anyhow::Result<()> {
    let listing = catalog::list(&backups.destinations, None).await;
    let others = super::others(config, store, environment).await;
    let rhythm = super::rhythm(config, store, &listing, schedule, now_ms).await?;
    Ok(keep(store, writer, &states(config, &listing, &others, rhythm, now_ms)).await?)
}
