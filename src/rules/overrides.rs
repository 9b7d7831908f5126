//! Overrides: what configuration changes of the shipped rules, for the fleet, for clusters by tag, for one
//! cluster.
//!
//! The most specific override wins, setting by setting: one cluster's over tags', more tags over fewer, tags
//! over the fleet's; of equals the later in the file. A cluster whose settings differ gets a variant of the
//! rule that reads its series alone, and the general rule no longer reads them. Labels stay, so an incident
//! keeps its identity when a limit moves. Only `set-severity` changes it: the severity is a label, as routes
//! and inhibition want it.
//!
//! The text follows: a number literal in an annotation that equals the rule's threshold becomes the one in
//! effect, and what no literal says is added to the description.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::book::{Entry, Listed, Overridden};
use super::rule::{Reach, Rule, RuleGroup, RuleKind};
use super::template::Template;
use super::threshold::{Threshold, ThresholdText};
use crate::model::unit::{ConfigDuration, format_duration};
use crate::model::{ClusterName, Severity};

/// One `[[rules.override]]`: which rule, where, and what of it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OverrideConfig {
    /// The shipped alert's name.
    pub alert: String,
    /// Which of the rules of this name; all of them without it.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// For this cluster alone.
    #[serde(default)]
    pub cluster: Option<ClusterName>,
    /// For the clusters that have all these tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub enabled: Option<bool>,
    #[serde(default)]
    pub threshold: Option<ThresholdText>,
    #[serde(default, rename = "for")]
    pub held_for: Option<ConfigDuration>,
    #[serde(default)]
    pub keep_firing_for: Option<ConfigDuration>,
    #[serde(default)]
    pub set_severity: Option<Severity>,
}

/// An override with its line in the configuration, where it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    pub line: Option<usize>,
    pub config: OverrideConfig,
}

/// What is wrong with an override.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OverrideError {
    pub line: Option<usize>,
    /// The key within the override: `alert`, `threshold`, …
    pub key: &'static str,
    pub message: String,
}

/// The clusters that overrides may speak of, with their tags.
pub type Fleet = BTreeMap<ClusterName, BTreeMap<String, String>>;

impl OverrideConfig {
    /// Switches an alert off everywhere, as `rules.disable` does.
    pub fn off(alert: &str) -> Self {
        Self {
            alert: alert.to_owned(),
            severity: None,
            cluster: None,
            tags: BTreeMap::new(),
            enabled: Some(false),
            threshold: None,
            held_for: None,
            keep_firing_for: None,
            set_severity: None,
        }
    }

    fn names(&self, rule: &Rule) -> bool {
        let severity = || self.severity.is_none_or(|wanted| wanted.as_str() == rule.severity());
        rule.is_alert() && rule.name == self.alert && severity()
    }

    /// `None` for the fleet's own settings: those of clusters nobody configured.
    fn fits(&self, cluster: Option<(&ClusterName, &BTreeMap<String, String>)>) -> bool {
        let Some((name, tags)) = cluster else { return self.cluster.is_none() && self.tags.is_empty() };
        self.cluster.as_ref().is_none_or(|only| only == name)
            && self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }

    fn rank(&self) -> usize {
        if self.cluster.is_some() { usize::MAX } else { self.tags.len() }
    }

    fn scope(&self) -> String {
        if let Some(cluster) = &self.cluster {
            return format!("cluster {cluster}");
        }
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if tags.is_empty() { "fleet".to_owned() } else { format!("tags {}", tags.join(",")) }
    }
}

/// What is wrong with `overrides` of the shipped `groups`; empty when they can be applied.
pub fn problems(groups: &[RuleGroup], overrides: &[Override], fleet: &Fleet) -> Vec<OverrideError> {
    let rules: Vec<&Rule> = groups.iter().flat_map(|group| &group.rules).collect();
    overrides
        .iter()
        .flat_map(|own| {
            let found = one_problem(&rules, &own.config, fleet).err();
            found.map(|(key, message)| OverrideError { line: own.line, key, message })
        })
        .collect()
}

