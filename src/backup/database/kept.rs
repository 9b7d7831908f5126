//! Which compacted records a hash still counts: of each key the newest up to a revision, if that did not delete it.
//!
//! etcd knows from its index, which holds every key. Here keys are told apart by 128 bits of a keyed hash, and when there
//! are more of them than fit, they are taken in partitions of that hash, each with a pass of its own.

use std::collections::HashMap;

use super::bits::Bits;
use super::partition::Partition;
use super::record::Record;

/// With the room that a hash table has to spare: about 60 MiB while it grows the last time.
const KEYS_MAX: usize = 900_000;

/// What is known of one key of this partition.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    /// Among the compacted records, counted from 1; 0: the newest up to the revision is not one of them, or a deletion.
    kept: u32,
    is_alive: bool,
    is_alive_then: bool,
}

/// Gathers the answer, pass by pass.
pub(super) struct Kept {
    at: i64,
    compact_revision: i64,
    keys_max: usize,
    /// What this pass takes.
    partition: Partition,
    keys: HashMap<[u64; 2], Newest>,
    /// How many compacted records this pass has met.
    compacted: u32,
    kept: Bits,
    alive: u64,
    alive_then: u64,
}

/// Which compacted records count, by their place among the compacted ones.
pub(super) struct KeptRecords {
    kept: Bits,
    /// Keys alive at the revision. Without any, etcd counts every record.
    alive_then: u64,
    /// Keys alive at the end.
    pub(super) alive: u64,
}

impl KeptRecords {
    /// Whether the compacted record at `place`, from 0, counts.
    pub(super) fn contains(&self, place: u64) -> bool {
        self.alive_then == 0 || self.kept.contains(place)
    }
}

impl Kept {
    /// For the hash at revision `at` of a database that is compacted up to `compact_revision`.
    pub(super) fn new(at: i64, compact_revision: i64) -> Self {
        Self::with_room(at, compact_revision, KEYS_MAX)
    }

    fn with_room(at: i64, compact_revision: i64, keys_max: usize) -> Self {
        Self {
            at,
            compact_revision,
            keys_max,
            partition: Partition::all(),
            keys: HashMap::new(),
            compacted: 0,
            kept: Bits::default(),
            alive: 0,
            alive_then: 0,
        }
    }

    /// The next record of this pass, in the order of revisions.
    pub(super) fn push(&mut self, record: &Record<'_>) {
        let is_compacted = record.revision.main <= self.compact_revision;
        self.compacted = self.compacted.saturating_add(u32::from(is_compacted));
        let hash = self.partition.hash(record.key);
        if !self.partition.has(hash) {
            return;
        }
        let newest = self.keys.entry(hash).or_default();
        newest.is_alive = !record.is_tombstone;
        if record.revision.main <= self.at {
            newest.is_alive_then = !record.is_tombstone;
            newest.kept = if is_compacted && !record.is_tombstone { self.compacted } else { 0 };
        }
        while self.keys.len() > self.keys_max {
            self.partition.halve();
            let partition = &self.partition;
            self.keys.retain(|hash, _| partition.has(*hash));
        }
    }

    /// Ends a pass over all records. Whether another is needed.
    pub(super) fn end_pass(&mut self) -> bool {
        for newest in self.keys.values() {
            self.alive += u64::from(newest.is_alive);
            self.alive_then += u64::from(newest.is_alive_then);
            if let Some(place) = newest.kept.checked_sub(1) {
                self.kept.insert(u64::from(place));
            }
        }
        self.keys.clear();
        self.compacted = 0;
        self.partition.advance()
    }

    pub(super) fn finish(self) -> KeptRecords {
        KeptRecords { kept: self.kept, alive_then: self.alive_then, alive: self.alive }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::record::Revision;
    use super::*;

    fn record(main: i64, key: &[u8], is_tombstone: bool) -> Record<'_> {
        Record {
            revision: Revision { main, sub: 0 },
            is_tombstone,
            key,
            value: &[],
            version: 1,
            create_revision: 1,
            mod_revision: main,
            lease: 0,
        }
    }

    /// The places that count, and how many keys are alive at the end.
    fn counted(written: &[(u8, bool)], at: i64, compact: i64, keys_max: usize) -> (Vec<usize>, u64) {
        let mut kept = Kept::with_room(at, compact, keys_max);
        let mut passes = 0;
        loop {
            for (main, (key, is_tombstone)) in (1..).zip(written) {
                kept.push(&record(main, &[*key], *is_tombstone));
            }
            passes += 1;
            assert!(passes < 300, "every pass gets on");
            if !kept.end_pass() {
                break;
            }
        }
        let found = kept.finish();
        let compacted = usize::try_from(compact).unwrap_or(0).min(written.len());
        ((0..compacted).filter(|place| found.kept.contains(*place as u64)).collect(), found.alive)
    }

    proptest! {
        #[test]
        fn of_each_key_the_newest_counts_however_many_passes_it_takes(
            written in prop::collection::vec((0_u8..20, prop::bool::weighted(0.2)), 1..60),
            at in 0.0_f64..1.0,
            compact in 0.0_f64..1.0,
            keys_max in 1_usize..25,
        ) {
            let last = written.len() as f64;
            let at = (at * last) as i64 + 1;
            let compact = (compact * at as f64) as i64;
            let mut newest: BTreeMap<u8, usize> = BTreeMap::new();
            let mut alive: BTreeMap<u8, bool> = BTreeMap::new();
            for (place, (key, is_tombstone)) in written.iter().enumerate() {
                alive.insert(*key, !is_tombstone);
                if (place as i64) < at {
                    newest.insert(*key, place);
                }
            }
            let mut expected: Vec<usize> = newest
                .into_values()
                .filter(|place| (*place as i64) < compact && !written[*place].1)
                .collect();
            expected.sort_unstable();
            let alive = alive.values().filter(|alive| **alive).count() as u64;
            prop_assert_eq!(counted(&written, at, compact, keys_max), (expected, alive));
        }
    }
}
