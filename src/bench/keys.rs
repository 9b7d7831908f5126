//! Which keys a load uses: all below one prefix of our own, of one size, numbered.

use bytes::{BufMut, Bytes, BytesMut};

use super::BenchError;

/// The digits of a key's number: they sort as the numbers do.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A numbered set of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    prefix: Bytes,
    size: usize,
    space: u64,
}

impl Keys {
    /// `space` keys of `size` bytes each after `prefix`.
    ///
    /// # Errors
    /// [`BenchError::Option`] when so many do not fit into the size.
    pub fn new(prefix: &str, size: usize, space: u64) -> Result<Self, BenchError> {
        if space == 0 {
            return Err(BenchError::option("key-space-size", "0: at least one key is needed"));
        }
        if size == 0 {
            return Err(BenchError::option("key-size", "0: at least one byte is needed"));
        }
        let most = u32::try_from(size).ok().and_then(|size| 36_u64.checked_pow(size));
        if most.is_some_and(|most| most < space) {
            let why = format!("{size} bytes hold {} keys, not {space}", most.unwrap_or(0));
            return Err(BenchError::option("key-size", why));
        }
        Ok(Self { prefix: Bytes::copy_from_slice(prefix.as_bytes()), size, space })
    }

    pub fn space(&self) -> u64 {
        self.space
    }

    /// All of a key, bytes.
    pub fn total_size(&self) -> usize {
        self.prefix.len() + self.size
    }

    /// The key of number `n`; beyond the last one it begins again.
    pub fn key(&self, n: u64) -> Bytes {
        let mut key = BytesMut::with_capacity(self.total_size());
        key.put_slice(&self.prefix);
        key.put_bytes(b'0', self.size);
        let mut rest = n % self.space;
        for place in key.iter_mut().rev().take(self.size) {
            if rest == 0 {
                break;
            }
            let digit = usize::try_from(rest % 36).unwrap_or(0);
            *place = DIGITS.get(digit).copied().unwrap_or(b'0');
            rest /= 36;
        }
        key.freeze()
    }
}

/// A number that only `seed` and `n` decide, well spread (SplitMix64, Steele et al. 2014): so that whoever sends request `n`,
/// it is the same in every run with the seed.
pub fn scatter(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// `size` bytes that do not compress, the same for the same seed.
pub fn value(seed: u64, size: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(size + 8);
    for n in 0.. {
        if bytes.len() >= size {
            break;
        }
        bytes.put_u64(scatter(seed, n));
    }
    bytes.truncate(size);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_of_one_size_distinct_and_in_order() {
        let keys = Keys::new("/p/", 3, 40_000).expect("they fit");
        let all: Vec<Bytes> = (0..40_000).map(|n| keys.key(n)).collect();
        assert!(all.iter().all(|key| key.len() == 6 && key.starts_with(b"/p/")));
        assert!(all.is_sorted());
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 40_000);
        assert_eq!(keys.key(40_001), keys.key(1));
        assert_eq!(keys.key(37), "/p/011");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert!(Keys::new("/p/", 1, 36).is_ok());
        let error = Keys::new("/p/", 1, 37).expect_err("too many").to_string();
        assert_eq!(error, "--key-size: 1 bytes hold 36 keys, not 37");
        assert!(Keys::new("/p/", 0, 1).is_err() && Keys::new("/p/", 8, 0).is_err());
        assert!(Keys::new("/p/", 64, u64::MAX).is_ok());
    }

    #[test]
    fn numbers_are_spread_evenly_and_repeat_with_the_seed() {
        let mut counts = [0_u32; 10];
        for n in 0..100_000 {
            counts[usize::try_from(scatter(7, n) % 10).expect("small")] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert_eq!(value(1, 20), value(1, 20));
        assert_ne!(value(1, 20), value(2, 20));
        assert_eq!((value(1, 0).len(), value(1, 13).len()), (0, 13));
    }
}