fn one_problem(rules: &[&Rule], own: &OverrideConfig, fleet: &Fleet) -> Result<(), (&'static str, String)> {
    let alerts: Vec<&Rule> = rules.iter().copied().filter(|rule| rule.is_alert()).collect();
    let named: Vec<&Rule> = alerts.iter().copied().filter(|rule| rule.name == own.alert).collect();
    if named.is_empty() {
        let near = nearest(&own.alert, alerts.iter().map(|rule| rule.name.as_str()));
        let meant = near.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
        let say = format!("there is no shipped alert {:?}{meant}; `rules list` shows all", own.alert);
        return Err(("alert", say));
    }
    let severities = named.iter().map(|rule| rule.severity()).collect::<Vec<_>>().join(", ");
    let aimed: Vec<&Rule> = named.into_iter().filter(|rule| own.names(rule)).collect();
    let Some(first) = aimed.first() else {
        return Err(("severity", format!("{} has no rule of this severity; it has {severities}", own.alert)));
    };
    if own.cluster.is_some() && !own.tags.is_empty() {
        return Err(("tags", "an override is for a cluster or for tags, not for both".to_owned()));
    }
    if let Some(cluster) = own.cluster.as_ref().filter(|cluster| !fleet.contains_key(*cluster)) {
        let known = fleet.keys().map(ClusterName::as_str).collect::<Vec<_>>().join(", ");
        return Err(("cluster", format!("there is no cluster \"{cluster}\"; there are {known}")));
    }
    let nothing = own.enabled.is_none()
        && own.threshold.is_none()
        && own.held_for.is_none()
        && own.keep_firing_for.is_none()
        && own.set_severity.is_none();
    if nothing {
        let say = "it changes nothing: set enabled, threshold, for, keep-firing-for or set-severity";
        return Err(("alert", say.to_owned()));
    }
    if (own.threshold.is_some() || own.set_severity.is_some()) && aimed.len() > 1 {
        let say = format!("{} has a rule for each of {severities}: say which one is meant", own.alert);
        return Err(("severity", say));
    }
    if let Some(wanted) = &own.threshold {
        let Some(threshold) = Threshold::of(&first.expr) else {
            let say = format!("{} has no threshold; it can be switched off or given another for", own.alert);
            return Err(("threshold", say));
        };
        threshold.read(wanted).map_err(|message| ("threshold", message))?;
    }
    if let Some(wanted) = own.set_severity
        && alerts.iter().any(|rule| rule.name == own.alert && rule.severity() == wanted.as_str())
    {
        let say = format!("{} has a rule of severity {wanted} already; switch one of them off", own.alert);
        return Err(("set-severity", say));
    }
    Ok(())
}

/// The name that is fewest letters away, unless it is another word.
fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = names.map(|name| (letters_apart(written, name), name)).min()?;
    (distance <= written.chars().count() / 3).then_some(name)
}

