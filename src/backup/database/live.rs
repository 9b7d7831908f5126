//! The keys that are alive at the end of a database, a part of them at a time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::partition::Partition;
use super::record::Record;
use super::{Damage, Progress, ReadAt, each_record};

/// Names and what is known of them, about; with the room of a hash table twice that.
const PART_BYTES: usize = 24 << 20;
const ENTRY_BYTES: usize = 96;

/// What the newest record says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    /// 0: it was deleted.
    pub(super) version: i64,
    pub(super) mod_revision: i64,
    pub(super) value_bytes: u64,
    /// Tells values apart within one process.
    pub(super) value_hash: u64,
    pub(super) lease: i64,
}

pub(super) type Part = HashMap<Vec<u8>, Live>;

/// Reads the keys of one part. When they do not fit the part becomes smaller.
pub(super) fn gather(
    file: &dyn ReadAt,
    partition: &mut Partition,
    values: &RandomState,
    progress: &Progress,
    each: &mut dyn FnMut(&Record<'_>),
) -> Result<Part, Damage> {
    gather_within(file, partition, values, progress, PART_BYTES, each)
}

pub(super) fn gather_within(
    file: &dyn ReadAt,
    partition: &mut Partition,
    values: &RandomState,
    progress: &Progress,
    part_bytes: usize,
    each: &mut dyn FnMut(&Record<'_>),
) -> Result<Part, Damage> {
    let mut part = Part::new();
    let mut bytes = 0;
    each_record(file, progress, &mut |record| {
        each(record);
        if !partition.has(partition.hash(record.key)) {
            return;
        }
        let live = Live {
            version: if record.is_tombstone { 0 } else { record.version },
            mod_revision: record.revision.main,
            value_bytes: record.value.len() as u64,
            value_hash: values.hash_one(record.value),
            lease: record.lease,
        };
        if let Some(there) = part.get_mut(record.key) {
            *there = live;
            return;
        }
        bytes += record.key.len() + ENTRY_BYTES;
        part.insert(record.key.to_vec(), live);
        while bytes > part_bytes && part.len() > 1 {
            partition.halve();
            part.retain(|key, _| partition.has(partition.hash(key)));
            bytes = part.keys().map(|key| key.len() + ENTRY_BYTES).sum();
        }
    })?;
    part.retain(|_, live| live.version > 0);
    Ok(part)
}
