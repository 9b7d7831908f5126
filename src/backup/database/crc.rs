//! CRC-32C over many small pieces.

use crc_fast::{CrcAlgorithm, Digest};

/// Pieces are gathered: the carry-less multiplication of a processor wants more than the 17 bytes of a revision.
pub(super) struct Crc {
    digest: Digest,
    gathered: Vec<u8>,
}

const GATHERED_BYTES: usize = 64 << 10;

impl Crc {
    pub(super) fn new() -> Self {
        Self { digest: Digest::new(CrcAlgorithm::Crc32Iscsi), gathered: Vec::with_capacity(GATHERED_BYTES) }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        if self.gathered.len() + bytes.len() > GATHERED_BYTES {
            self.digest.update(&self.gathered);
            self.gathered.clear();
        }
        if bytes.len() > GATHERED_BYTES {
            self.digest.update(bytes);
        } else {
            self.gathered.extend_from_slice(bytes);
        }
    }

    pub(super) fn finish(mut self) -> u32 {
        self.digest.update(&self.gathered);
        // Of a 32-bit CRC in the 64 bits that the library gives for all of them.
        (self.digest.finalize() & u64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_castagnoli_however_it_is_cut() {
        // The check value of CRC-32/ISCSI.
        let mut crc = Crc::new();
        crc.update(b"12345");
        crc.update(b"6789");
        assert_eq!(crc.finish(), 0xe306_9283);
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let whole = |pieces: usize| {
            let mut crc = Crc::new();
            bytes.chunks(pieces).for_each(|piece| crc.update(piece));
            crc.finish()
        };
        assert_eq!(whole(17), whole(bytes.len()));
        assert_eq!(whole(GATHERED_BYTES), whole(GATHERED_BYTES + 1));
    }
}
