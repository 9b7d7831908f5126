//! Takes the keys of a database a part at a time, when all of them do not fit: parts are prefixes of a keyed hash.

use std::hash::{BuildHasher, RandomState};

/// One part of all keys, and which comes next.
pub(super) struct Partition {
    hashers: [RandomState; 2],
    /// The first `bits` bits of the hash are `prefix`.
    bits: u32,
    prefix: u64,
}

impl Partition {
    /// Everything at once.
    pub(super) fn all() -> Self {
        Self { hashers: [RandomState::new(), RandomState::new()], bits: 0, prefix: 0 }
    }

    /// 128 bits, by which keys are told apart. Keyed, so that nobody can write keys that meet.
    pub(super) fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    pub(super) fn has(&self, hash: [u64; 2]) -> bool {
        self.bits == 0 || hash[0] >> (64 - self.bits) == self.prefix
    }

    /// The first half now; the other one comes next.
    pub(super) fn halve(&mut self) {
        (self.bits, self.prefix) = (self.bits + 1, self.prefix * 2);
    }

    /// Goes to the next part, as large as it can be. `false` when there is none.
    pub(super) fn advance(&mut self) -> bool {
        let (mut next, mut bits) = (self.prefix + 1, self.bits);
        if bits == 0 || next >> bits != 0 {
            return false;
        }
        while next.is_multiple_of(2) && bits > 0 {
            (next, bits) = (next / 2, bits - 1);
        }
        (self.prefix, self.bits) = (next, bits);
        true
    }
}
