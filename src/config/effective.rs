//! What a configuration says, as flat values that can be compared and shown: no secret is among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ring::digest;
use serde::{Deserialize, Serialize};
use toml::Value;

/// Dotted key to value as text. Of what may hold a secret only a digest is kept, enough to see a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Effective(BTreeMap<String, String>);

/// What a key had before and has now; `None` where it was not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Keys whose values are shown as digests. Secrets are references to variables and files, mostly; a URL of a channel
/// may hold one all the same.
const HIDDEN: &[&str] = &["key", "url", "headers"];
/// Whatever is below a key with one of these words in its name is hidden, too.
const HIDDEN_WHOLE: &[&str] = &["password", "secret", "token", "credentials", "authorization"];
/// Their values are shown although their names hold one of these words.
const SHOWN: &[&str] = &["external-url", "public-url", "metrics-urls", "key-file", "dedup-key"];

impl Effective {
    /// Of a configuration's text (TOML that parses; what does not is empty), and of the files that it names.
    pub fn of(text: &str, files: &[PathBuf]) -> Self {
        let mut flat = BTreeMap::new();
        if let Ok(table) = text.parse::<toml::Table>() {
            flatten("", &Value::Table(table), &mut flat);
        }
        for file in files {
            let content =
                std::fs::read(file).map_or_else(|error| error.to_string(), |body| short_digest(&body));
            flat.insert(format!("file {}", file.display()), content);
        }
        Self(flat)
    }

    /// What leads from `self` to `next`, by key.
    pub fn changes(&self, next: &Self) -> BTreeMap<String, Change> {
        let keys = self.0.keys().chain(next.0.keys());
        let change = |key: &String| {
            let (before, after) = (self.0.get(key).cloned(), next.0.get(key).cloned());
            (before != after).then(|| (key.clone(), Change { before, after }))
        };
        keys.filter_map(change).collect()
    }

    /// The keys below `section`.
    pub fn section(&self, section: &str) -> BTreeMap<&str, &str> {
        let within = |key: &str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        self.0
            .iter()
            .filter(|(key, _)| within(key))
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }
}

/// The cluster that a dotted key is about; `None` for what concerns all.
pub fn cluster_of(key: &str) -> Option<&str> {
    key.strip_prefix("cluster.")?.split('.').next()
}

fn short_digest(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Elements of arrays of tables are known by their names where they have one: an inserted one moves no other.
fn flatten(path: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Table(table) => table.iter().for_each(|(name, value)| flatten(&below(name), value, flat)),
        Value::Array(elements) if elements.iter().any(Value::is_table) => {
            for (at, element) in elements.iter().enumerate() {
                let named = ["name", "alert", "id"].iter().find_map(|key| element.get(key)?.as_str());
                flatten(&below(&named.map_or_else(|| at.to_string(), str::to_owned)), element, flat);
            }
        }
        value => drop(flat.insert(path.to_owned(), shown(path, value))),
    }
}

fn shown(path: &str, value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let name = path.rsplit('.').next().unwrap_or(path);
    let holds = |words: &[&str], key: &str| words.iter().any(|word| key.contains(word));
    // The second part of a path is what somebody called a cluster or a channel.
    let keys = path.split('.').enumerate().filter(|(at, _)| *at != 1);
    let is_secret = keys.into_iter().any(|(_, key)| holds(HIDDEN_WHOLE, key));
    let may_be = holds(HIDDEN, name) || path.starts_with("channel.") && text.contains("://");
    if is_secret || may_be && !SHOWN.contains(&name) && !path.starts_with("store.") {
        return format!("(hidden, digest {})", short_digest(format!("{path}\n{text}").as_bytes()));
    }
    text
}

/// The digest of the contents of `files`, to see that one changed; of a file that is not there, of that.
pub fn digest_of(files: &[PathBuf]) -> String {
    let content =
        |path: &Path| std::fs::read(path).unwrap_or_else(|error| error.kind().to_string().into_bytes());
    let parts = files.iter().map(|file| short_digest(&content(file)));
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_by_name_and_secrets_are_not() {
        let before = Effective::of(
            "[watch]\nstatus-interval = \"2s\"\n[[cluster]]\nname = \"a\"\nendpoints = [\"http://a:2379\"]\n\
             [channel.ops]\nkind = \"webhook\"\nurl = \"https://hooks.example/T123\"\n",
            &[],
        );
        let after = Effective::of(
            "[watch]\nstatus-interval = \"5s\"\n[[cluster]]\nname = \"b\"\nendpoints = [\"http://b:2379\"]\n\
             [[cluster]]\nname = \"a\"\nendpoints = [\"http://a:2379\"]\n\
             [channel.ops]\nkind = \"webhook\"\nurl = \"https://hooks.example/T124\"\nhmac-secret = { file = \"/T124\" }\n",
            &[],
        );
        let changes = before.changes(&after);
        let told: Vec<(&str, Option<&str>, Option<&str>)> = changes
            .iter()
            .map(|(key, change)| (key.as_str(), change.before.as_deref(), change.after.as_deref()))
            .collect();
        assert_eq!(
            told.iter().map(|(key, _, _)| *key).collect::<Vec<_>>(),
            [
                "channel.ops.hmac-secret.file",
                "channel.ops.url",
                "cluster.b.endpoints",
                "cluster.b.name",
                "watch.status-interval"
            ]
        );
        assert!(told.contains(&("watch.status-interval", Some("2s"), Some("5s"))), "{told:?}");
        assert!(told.contains(&("cluster.b.endpoints", None, Some("[\"http://b:2379\"]"))), "{told:?}");
        assert!(!format!("{changes:?}").contains("T12"), "{changes:?}");
        assert_eq!(cluster_of("cluster.b.endpoints"), Some("b"));
        assert_eq!(cluster_of("watch.status-interval"), None);
        assert!(before.changes(&before).is_empty());
    }

    #[test]
    fn a_file_that_is_named_counts_by_its_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [folder.path().join("rules.yaml")];
        let (absent, absent_digest) = (Effective::of("", &files), digest_of(&files));
        std::fs::write(&files[0], "groups: []").expect("written");
        assert_eq!(absent.changes(&Effective::of("", &files)).len(), 1);
        assert_ne!(absent_digest, digest_of(&files));
    }
}
