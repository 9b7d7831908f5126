//! A series' label set, as in Prometheus: sorted by name, the metric's name under `__name__`.

use std::fmt;
use std::sync::Arc;

use ring::digest;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// One name with its value. Both are shared text, so that equal labels of many series cost one allocation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    pub name: Arc<str>,
    pub value: Arc<str>,
}

impl Label {
    pub fn new(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// Text that is no canonical label list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label text {text:?} is malformed at byte {at}")]
pub struct LabelsError {
    text: String,
    at: usize,
}

/// A set of labels, sorted by name, without duplicates and without empty values (Prometheus treats an
/// empty value as an absent label). Cloning is one reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl Labels {
    /// From labels in any order. The last of several equal names wins; empty values are dropped.
    pub fn new(mut labels: Vec<Label>) -> Self {
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        let mut kept: Vec<Label> = Vec::with_capacity(labels.len());
        for label in labels {
            match kept.last_mut() {
                Some(last) if last.name == label.name => *last = label,
                _ => kept.push(label),
            }
        }
        kept.retain(|label| !label.value.is_empty());
        Self(kept.into())
    }

    /// From `(name, value)` pairs in any order.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(pairs.into_iter().map(|(name, value)| Label::new(name, value)).collect())
    }

    /// The value of `name`, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|label| (*label.name).cmp(name)).ok()?;
        self.0.get(at).map(|label| &*label.value)
    }

    /// The metric's name; empty for a result without one.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy with `name` set to `value` (removed when `value` is empty).
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut labels: Vec<Label> = self.0.iter().filter(|label| &*label.name != name).cloned().collect();
        labels.push(Label::new(name, value));
        Self::new(labels)
    }

    /// A copy without the given names.
    pub fn without(&self, names: &[&str]) -> Self {
        Self(self.0.iter().filter(|label| !names.contains(&&*label.name)).cloned().collect())
    }

    /// A copy with only the given names.
    pub fn only(&self, names: &[&str]) -> Self {
        Self(self.0.iter().filter(|label| names.contains(&&*label.name)).cloned().collect())
    }

    /// `a="b",c="d"` in name order, values escaped as in the Prometheus text format. The store keeps
    /// labels in this form; [`Labels::parse_canonical`] reads it back.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        for label in self.0.iter() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&label.name);
            text.push_str("=\"");
            push_escaped(&mut text, &label.value);
            text.push('"');
        }
        text
    }

    /// The inverse of [`Labels::canonical`].
    ///
    /// # Errors
    /// With the byte offset of the first character that does not fit.
    pub fn parse_canonical(text: &str) -> Result<Self, LabelsError> {
        let fail = |at| LabelsError { text: text.to_owned(), at };
        let mut labels = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let (name, tail) = rest.split_once("=\"").ok_or_else(|| fail(at))?;
            let (value, tail) = unescape_until_quote(tail).ok_or_else(|| fail(at + name.len() + 2))?;
            labels.push(Label::new(name, value));
            rest = match tail.strip_prefix(',') {
                Some(tail) if !tail.is_empty() => tail,
                None if tail.is_empty() => tail,
                _ => return Err(fail(text.len() - tail.len())),
            };
        }
        Ok(Self::new(labels))
    }

    /// 32 hexadecimal digits (SHA-256, cut) that identify this label set in object keys and messages.
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.canonical().as_bytes());
        hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

/// Splits `value" rest` at the first unescaped quote; `None` without one or on an unknown escape.
fn unescape_until_quote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match chars.next()?.1 {
                '\\' => '\\',
                '"' => '"',
                'n' => '\n',
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// As Prometheus prints a series: `name{a="b"}`, or `{a="b"}` without a name.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let rest = self.without(&[METRIC_NAME]);
        f.write_str(name)?;
        if name.is_empty() || !rest.is_empty() {
            write!(f, "{{{}}}", rest.canonical().replace("\",", "\", "))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for label in self {
            map.serialize_entry(&*label.name, &*label.value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Self::from_pairs(map.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sorts_and_drops_duplicates_and_empty_values() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("b", "3"), ("c", "")]);
        assert_eq!(labels.canonical(), r#"a="1",b="3""#);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.get("c"), None);
    }

    #[test]
    fn prints_as_prometheus_does() {
        assert_eq!(Labels::from_pairs([(METRIC_NAME, "up")]).to_string(), "up");
        assert_eq!(
            Labels::from_pairs([(METRIC_NAME, "up"), ("a", "x\"y"), ("b", "z")]).to_string(),
            r#"up{a="x\"y", b="z"}"#
        );
        assert_eq!(Labels::default().to_string(), "{}");
    }

    #[test]
    fn refuses_text_that_is_not_canonical() {
        for bad in ["a", "a=\"", "a=\"b\",", "a=\"b\"c", "a=\"\\q\"", ",a=\"b\""] {
            assert!(Labels::parse_canonical(bad).is_err() || bad.starts_with(','), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn canonical_text_round_trips(pairs in prop::collection::vec(("[a-z_]{1,6}", ".{1,12}"), 0..6)) {
            let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            prop_assert_eq!(Labels::parse_canonical(&labels.canonical()).expect("canonical"), labels);
        }
    }
}
