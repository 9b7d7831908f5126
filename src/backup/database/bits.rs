//! A set of small numbers, a bit each.

/// Grows as needed.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Room for the numbers below `length`, so that it never grows by doubling.
    pub(super) fn below(length: u64) -> Self {
        Self(vec![0; usize::try_from(length.div_ceil(64)).unwrap_or(0)])
    }

    /// Adds `number`; whether it was new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let Ok(word) = usize::try_from(number / 64) else { return false };
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let bit = 1 << (number % 64);
        let Some(word) = self.0.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0_u64..1000, 0..50), room in 0_u64..1000) {
            let (mut bits, mut set) = (Bits::below(room), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(bits.insert(number), set.insert(number));
            }
            for number in 0..1100 {
                prop_assert_eq!(bits.contains(number), set.contains(&number));
            }
        }
    }
}
