//! The rules: what each measures, by which limit, and what it says.

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use crate::model::catalogue::Unit;
use crate::model::unit::{ConfigDuration, format_duration};
use crate::model::{AdviceArea, ClusterName, Confidence, Effort};
use crate::promql::{self, Expr};

/// A rule, as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    pub id: String,
    pub title: String,
    /// Which part of the health score it is of.
    pub term: Term,
    /// What it is worth, 1 to 100: the higher comes first.
    pub weight: u32,
    /// The points that its term loses while it is found.
    #[serde(default)]
    pub loses: u32,
    /// The most that the whole score may be meanwhile.
    pub cap: Option<u32>,
    pub effort: Effort,
    pub confidence: Confidence,
    /// PromQL with `$cluster` and, where `window` is given, `$window`: a value per subject.
    pub query: Option<String>,
    /// How far `query` looks back.
    pub window: Option<ConfigDuration>,
    /// The key of the facts it measures instead.
    pub fact: Option<String>,
    /// Found where a value is above or below this, or its text is one of these.
    pub above: Option<f64>,
    pub below: Option<f64>,
    #[serde(default)]
    pub is: Vec<String>,
    /// Of numbers.
    #[serde(default = "count")]
    pub unit: Unit,
    /// The sentence of a query's value, with `{value}`, `{limit}` and `{subject}`; facts have their own.
    pub said: Option<String>,
    /// The same where nothing is found, if that needs other words.
    pub passed: Option<String>,
    pub why: String,
    /// With `{cluster}`, `{subject}`, `{directory}` (of its data), `{endpoints}` and `{suggested}`.
    pub commands: Vec<String>,
    pub gain: String,
    pub link: String,
    /// What it takes to judge it.
    pub needs: String,
    /// The line of the brief tuning checklist that it is of.
    pub checklist: Option<Checklist>,
    /// The common issue that it is a cause or a sign of.
    pub issue: Option<Issue>,
    /// Rules that this one explains, where both are found.
    #[serde(default)]
    pub explains: Vec<String>,
    /// What is compared before and after: a measure of `compare`; without one what the rule itself measures.
    pub measure: Option<String>,
    #[serde(skip)]
    pub area: Option<AdviceArea>,
}

fn count() -> Unit {
    Unit::Count
}

/// A line of the performance tuning checklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checklist {
    SsdStorage,
    CpuPerformanceMode,
    EtcdConfiguration,
    DedicatedDisk,
    NetworkLatency,
    ClusterSize,
    RegularCompaction,
    SnapshotFrequency,
    ResourceLimits,
    MonitoringEnabled,
}

impl Checklist {
    pub const ALL: [Self; 10] = [
        Self::SsdStorage,
        Self::CpuPerformanceMode,
        Self::EtcdConfiguration,
        Self::DedicatedDisk,
        Self::NetworkLatency,
        Self::ClusterSize,
        Self::RegularCompaction,
        Self::SnapshotFrequency,
        Self::ResourceLimits,
        Self::MonitoringEnabled,
    ];

    /// The line.
    pub fn text(self) -> &'static str {
        match self {
            Self::SsdStorage => "Use SSD storage",
            Self::CpuPerformanceMode => "Enable CPU performance mode",
            Self::EtcdConfiguration => "Optimize etcd configuration",
            Self::DedicatedDisk => "Dedicated disk for etcd",
            Self::NetworkLatency => "Network latency < 10 ms",
            Self::ClusterSize => "Proper cluster size (3/5/7)",
            Self::RegularCompaction => "Regular compaction",
            Self::SnapshotFrequency => "Appropriate snapshot frequency",
            Self::ResourceLimits => "Resource limits configured",
            Self::MonitoringEnabled => "Monitoring enabled",
        }
    }
}

/// A common issue that people come with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issue {
    HighFsyncLatency,
    LeaderElectionStorms,
    DatabaseSizeGrowing,
    HighMemoryUsage,
    SlowRequestLatency,
}

