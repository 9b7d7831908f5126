//! The flags of an etcd command line, from wherever it was found.

use std::collections::BTreeMap;

/// Flags by name, without dashes.
#[derive(Debug, Default)]
pub(super) struct EtcdFlags(BTreeMap<String, String>);

impl EtcdFlags {
    /// The flags among a command's words: `--a=b`, `--a b` as two words, and `--a` alone, which is true. Go's
    /// flag package takes one dash for two, and the last of a repeated flag.
    pub(super) fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut flags = BTreeMap::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
            let (name, value) = flag
                .split_once('=')
                .unwrap_or_else(|| (flag, words.next_if(|next| !next.starts_with('-')).unwrap_or("true")));
            flags.insert(name.to_owned(), value.to_owned());
        }
        Self(flags)
    }

    /// The value of `--name`; an empty one counts as not given, as in etcd.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All that are given, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, String)> {
        self.0
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.clone(), value.clone()))
    }

    /// The URLs of a flag that lists them.
    pub(super) fn urls(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).unwrap_or_default().split(',').map(str::trim).filter(|url| !url.is_empty())
    }
}
