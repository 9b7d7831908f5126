//! The catalogue: what each shown metric is called, means, and where its values come from.
//!
//! Owns: ids, titles, units, limits with their sources, and the chain of PromQL expressions that answers
//! for a metric on every etcd version. Pages, panels, tables and `docs/metrics.md` are made from it.
//! Refuses: evaluating anything; it holds text.

use std::fmt::Write as _;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::unit::{ConfigDuration, human_bytes, human_seconds, human_span, three_digits};

/// What a metric's values are, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Seconds,
    Bytes,
    /// 0 to 1.
    Ratio,
    Count,
    /// CPU cores.
    Cores,
    PerSecond,
    BytesPerSecond,
}

impl Unit {
    /// A value for people: `28.4 ms`, `2.87 GiB`, `35 %`.
    pub fn text(self, value: f64) -> String {
        match self {
            // A process' age.
            Self::Seconds if value >= 120.0 => human_span((value * 1e3) as i64),
            Self::Seconds => human_seconds(value),
            Self::Bytes => human_bytes(value),
            Self::Ratio => format!("{} %", three_digits(value * 100.0)),
            Self::Count => three_digits(value),
            Self::Cores => format!("{} cores", three_digits(value)),
            Self::PerSecond => format!("{}/s", three_digits(value)),
            Self::BytesPerSecond => format!("{}/s", human_bytes(value)),
        }
    }
}

/// Where in etcd a metric belongs, from the client down to the disk, and the machine below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    Client,
    Api,
    Raft,
    Logic,
    Storage,
    Host,
}

/// Which method of looking at a system asks for it: utilization, saturation, errors of resources; rate, errors,
/// duration of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    Use,
    Red,
}

/// Which direction is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Worse {
    High,
    Low,
    None,
}

/// A value that should not be passed for long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// In the metric's unit.
    pub value: f64,
    pub label: String,
    /// Where the upstream alert rules fire, which for disks is far looser than the advice.
    pub alert: Option<f64>,
    /// URL of the document that gives the value.
    pub source: String,
}

/// One way to get a metric's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The metric family it reads; pages say which one answered.
    pub source: String,
    /// What this source measures, for people.
    pub about: String,
    /// The etcd versions that have it.
    pub versions: String,
    /// With `$cluster`, and `$quantile` where the metric has quantiles.
    pub promql: String,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    pub id: String,
    pub title: String,
    pub help: String,
    pub unit: Unit,
    pub worse: Worse,
    /// `None` for what only charts and strips show.
    pub layer: Option<Layer>,
    pub view: Option<View>,
    /// Whether its history is evaluated for every page; else it is a figure of now.
    #[serde(default = "yes")]
    pub chart: bool,
    /// The labels its series keep, besides `source` and `quantile`.
    pub by: Vec<String>,
    /// Empty for plain values.
    #[serde(default)]
    pub quantiles: Vec<f64>,
    /// What to tell people when nothing answers.
    pub why_missing: String,
    /// Whether the rollup tables keep it.
    pub rollup: bool,
    pub limit: Option<Limit>,
    /// How far back its chart goes; a day where absent.
    pub range: Option<ConfigDuration>,
    /// The chart's resolution; five minutes where absent.
    pub step: Option<ConfigDuration>,
    /// The first that has data answers.
    #[serde(rename = "query")]
    pub queries: Vec<Query>,
}

fn yes() -> bool {
    true
}

/// A metric family that not every cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    pub name: String,
    pub help: String,
    pub unit: Unit,
    /// What it takes to have it: a version, a flag, a job.
    pub needs: String,
    /// What tells the same or nearly so where this is missing.
    pub instead: Option<String>,
    /// Absent while there is nothing to say, so that its absence means nothing.
    #[serde(default)]
    pub quiet: bool,
}

/// All metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(rename = "metric")]
    pub metrics: Vec<Metric>,
    /// Families that are not everywhere. A family that is not listed is.
    #[serde(rename = "family")]
    pub families: Vec<Family>,
}

/// The catalogue that is part of the program.
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "embedded text; a test of this module parses it")]
        toml::from_str(include_str!("catalogue.toml")).expect("the embedded catalogue parses")
    });
    &CATALOGUE
}

impl Catalogue {
    pub fn get(&self, id: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.id == id)
    }

    /// What is known of the family that `series` (a metric's name, perhaps with a histogram's suffix) belongs to.
    pub fn family(&self, series: &str) -> Option<&Family> {
        let named = |name: &str| self.families.iter().find(|family| family.name == name);
        let stem = || ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
        named(series).or_else(|| stem().and_then(named))
    }

    /// The text of `docs/metrics.md`.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "# Metrics\n\nGenerated from `src/model/catalogue.toml`; do not edit.\n\nEvery metric names its \
             sources in the order they are tried: the first that has data answers, and pages say which one did.\n",
        );
        for metric in &self.metrics {
            metric.push_markdown(&mut text);
        }
        self.push_families(&mut text);
        text
    }
}