/// A part of the health score, with the points it has at best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Term {
    Availability,
    Latency,
    Disk,
    Capacity,
    Backups,
    Upkeep,
}

impl Term {
    pub const ALL: [Self; 6] =
        [Self::Availability, Self::Latency, Self::Disk, Self::Capacity, Self::Backups, Self::Upkeep];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::Latency => "latency",
            Self::Disk => "disk",
            Self::Capacity => "capacity",
            Self::Backups => "backups",
            Self::Upkeep => "upkeep",
        }
    }

    /// All together are 100.
    pub fn most(self) -> u32 {
        match self {
            Self::Availability => 25,
            Self::Latency | Self::Disk | Self::Capacity | Self::Backups | Self::Upkeep => 15,
        }
    }
}

/// When a value is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition<'a> {
    Above(f64),
    Below(f64),
    Is(&'a [String]),
}

impl Rule {
    pub fn area(&self) -> AdviceArea {
        self.area.unwrap_or(AdviceArea::Practice)
    }

    pub fn condition(&self) -> Condition<'_> {
        match (self.above, self.below) {
            (Some(limit), _) => Condition::Above(limit),
            (_, Some(limit)) => Condition::Below(limit),
            _ => Condition::Is(&self.is),
        }
    }

    /// Whether a value is what the rule is about.
    pub fn is_found(&self, number: Option<f64>, text: &str) -> bool {
        match (self.condition(), number) {
            (Condition::Above(limit), Some(value)) => value > limit,
            (Condition::Below(limit), Some(value)) => value < limit,
            (Condition::Is(texts), _) => texts.iter().any(|wanted| wanted == text),
            (_, None) => false,
        }
    }

    /// How far beyond its limit a value is: 1 at the limit.
    pub fn excess(&self, number: Option<f64>) -> f64 {
        let ratio = match (self.condition(), number) {
            (Condition::Above(limit), Some(value)) if limit > 0.0 => value / limit,
            (Condition::Below(limit), Some(value)) if value > 0.0 => limit / value,
            _ => 1.0,
        };
        ratio.clamp(1.0, 1e6)
    }

    /// The query for one cluster.
    pub fn query_of(&self, cluster: &ClusterName) -> Option<String> {
        let text = self.query.as_ref()?.replace("$cluster", cluster.as_str());
        Some(text.replace("$window", &format_duration(self.window())))
    }

    /// How far it looks back.
    pub fn window(&self) -> Duration {
        self.window.map_or(Duration::ZERO, |window| window.0)
    }

    /// The query with its limit: what gives the evidence and nothing else.
    pub fn shown_by(&self, query: &str) -> String {
        match self.condition() {
            Condition::Above(limit) => format!("({query}) > {limit}"),
            Condition::Below(limit) => format!("({query}) < {limit}"),
            Condition::Is(_) => query.to_owned(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Rule>,
}

/// The file of each area.
const FILES: [(AdviceArea, &str); 4] = [
    (AdviceArea::Hardware, include_str!("rules/hardware.toml")),
    (AdviceArea::Etcd, include_str!("rules/etcd.toml")),
    (AdviceArea::OperatingSystem, include_str!("rules/operating-system.toml")),
    (AdviceArea::Practice, include_str!("rules/practice.toml")),
];

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let of_file = |(area, text): &(AdviceArea, &str)| {
        // The files are part of the program; a test parses them.
        let file: File = toml::from_str(text).unwrap_or(File { rule: Vec::new() });
        let area = *area;
        file.rule.into_iter().map(move |rule| Rule { area: Some(area), ..rule })
    };
    FILES.iter().flat_map(of_file).collect()
});

/// All rules, by area.
pub fn rules() -> &'static [Rule] {
    &RULES
}