/// How many letters must be put in, taken out or changed (Levenshtein's distance).
fn letters_apart(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut above_left = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (b, above) in to.chars().zip(row.iter().skip(1)) {
            left = (above + 1).min(left + 1).min(above_left + usize::from(a != b));
            above_left = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// The rule's settings at one place.
#[derive(Debug, Clone, PartialEq)]
struct Settings {
    enabled: bool,
    threshold: Option<f64>,
    held_for: Option<Duration>,
    keep_firing_for: Option<Duration>,
    severity: Option<Severity>,
    by: Vec<Overridden>,
}

fn settings(
    rule: &Rule,
    ordered: &[&Override],
    cluster: Option<(&ClusterName, &BTreeMap<String, String>)>,
) -> Settings {
    let mut settings = Settings {
        enabled: true,
        threshold: None,
        held_for: None,
        keep_firing_for: None,
        severity: None,
        by: Vec::new(),
    };
    for own in ordered.iter().filter(|own| own.config.fits(cluster)) {
        let config = &own.config;
        let threshold = config.threshold.as_ref();
        let threshold = threshold.zip(Threshold::of(&rule.expr)).and_then(|(text, now)| now.read(text).ok());
        settings.enabled = config.enabled.unwrap_or(settings.enabled);
        settings.threshold = threshold.or(settings.threshold);
        settings.held_for = config.held_for.map(|duration| duration.0).or(settings.held_for);
        settings.keep_firing_for =
            config.keep_firing_for.map(|duration| duration.0).or(settings.keep_firing_for);
        settings.severity = config.set_severity.or(settings.severity);
        let changed = [
            ("enabled", config.enabled.is_some()),
            ("threshold", config.threshold.is_some()),
            ("for", config.held_for.is_some()),
            ("keep-firing-for", config.keep_firing_for.is_some()),
            ("severity", config.set_severity.is_some()),
        ];
        for (setting, _) in changed.into_iter().filter(|(_, is)| *is) {
            settings.by.retain(|earlier| earlier.setting != setting);
            settings.by.push(Overridden { setting, scope: config.scope(), line: own.line });
        }
    }
    settings
}

/// The rule with what `overrides` make of it for each of the clusters.
pub fn entry(rule: &Rule, overrides: &[Override], fleet: &Fleet) -> Entry {
    let mut ordered: Vec<&Override> = overrides.iter().filter(|own| own.config.names(rule)).collect();
    // The sort is stable: of equals the later in the file comes last and wins.
    ordered.sort_by_key(|own| own.config.rank());
    let general = settings(rule, &ordered, None);
    let mut differing: Vec<(Settings, BTreeSet<ClusterName>)> = Vec::new();
    for (name, tags) in fleet {
        let own = settings(rule, &ordered, Some((name, tags)));
        if own == general {
            continue;
        }
        match differing.iter_mut().find(|(settings, _)| *settings == own) {
            Some((_, names)) => {
                names.insert(name.clone());
            }
            None => differing.push((own, BTreeSet::from([name.clone()]))),
        }
    }
    let apart: BTreeSet<ClusterName> = differing.iter().flat_map(|(_, names)| names.clone()).collect();
    let reach = if apart.is_empty() { Reach::All } else { Reach::AllBut(apart) };
    let mut variants = vec![listed(rule, general, reach)];
    variants.extend(differing.into_iter().map(|(own, names)| listed(rule, own, Reach::Only(names))));
    Entry { variants }
}

fn listed(rule: &Rule, settings: Settings, clusters: Reach) -> Listed {
    let mut rule = Rule { clusters, ..rule.clone() };
    let before = Threshold::of(&rule.expr);
    if let (Some(before), Some(value)) = (before, settings.threshold) {
        rule.expr = Threshold::put(&rule.expr, value);
        rule.expr_text = rule.expr.to_string();
        say_limit(&mut rule, before, value);
    }
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    if let RuleKind::Alert { for_ms, keep_firing_for_ms, annotations } = &mut rule.kind {
        if let Some(held_for) = settings.held_for {
            *for_ms = ms(held_for);
            add(annotations, &format!(" Told after {} here.", format_duration(held_for)));
        }
        *keep_firing_for_ms = settings.keep_firing_for.map_or(*keep_firing_for_ms, ms);
    }
    if let Some(severity) = settings.severity {
        rule.labels.retain(|(name, _)| name != "severity");
        rule.labels.push(("severity".to_owned(), Template::literal(severity.as_str())));
    }
    Listed { rule, enabled: settings.enabled, overridden: settings.by }
}

/// Lets the annotations say the limit in effect.
fn say_limit(rule: &mut Rule, before: Threshold, value: f64) {
    let RuleKind::Alert { annotations, .. } = &mut rule.kind else { return };
    let mut said = false;
    for (_, text) in annotations.iter_mut() {
        let (changed, found) = text.with_number(before.value, value);
        *text = changed;
        said |= found;
    }
    if !said {
        add(annotations, &format!(" The limit in effect is {}.", Threshold { value, ..before }));
    }
}

fn add(annotations: &mut [(String, Template)], sentence: &str) {
    if let Some((_, text)) = annotations.iter_mut().find(|(name, _)| name == "description") {
        *text = text.clone().followed_by(sentence);
    }
}

#[cfg(test)]
mod tests;