impl Catalogue {
    fn push_families(&self, text: &mut String) {
        text.push_str(
            "\n## Families that not every cluster has\n\nRules that read them say so where they are missing.\n\n\
             | family | unit | says | needs | instead |\n|---|---|---|---|---|\n",
        );
        for family in &self.families {
            let unit = serde_json::to_value(family.unit).unwrap_or_default();
            let (unit, instead) =
                (unit.as_str().unwrap_or_default(), family.instead.as_deref().unwrap_or(""));
            // Writing to a String cannot fail.
            let Family { name, help, needs, .. } = family;
            let _ = writeln!(text, "| `{name}` | {unit} | {help} | {needs} | {instead} |");
        }
    }
}

impl Metric {
    fn push_markdown(&self, text: &mut String) {
        let unit = serde_json::to_value(self.unit).unwrap_or_default();
        let unit = unit.as_str().unwrap_or_default();
        let by = if self.by.is_empty() { "cluster".to_owned() } else { self.by.join(", ") };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {} (`{}`)\n\n{}\n\n", self.title, self.id, self.help);
        if let Some(layer) = self.layer {
            let name = serde_json::to_value(layer).unwrap_or_default();
            let _ = writeln!(text, "- Layer: {}", name.as_str().unwrap_or_default());
        }
        let _ = write!(text, "- Unit: {unit}; one series per {by}");
        if !self.quantiles.is_empty() {
            let names: Vec<String> = self.quantiles.iter().map(|q| quantile_name(*q)).collect();
            let _ = write!(text, "; {}", names.join(", "));
        }
        text.push('\n');
        if let Some(limit) = &self.limit {
            let _ = write!(text, "- Limit: {} ([source]({}))", limit.value, limit.source);
            if let Some(alert) = limit.alert {
                let _ = write!(text, "; the upstream alert fires at {alert}");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "- Without data: {}", self.why_missing);
        text.push_str("\n| source | measures | etcd versions |\n|---|---|---|\n");
        for query in &self.queries {
            let _ = writeln!(text, "| `{}` | {} | {} |", query.source, query.about, query.versions);
        }
        for query in &self.queries {
            let _ = write!(text, "\n```promql\n{}\n```\n", query.promql);
        }
    }
}

/// `p99` for 0.99.
pub fn quantile_name(quantile: f64) -> String {
    format!("p{}", (quantile * 1000.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn embedded_catalogue_is_whole() {
        let metrics = &catalogue().metrics;
        assert!(metrics.len() > 10);
        let mut ids = BTreeSet::new();
        for metric in metrics {
            let id = &metric.id;
            assert!(ids.insert(id.as_str()), "{id} twice");
            assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{id}");
            assert!(!metric.queries.is_empty(), "{id} has no query");
            assert!(metric.quantiles.iter().all(|q| (0.0..=1.0).contains(q)), "{id}");
            assert!(metric.why_missing.ends_with('.') && metric.help.ends_with('.'), "{id}: sentences end");
            for query in &metric.queries {
                assert!(query.promql.contains("cluster=\"$cluster\""), "{id}: {}", query.promql);
                assert!(query.promql.contains(&query.source), "{id}: {} is not read", query.source);
                assert_eq!(query.promql.contains("$quantile"), !metric.quantiles.is_empty(), "{id}");
            }
            if let Some(limit) = &metric.limit {
                assert!(limit.value > 0.0 && limit.source.starts_with("https://"), "{id}");
            }
        }
    }

    #[test]
    fn families_are_found_by_any_of_their_series() {
        let mut names = BTreeSet::new();
        for family in &catalogue().families {
            assert!(names.insert(family.name.as_str()), "{} twice", family.name);
            assert!(family.help.ends_with('.') && !family.needs.ends_with('.'), "{}", family.name);
        }
        for (series, family) in [
            ("grpc_server_handling_seconds_bucket", Some("grpc_server_handling_seconds")),
            ("etcd_monitor_bench_latency_seconds", Some("etcd_monitor_bench_latency_seconds")),
            ("etcd_server_has_leader", None),
        ] {
            assert_eq!(catalogue().family(series).map(|family| family.name.as_str()), family, "{series}");
        }
    }

    #[test]
    fn quantiles_have_short_names() {
        for (quantile, name) in [(0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")] {
            assert_eq!(quantile_name(quantile), name);
        }
    }

    /// Refresh with `UPDATE_DOCS=1 cargo test --lib catalogue`.
    #[test]
    fn metrics_page_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let fresh = catalogue().to_markdown();
        if option_env!("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().expect("has a parent")).expect("docs/ can be made");
            std::fs::write(&path, &fresh).expect("docs/metrics.md can be written");
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == fresh, "docs/metrics.md is stale: UPDATE_DOCS=1 cargo test --lib catalogue");
    }
}