/// The queries of all rules for one cluster, with the rule of each.
///
/// # Errors
/// When one does not parse; a test parses all.
pub fn questions(cluster: &ClusterName) -> Result<Vec<(&'static Rule, Expr)>, promql::ParseError> {
    let queries = rules().iter().filter_map(|rule| Some((rule, rule.query_of(cluster)?)));
    queries.map(|(rule, query)| Ok((rule, promql::parse(&query)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_parses_and_every_rule_is_whole() {
        let mut ids = BTreeSet::new();
        for (area, text) in FILES {
            let file: File = toml::from_str(text).unwrap_or_else(|error| panic!("{area:?}: {error}"));
            for rule in file.rule {
                let id = rule.id.clone();
                assert!(ids.insert(id.clone()), "{id} is there twice");
                assert_ne!(rule.query.is_some(), rule.fact.is_some(), "{id} measures one thing");
                assert_eq!(rule.query.is_some(), rule.said.is_some(), "{id}");
                let conditions =
                    [rule.above.is_some(), rule.below.is_some(), !rule.is.is_empty()].map(usize::from);
                assert_eq!(conditions.iter().sum::<usize>(), 1, "{id} has one limit");
                assert!((1..=100).contains(&rule.weight), "{id}");
                assert!(rule.loses <= rule.term.most(), "{id}");
                let mentions = rule.query.as_ref().is_some_and(|query| query.contains("$window"));
                assert!(!mentions || rule.window.is_some(), "{id}");
                assert!(rule.link.starts_with("https://") || rule.link.starts_with("docs/"), "{id}");
                for text in [&rule.title, &rule.why, &rule.gain, &rule.needs] {
                    assert!(!text.trim().is_empty(), "{id}");
                }
                assert!(!rule.commands.is_empty(), "{id} says what to do");
            }
        }
        assert_eq!(ids.len(), rules().len());
        assert!(ids.len() >= 40, "{}", ids.len());
        let named = rules().iter().flat_map(|rule| &rule.explains);
        assert_eq!(named.filter(|name| !ids.contains(*name)).collect::<Vec<_>>(), Vec::<&String>::new());
        questions(&"prod".parse().expect("a name")).expect("all parse");
    }

    #[test]
    fn every_line_of_the_checklist_and_every_common_issue_is_a_rule() {
        let lines: BTreeSet<Checklist> = rules().iter().filter_map(|rule| rule.checklist).collect();
        assert_eq!(lines.into_iter().collect::<Vec<_>>(), Checklist::ALL);
        let issues: BTreeSet<Issue> = rules().iter().filter_map(|rule| rule.issue).collect();
        assert_eq!(issues.len(), 5);
    }

    /// `UPDATE_DOCS=1 cargo test --lib advise::rule` writes it.
    #[test]
    fn the_document_lists_the_rules() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/advice.md");
        let text = std::fs::read_to_string(path).expect("docs/advice.md");
        let (begin, end) = ("of the rules -->\n", "<!-- end of rules -->");
        let (head, rest) = text.split_once(begin).expect("the mark");
        let (_, tail) = rest.split_once(end).expect("the end");
        let mut table = "| rule | area | term | found where | says |\n|---|---|---|---|---|\n".to_owned();
        for rule in rules() {
            let limit = match rule.condition() {
                Condition::Above(limit) => format!("above {}", rule.unit.text(limit)),
                Condition::Below(limit) => format!("below {}", rule.unit.text(limit)),
                Condition::Is(words) => words.join(", "),
            };
            let over =
                rule.window.map_or(String::new(), |window| format!(" over {}", format_duration(window.0)));
            let (area, term) = (rule.area().as_str(), rule.term.as_str());
            table += &format!("| `{}` | {area} | {term} | {limit}{over} | {} |\n", rule.id, rule.title);
        }
        let wanted = format!("{head}{begin}{table}{end}{tail}");
        if option_env!("UPDATE_DOCS").is_some() {
            std::fs::write(path, &wanted).expect("written");
        }
        let now = std::fs::read_to_string(path).expect("docs/advice.md");
        assert!(now == wanted, "docs/advice.md is old: UPDATE_DOCS=1 cargo test --lib advise::rule");
    }

    #[test]
    fn the_points_of_the_terms_are_a_hundred() {
        assert_eq!(Term::ALL.into_iter().map(Term::most).sum::<u32>(), 100);
    }
}
