//! SHA-256 of what passes by.

use ring::digest::{Context, SHA256};

use crate::backup::Hex;

#[derive(Clone)]
pub(super) struct Sum {
    digest: Context,
    pub(super) bytes: u64,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self { digest: Context::new(&SHA256), bytes: 0 }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Of what was added so far.
    pub(super) fn sha256(&self) -> Hex {
        // A SHA-256 has 32 bytes.
        Hex(self.digest.clone().finish().as_ref().try_into().unwrap_or([0; 32]))
    }
}

/// Sums up all that comes, and knows the last 32 bytes from those before: etcd ends its stream with their SHA-256.
pub(super) struct TrailedSum {
    before: Sum,
    last: Vec<u8>,
}

const TRAILER_BYTES: usize = 32;

impl TrailedSum {
    pub(super) fn new() -> Self {
        Self { before: Sum::new(), last: Vec::with_capacity(2 * TRAILER_BYTES) }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        // Of what there is now all but 32 bytes are settled.
        let settled = (self.last.len() + bytes.len()).saturating_sub(TRAILER_BYTES);
        let of_last = settled.min(self.last.len());
        self.before.add(self.last.get(..of_last).unwrap_or_default());
        self.last.drain(..of_last);
        let (now, later) = bytes.split_at(settled - of_last);
        self.before.add(now);
        self.last.extend_from_slice(later);
    }

    /// The checksum at the end, if it is that of what was before it.
    pub(super) fn trailer(&self) -> Option<Hex> {
        let there = Hex(self.last.as_slice().try_into().ok()?);
        (there == self.before.sha256()).then_some(there)
    }

    /// Of all.
    pub(super) fn whole(&self) -> Sum {
        let mut sum = self.before.clone();
        sum.add(&self.last);
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_trailer_is_known_however_the_bytes_come(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            pieces in 1_usize..70,
            is_right in any::<bool>(),
        ) {
            let sum = ring::digest::digest(&SHA256, &bytes);
            let mut sent = bytes;
            sent.extend_from_slice(sum.as_ref());
            if !is_right {
                sent[0] ^= 1;
            }
            let mut trailed = TrailedSum::new();
            sent.chunks(pieces).for_each(|piece| trailed.add(piece));
            prop_assert_eq!(trailed.trailer().is_some(), is_right);
            let mut whole = Sum::new();
            whole.add(&sent);
            prop_assert_eq!((trailed.whole().sha256(), trailed.whole().bytes), (whole.sha256(), sent.len() as u64));
        }
    }
}
