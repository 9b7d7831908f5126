//! Clusters by the value of one of their tags.

use std::collections::{BTreeMap, BTreeSet};

/// `items` by what their tag `key` says, in the order of the values; those without it come last, as `None`.
pub fn by_tag<'a, T>(
    items: &'a [T],
    tags: impl Fn(&'a T) -> &'a BTreeMap<String, String>,
    key: &str,
) -> Vec<(Option<&'a str>, Vec<&'a T>)> {
    let mut groups: BTreeMap<(bool, Option<&str>), Vec<&T>> = BTreeMap::new();
    for item in items {
        let value = tags(item).get(key).map(String::as_str);
        groups.entry((value.is_none(), value)).or_default().push(item);
    }
    groups.into_iter().map(|((_, value), items)| (value, items)).collect()
}

/// Every key that one of the clusters has.
pub fn tag_keys<'a>(tags: impl IntoIterator<Item = &'a BTreeMap<String, String>>) -> BTreeSet<&'a str> {
    tags.into_iter().flat_map(|tags| tags.keys().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_order_and_nobody_is_lost() {
        let tags = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let fleet: [BTreeMap<String, String>; 4] = [
            tags(&[("env", "stage"), ("region", "eu")]),
            tags(&[]),
            tags(&[("env", "prod")]),
            tags(&[("env", "stage")]),
        ];
        let groups: Vec<(Option<&str>, usize)> =
            by_tag(&fleet, |tags| tags, "env").into_iter().map(|(value, of)| (value, of.len())).collect();
        assert_eq!(groups, [(Some("prod"), 1), (Some("stage"), 2), (None, 1)]);
        assert_eq!(tag_keys(&fleet).into_iter().collect::<Vec<_>>(), ["env", "region"]);
    }
}
