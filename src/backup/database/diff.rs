//! What is different between two databases.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;

use serde::Serialize;

use super::contents::first_parts;
use super::live::{Live, gather};
use super::partition::Partition;
use super::{Damage, Progress, ReadAt};

/// What became of a key from the first to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Changed,
    Removed,
}

/// The difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub added: u64,
    /// Keys with another value.
    pub changed: u64,
    pub removed: u64,
    pub unchanged: u64,
    /// By the first parts of the key; most different first.
    pub prefixes: Vec<GroupDifference>,
    /// The first of the keys that differ, in the order of their names.
    pub keys: Vec<(String, Change)>,
}

/// The same of keys that have a prefix in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GroupDifference {
    pub name: String,
    pub added: u64,
    pub changed: u64,
    pub removed: u64,
    /// Of keys and values alive, the second less the first.
    pub bytes: i64,
}

const GROUPS_MAX: usize = 10_000;
const OTHERS: &str = "(others)";

/// Compares what is alive at the end of `first` and `second`. Keys that do not begin with `prefix` are left out; groups are
/// of the first `depth` parts; `top` keys are named.
///
/// # Errors
/// Where one of the files stops being a database.
pub fn diff(
    (first, second): (&dyn ReadAt, &dyn ReadAt),
    prefix: &[u8],
    depth: usize,
    top: usize,
    progress: &Progress,
) -> Result<Difference, Damage> {
    let mut found = Difference::default();
    let mut groups: BTreeMap<String, GroupDifference> = BTreeMap::new();
    let mut keys: BTreeSet<(Vec<u8>, Change)> = BTreeSet::new();
    // One for both, so that equal values have equal hashes.
    let values = RandomState::new();
    let mut partition = Partition::all();
    loop {
        let mut before = gather(first, &mut partition, &values, progress, &mut |_| {})?;
        let after = gather(second, &mut partition, &values, progress, &mut |_| {})?;
        // The second may have made the part smaller.
        before.retain(|key, _| partition.has(partition.hash(key)) && key.starts_with(prefix));
        let mut note = |key: &[u8], change: Option<Change>, bytes: i64| {
            let Some(change) = change else {
                found.unchanged += 1;
                return;
            };
            let name = first_parts(key, depth);
            let name = if groups.len() < GROUPS_MAX || groups.contains_key(&name) {
                name
            } else {
                OTHERS.to_owned()
            };
            let group = groups
                .entry(name.clone())
                .or_insert_with(|| GroupDifference { name, ..GroupDifference::default() });
            group.bytes += bytes;
            let (all, of_group) = match change {
                Change::Added => (&mut found.added, &mut group.added),
                Change::Changed => (&mut found.changed, &mut group.changed),
                Change::Removed => (&mut found.removed, &mut group.removed),
            };
            *all += 1;
            *of_group += 1;
            keys.insert((key.to_vec(), change));
            if keys.len() > top {
                keys.pop_last();
            }
        };
        for (key, now) in after.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let bytes = |live: &Live| i64::try_from(key.len() as u64 + live.value_bytes).unwrap_or(i64::MAX);
            match before.remove(key) {
                None => note(key, Some(Change::Added), bytes(now)),
                Some(then) if (then.value_hash, then.value_bytes) == (now.value_hash, now.value_bytes) => {
                    note(key, None, 0);
                }
                Some(then) => note(key, Some(Change::Changed), bytes(now) - bytes(&then)),
            }
        }
        for (key, then) in &before {
            let bytes = i64::try_from(key.len() as u64 + then.value_bytes).unwrap_or(i64::MAX);
            note(key, Some(Change::Removed), -bytes);
        }
        if !partition.advance() {
            break;
        }
    }
    let mut prefixes: Vec<GroupDifference> = groups.into_values().collect();
    let size = |group: &GroupDifference| group.added + group.changed + group.removed;
    prefixes.sort_by(|a, b| (size(b), &a.name).cmp(&(size(a), &b.name)));
    found.prefixes = prefixes;
    found.keys =
        keys.into_iter().map(|(key, change)| (String::from_utf8_lossy(&key).into_owned(), change)).collect();
    Ok(found)
}
