//! The rule book: every rule that configuration knows, what overrides make of it, and what is evaluated.

use std::collections::BTreeSet;

use serde::Serialize;

use super::overrides::{Fleet, Override, entry};
use super::rule::{Reach, Rule, RuleGroup};
use super::speechless::{Speechless, speechless};

/// Every rule, switched off or not.
#[derive(Debug, Clone, Default)]
pub struct RuleBook {
    pub chapters: Vec<Chapter>,
}

/// One rule group with where it comes from.
#[derive(Debug, Clone)]
pub struct Chapter {
    /// The pack's name, or `file`.
    pub origin: &'static str,
    pub group: String,
    pub interval_ms: Option<i64>,
    pub entries: Vec<Entry>,
}

/// One rule as written, with its variants: the general one first, then those of clusters that differ.
#[derive(Debug, Clone)]
pub struct Entry {
    pub variants: Vec<Listed>,
}

/// A rule as it is for some clusters.
#[derive(Debug, Clone)]
pub struct Listed {
    pub rule: Rule,
    pub enabled: bool,
    pub overridden: Vec<Overridden>,
}

/// Which override a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overridden {
    /// `enabled`, `threshold`, `for`, `keep-firing-for` or `severity`.
    pub setting: &'static str,
    /// `fleet`, `tags env=dev` or `cluster prod-eu-1`.
    pub scope: String,
    /// Its line in the configuration; absent for `rules.disable`.
    pub line: Option<usize>,
}

impl RuleBook {
    /// Adds rule groups of one origin, overridden.
    pub fn add(
        &mut self,
        origin: &'static str,
        groups: Vec<RuleGroup>,
        overrides: &[Override],
        fleet: &Fleet,
    ) {
        self.chapters.extend(groups.into_iter().map(|group| Chapter {
            origin,
            entries: group.rules.iter().map(|rule| entry(rule, overrides, fleet)).collect(),
            group: group.name,
            interval_ms: group.interval_ms,
        }));
    }

    /// What is evaluated: the groups with the rules that are on, without groups that have none.
    pub fn groups(&self) -> Vec<RuleGroup> {
        let groups = self.chapters.iter().map(|chapter| RuleGroup {
            name: chapter.group.clone(),
            interval_ms: chapter.interval_ms,
            rules: chapter.on().cloned().collect(),
        });
        groups.filter(|group| !group.rules.is_empty()).collect()
    }

    /// The metrics that alerts read which are on for `cluster`.
    pub fn metrics_of(&self, cluster: &str) -> BTreeSet<String> {
        let on = self.chapters.iter().flat_map(Chapter::on);
        let here = on.filter(|rule| rule.is_alert() && rule.clusters.has(cluster));
        here.flat_map(|rule| rule.expr.metric_names()).collect()
    }

    /// The alerts that are on for `cluster` and cannot speak of it, with `present` being all metrics it has; each
    /// with the reason, in the order of the book.
    pub fn speechless(&self, cluster: &str, present: &BTreeSet<String>) -> Vec<(String, Speechless)> {
        let on = self.chapters.iter().flat_map(Chapter::on);
        let here = on.filter(|rule| rule.is_alert() && rule.clusters.has(cluster));
        let mut found: Vec<(String, Speechless)> = Vec::new();
        for rule in here {
            let told = |why: Speechless| (rule.name.clone(), why);
            found.extend(speechless(rule, present).map(told).filter(|told| !found.contains(told)));
        }
        found
    }

    /// How many alert rules are on somewhere; the variants of a rule count once.
    pub fn alerts_total(&self) -> usize {
        let entries = self.chapters.iter().flat_map(|chapter| &chapter.entries);
        entries.filter(|entry| entry.variants.iter().any(|v| v.enabled && v.rule.is_alert())).count()
    }
}

impl Chapter {
    fn on(&self) -> impl Iterator<Item = &Rule> {
        let variants = self.entries.iter().flat_map(|entry| &entry.variants);
        variants.filter(|listed| listed.enabled).map(|listed| &listed.rule)
    }

    /// The group as the jobs evaluate it, for what concerns the whole of it.
    pub fn group(&self) -> RuleGroup {
        let rules = self.entries.iter().flat_map(|entry| &entry.variants).map(|listed| listed.rule.clone());
        RuleGroup { name: self.group.clone(), interval_ms: self.interval_ms, rules: rules.collect() }
    }
}

impl Entry {
    /// What holds for one cluster.
    pub fn of_cluster(&self, cluster: &str) -> Option<&Listed> {
        self.variants.iter().find(|listed| listed.rule.clusters.has(cluster))
    }

    /// A rule that nothing overrides.
    pub fn plain(rule: Rule) -> Self {
        let rule = Rule { clusters: Reach::All, ..rule };
        Self { variants: vec![Listed { rule, enabled: true, overridden: Vec::new() }] }
    }
}
