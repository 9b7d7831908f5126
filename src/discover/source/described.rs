//! What a source says of one cluster, and the cluster that becomes of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::SourceConfig;
use crate::etcd::{ClusterConfig, TlsConfig};
use crate::model::ClusterName;

/// A cluster as a source describes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Described {
    pub(super) endpoints: Vec<String>,
    /// What names and tags are made from.
    pub(super) words: BTreeMap<String, String>,
    /// Tags that the source gives.
    pub(super) tags: BTreeMap<String, String>,
    pub(super) metrics_urls: Vec<String>,
    pub(super) node_exporter_urls: Vec<String>,
    /// Where the source knows it.
    pub(super) tls: Option<TlsConfig>,
    /// The name where `cluster-name` is not set, with `{key}`.
    pub(super) name: String,
}

/// An entry of a file or the value of a key: in our own words, or a target group of Prometheus' file_sd.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Entry {
    #[serde(default)]
    name: Option<String>,
    #[serde(alias = "targets")]
    endpoints: Vec<String>,
    #[serde(default, alias = "labels")]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    metrics_urls: Vec<String>,
    #[serde(default)]
    node_exporter_urls: Vec<String>,
}

impl Entry {
    /// `name` is taken where the entry has none.
    pub(super) fn described(self, name: &str) -> Described {
        let mut words = self.tags.clone();
        let own = self.name.or_else(|| self.tags.get("cluster").cloned());
        words.insert("name".to_owned(), own.unwrap_or_else(|| name.to_owned()));
        // Labels with two underscores speak to Prometheus alone.
        let scheme = self.tags.get("__scheme__").cloned();
        let endpoint = |endpoint: String| match &scheme {
            Some(scheme) if !endpoint.contains("://") => format!("{scheme}://{endpoint}"),
            _ => endpoint,
        };
        let tags = self.tags.into_iter().filter(|(key, _)| !key.starts_with("__"));
        Described {
            endpoints: self.endpoints.into_iter().map(endpoint).collect(),
            words,
            tags: tags.collect(),
            metrics_urls: self.metrics_urls,
            node_exporter_urls: self.node_exporter_urls,
            tls: None,
            name: "{name}".to_owned(),
        }
    }
}

/// The cluster that a description means under this source.
pub(super) fn cluster(source: &SourceConfig, described: Described) -> Result<ClusterConfig, String> {
    let Described { endpoints, mut words, tags, metrics_urls, node_exporter_urls, tls, name } = described;
    words.insert("source".to_owned(), source.name.to_string());
    let template = source.cluster_name.as_deref().unwrap_or(&name);
    let name = fill(template, &words).map_err(|key| {
        format!("{}: nothing says {{{key}}} of cluster-name {template:?}", endpoints.join(", "))
    })?;
    let name = named(&name)?;
    let mut cluster = ClusterConfig::plain(name.clone(), endpoints);
    cluster.tags = tags;
    let own = source.tags.iter().filter_map(|(key, text)| Some((key.clone(), fill(text, &words).ok()?)));
    cluster.tags.extend(own);
    cluster.tls = source.tls.clone().or(tls);
    cluster.auth.clone_from(&source.auth);
    cluster.backup_auth.clone_from(&source.backup_auth);
    cluster.backup_tls.clone_from(&source.backup_tls);
    let own = |own: Vec<String>, shared: &[String]| if own.is_empty() { shared.to_vec() } else { own };
    cluster.metrics_urls = own(metrics_urls, &source.metrics_urls);
    cluster.node_exporter_urls = own(node_exporter_urls, &source.node_exporter_urls);
    cluster.timeouts = source.timeouts.clone();
    cluster.max_requests_per_second = source.max_requests_per_second;
    (cluster.watch, cluster.scrape) = (source.watch.clone(), source.scrape.clone());
    cluster.check().map_err(|error| format!("{name}: {error}"))?;
    Ok(cluster)
}

/// The text with each `{key}` replaced.
///
/// # Errors
/// The first key that is not there.
fn fill(template: &str, words: &BTreeMap<String, String>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((key, after)) = after.split_once('}') else { break };
        text.push_str(before);
        text.push_str(words.get(key).ok_or_else(|| key.to_owned())?);
        rest = after;
    }
    Ok(text + rest)
}

/// The nearest name that is valid: what a name may not hold becomes `-`.
fn named(text: &str) -> Result<ClusterName, String> {
    let valid = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(valid).collect();
    let name = name.trim_matches('-');
    // Cut names could be one name of two clusters.
    name.parse().map_err(|_| format!("{text:?} makes no cluster's name: 1 to 40 of a-z, 0-9 and '-'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(toml: &str) -> SourceConfig {
        toml::from_str(&format!("name = 'src'\n{toml}")).expect("a source")
    }

    #[test]
    fn names_and_tags_are_made_from_what_is_said() {
        let group = |json: &str| serde_json::from_str::<Entry>(json).expect("an entry").described("fallback");
        let prometheus = r#"{"targets": ["a:2379", "b:2379"],
            "labels": {"cluster": "Prod_EU.1", "env": "prod", "__scheme__": "http", "__metrics_path__": "/m"}}"#;
        for (toml, json, name, tags, first) in [
            ("", prometheus, "prod-eu-1", "cluster=Prod_EU.1 env=prod", "http://a:2379"),
            (
                "cluster-name = '{env}-{name}'",
                prometheus,
                "prod-prod-eu-1",
                "cluster=Prod_EU.1 env=prod",
                "http://a:2379",
            ),
            (
                "tags = {env = 'x', of = '{source}', no = '{nothing}'}",
                r#"{"endpoints": ["a:1"]}"#,
                "fallback",
                "env=x of=src",
                "a:1",
            ),
            ("", r#"{"name": "n", "endpoints": ["a:1"], "tags": {"cluster": "c"}}"#, "n", "cluster=c", "a:1"),
        ] {
            let found = cluster(&source(toml), group(json)).expect("a cluster");
            let said: Vec<String> = found.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!((found.name.as_str(), said.join(" ").as_str()), (name, tags));
            assert_eq!(found.endpoints[0], first);
        }
        for (toml, json, said) in [
            ("cluster-name = '{env}'", r#"{"endpoints": ["a:1"]}"#, "nothing says {env}"),
            ("", r#"{"endpoints": ["a:1"], "name": "..."}"#, "makes no cluster's name"),
            ("", r#"{"endpoints": [], "name": "n"}"#, "at least one is needed"),
            ("", r#"{"endpoints": ["ftp://a:1"], "name": "n"}"#, "expected http://"),
        ] {
            let error = cluster(&source(toml), group(json)).expect_err("no cluster");
            assert!(error.contains(said), "{error}");
        }
    }
}
