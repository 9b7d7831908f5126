//! A few keys of a database, to be looked for in an etcd that was started from it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use ring::digest::{SHA256, digest};

use super::{Damage, Progress, ReadAt, each_record};
use crate::backup::Hex;

/// What a key was at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub key: Vec<u8>,
    /// `None` when it was deleted: nobody may find it then.
    pub value_sha256: Option<Hex>,
    pub mod_revision: i64,
}

/// `count` keys, each as likely as any other, with what the newest record says of them. One pass; no more than the keys are
/// held.
///
/// # Errors
/// Where the file stops being a database.
pub fn sample(file: &dyn ReadAt, count: usize, progress: &Progress) -> Result<Vec<Sample>, Damage> {
    let hasher = RandomState::new();
    // Those with the smallest hashes. The largest of them only falls, so that a key is met from its first record on or never.
    let mut smallest: BTreeMap<(u64, Vec<u8>), Sample> = BTreeMap::new();
    each_record(file, progress, &mut |record| {
        let hash = hasher.hash_one(record.key);
        let is_beyond =
            smallest.len() >= count && smallest.last_key_value().is_none_or(|((last, _), _)| hash > *last);
        if is_beyond {
            return;
        }
        let value = || digest(&SHA256, record.value).as_ref().try_into().map_or(Hex([0; 32]), Hex);
        let sample = Sample {
            key: record.key.to_vec(),
            value_sha256: (!record.is_tombstone).then(value),
            mod_revision: record.revision.main,
        };
        smallest.insert((hash, record.key.to_vec()), sample);
        if smallest.len() > count {
            smallest.pop_last();
        }
    })?;
    Ok(smallest.into_values().collect())
}
