//! Who says the same as whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Instance;

/// Members by what they said; the largest group first, of equally large ones that of the first member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Groups(pub Vec<Vec<Instance>>);

impl Groups {
    /// Groups members that said equal things.
    pub fn of<T: Ord>(said: impl IntoIterator<Item = (Instance, T)>) -> Self {
        let mut groups: BTreeMap<T, Vec<Instance>> = BTreeMap::new();
        for (instance, what) in said {
            groups.entry(what).or_default().push(instance);
        }
        let mut groups: Vec<Vec<Instance>> = groups.into_values().collect();
        groups.iter_mut().for_each(|group| group.sort());
        groups.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Self(groups)
    }

    /// Whether all said the same.
    pub fn agree(&self) -> bool {
        self.0.len() <= 1
    }

    /// Who stands against more than half of all; empty without such a majority, for then nobody can tell who is
    /// wrong.
    pub fn minority(&self) -> Vec<Instance> {
        let all: usize = self.0.iter().map(Vec::len).sum();
        match self.0.split_first() {
            Some((first, rest)) if first.len() * 2 > all => {
                let mut minority: Vec<Instance> = rest.iter().flatten().cloned().collect();
                minority.sort();
                minority
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_names_the_minority_and_a_tie_names_nobody() {
        let instance = |n: usize| format!("m{n}:2379").parse::<Instance>().expect("an instance");
        for (said, agree, minority) in [
            (&[][..], true, &[][..]),
            (&[7], true, &[]),
            (&[7, 7, 7], true, &[]),
            (&[7, 8, 7], false, &[1]),
            (&[7, 8], false, &[]),
            (&[7, 8, 9], false, &[]),
            (&[7, 8, 7, 9, 7], false, &[1, 3]),
            (&[7, 8, 7, 8], false, &[]),
        ] {
            let groups = Groups::of(said.iter().enumerate().map(|(n, said)| (instance(n), *said)));
            assert_eq!(groups.agree(), agree, "{said:?}");
            let expected: Vec<Instance> = minority.iter().map(|n| instance(*n)).collect();
            assert_eq!(groups.minority(), expected, "{said:?}");
        }
    }
}
