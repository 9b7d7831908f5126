//! What a database is made of: by prefix, by Kubernetes resource, the biggest values, leases.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;

use serde::Serialize;

use super::live::gather_within;
use super::partition::Partition;
use super::{Damage, Progress, ReadAt};

/// What is in a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Keys alive at the end.
    pub keys: u64,
    /// Of these keys and their values.
    pub live_bytes: u64,
    /// Changes that the history still has, deletions among them.
    pub changes: u64,
    /// Of the keys and values of all changes.
    pub change_bytes: u64,
    /// Deletions that the history still has.
    pub tombstones: u64,
    /// Keys alive that end with a lease, and how many leases that are.
    pub leased_keys: u64,
    pub leases: u64,
    /// By the first parts of the key; the largest first.
    pub prefixes: Vec<Group>,
    /// By Kubernetes resource, where keys begin with `/registry/`; the largest first.
    pub resources: Vec<Group>,
    /// The largest values alive.
    pub biggest: Vec<Biggest>,
}

/// Keys that have something in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    pub name: String,
    pub keys: u64,
    pub live_bytes: u64,
    pub changes: u64,
    pub change_bytes: u64,
    pub tombstones: u64,
}

/// A large value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Biggest {
    pub bytes: u64,
    pub key: String,
    pub mod_revision: i64,
    /// How often the key was written since its creation.
    pub version: i64,
}

/// More groups than these are one: names may hold what is different in every key.
const GROUPS_MAX: usize = 10_000;
const OTHERS: &str = "(others)";
const LEASES_MAX: usize = 1_000_000;

/// Reads all of `file`. Keys that do not begin with `prefix` are left out; groups are of the first `depth` parts between
/// slashes; `top` values are the biggest.
///
/// # Errors
/// Where the file stops being a database.
pub fn contents(
    file: &dyn ReadAt,
    prefix: &[u8],
    depth: usize,
    top: usize,
    progress: &Progress,
) -> Result<Contents, Damage> {
    contents_within(file, prefix, depth, top, progress, 24 << 20)
}

fn contents_within(
    file: &dyn ReadAt,
    prefix: &[u8],
    depth: usize,
    top: usize,
    progress: &Progress,
    part_bytes: usize,
) -> Result<Contents, Damage> {
    let mut found = Contents::default();
    let mut prefixes = Groups::default();
    let mut resources = Groups::default();
    let mut leases: BTreeSet<i64> = BTreeSet::new();
    let mut biggest: BTreeSet<Biggest> = BTreeSet::new();
    let mut partition = Partition::all();
    let mut is_first = true;
    loop {
        let part =
            gather_within(file, &mut partition, &RandomState::new(), progress, part_bytes, &mut |record| {
                // Every pass meets every change.
                if !is_first || !record.key.starts_with(prefix) {
                    return;
                }
                let bytes = (record.key.len() + record.value.len()) as u64;
                let tombstones = u64::from(record.is_tombstone);
                found.changes += 1;
                found.change_bytes += bytes;
                found.tombstones += tombstones;
                let add = |group: &mut Group| {
                    group.changes += 1;
                    group.change_bytes += bytes;
                    group.tombstones += tombstones;
                };
                add(prefixes.of(&first_parts(record.key, depth)));
                if let Some(resource) = resource(record.key) {
                    add(resources.of(&resource));
                }
            })?;
        is_first = false;
        for (key, live) in part.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let bytes = key.len() as u64 + live.value_bytes;
            found.keys += 1;
            found.live_bytes += bytes;
            if live.lease != 0 {
                found.leased_keys += 1;
                if leases.len() < LEASES_MAX {
                    leases.insert(live.lease);
                }
            }
            let add = |group: &mut Group| {
                group.keys += 1;
                group.live_bytes += bytes;
            };
            add(prefixes.of(&first_parts(key, depth)));
            if let Some(resource) = resource(key) {
                add(resources.of(&resource));
            }
            let is_beyond =
                biggest.len() >= top && biggest.first().is_none_or(|last| live.value_bytes < last.bytes);
            if !is_beyond {
                biggest.insert(Biggest {
                    bytes: live.value_bytes,
                    key: String::from_utf8_lossy(key).into_owned(),
                    mod_revision: live.mod_revision,
                    version: live.version,
                });
                if biggest.len() > top {
                    biggest.pop_first();
                }
            }
        }
        if !partition.advance() {
            break;
        }
    }
    found.leases = leases.len() as u64;
    found.prefixes = prefixes.largest_first();
    found.resources = resources.largest_first();
    found.biggest = biggest.into_iter().rev().collect();
    Ok(found)
}

#[derive(Default)]
struct Groups(BTreeMap<String, Group>);

impl Groups {
    fn of(&mut self, name: &str) -> &mut Group {
        let is_room = self.0.len() < GROUPS_MAX || self.0.contains_key(name);
        let name = if is_room { name } else { OTHERS };
        self.0.entry(name.to_owned()).or_insert_with(|| Group { name: name.to_owned(), ..Group::default() })
    }

    fn largest_first(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.0.into_values().collect();
        groups.sort_by(|a, b| {
            (b.live_bytes, b.change_bytes, &a.name).cmp(&(a.live_bytes, a.change_bytes, &b.name))
        });
        groups
    }
}

/// `/registry/pods/` of `/registry/pods/default/a` at depth 2; a key without so many parts is a group of those without.
pub(super) fn first_parts(key: &[u8], depth: usize) -> String {
    let key = String::from_utf8_lossy(key);
    let parts: Vec<&str> = key.split_inclusive('/').collect();
    // A slash at the beginning is no part.
    let skip = usize::from(key.starts_with('/'));
    // The last part is the key's own name.
    let names = parts.len().saturating_sub(1);
    let group: String = parts.iter().take(names.min(depth + skip)).copied().collect();
    if group.is_empty() { "(no prefix)".to_owned() } else { group }
}

/// `pods`, `services/specs`, `cert-manager.io/certificates`: what a Kubernetes API server writes at
/// `/registry/<resource>/…` for its own and `/registry/<group>/<resource>/…` for others.
fn resource(key: &[u8]) -> Option<String> {
    let key = std::str::from_utf8(key).ok()?;
    let mut parts = key.strip_prefix("/registry/")?.split('/');
    let first = parts.next().filter(|first| !first.is_empty())?;
    if first.contains('.') || first == "services" {
        let second = parts.next()?;
        return Some(format!("{first}/{second}"));
    }
    Some(first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_grouped_by_their_first_parts() {
        for (key, depth, group) in [
            ("/registry/pods/default/a", 2, "/registry/pods/"),
            ("/registry/pods/default/a", 1, "/registry/"),
            ("/registry/pods/default/a", 9, "/registry/pods/default/"),
            ("/a", 2, "/"),
            ("a", 2, "(no prefix)"),
            ("a/b/c/d", 2, "a/b/"),
            ("compact_rev_key", 2, "(no prefix)"),
        ] {
            assert_eq!(first_parts(key.as_bytes(), depth), group, "{key} {depth}");
        }
    }

    #[test]
    fn resources_are_those_of_kubernetes() {
        for (key, kind) in [
            ("/registry/pods/default/a", Some("pods")),
            ("/registry/services/specs/default/a", Some("services/specs")),
            ("/registry/cert-manager.io/certificates/ns/a", Some("cert-manager.io/certificates")),
            ("/registry/", None),
            ("/other/pods/a", None),
        ] {
            assert_eq!(resource(key.as_bytes()).as_deref(), kind, "{key}");
        }
    }
}
