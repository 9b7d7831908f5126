//! One evaluation of one group.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::{Rule, RuleGroup, RuleKind, Within};
use super::state::{Active, EvalState};
use super::words::{RuleOptions, Words, ask, vector};
use crate::model::{
    Finding, FindingState, Joined, Label, Labels, METRIC_NAME, SeriesSet, SeriesSource, stale_marker,
};

/// The most series one alert rule may have active. More than this is a rule that forgot to aggregate, and
/// nobody reads a thousand messages.
pub const ACTIVE_SERIES_MAX: usize = 1_000;

/// What one evaluation found. Partial failure is data: a rule that failed is in `errors`, the others stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// Pending and firing, in rule order, then by labels.
    pub findings: Vec<Finding>,
    /// What recording rules computed, metric name included; for the rest of what they wrote last time the
    /// stale marker.
    pub recorded: Vec<(Labels, f64)>,
    /// For the next evaluation.
    pub state: EvalState,
    pub errors: Vec<RuleError>,
    /// Rules with more than [`ACTIVE_SERIES_MAX`] active series; the rest of theirs is not in `findings`, and
    /// a finding named [`SERIES_LIMIT_ALERT`] says so.
    pub cut: Vec<Cut>,
}

/// A rule with more active series than are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub rule: String,
    pub severity: String,
    /// How many it has.
    pub active: usize,
}

/// The alert that says that a rule has more active series than are told. Its label `rule` names the rule.
pub const SERIES_LIMIT_ALERT: &str = "EtcdMonitorRuleSeriesLimit";

/// Why one rule has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {message}")]
pub struct RuleError {
    pub rule: String,
    pub message: String,
}

impl Evaluation {
    /// Whether the rule's silence means nothing because it failed or was cut.
    pub fn is_partial(&self, rule: &str) -> bool {
        self.cut.iter().any(|cut| cut.rule == rule) || self.errors.iter().any(|error| error.rule == rule)
    }
}

/// Evaluates every rule of `group` over `source` at `at_ms`; `previous` is the state that the evaluation
/// before it left (the empty one for the first). A rule sees what the recording rules before it wrote.
pub fn evaluate(
    group: &RuleGroup,
    source: &dyn SeriesSource,
    at_ms: i64,
    previous: &EvalState,
    options: &RuleOptions,
) -> Evaluation {
    let mut evaluation = Evaluation::default();
    let mut written = SeriesSet::default();
    for (at, rule) in group.rules.iter().enumerate() {
        let joined = Joined(source, &written);
        let seen: &dyn SeriesSource = if written.is_empty() { source } else { &joined };
        let words = Words { options, query: &|query| ask(query, seen, at_ms, &options.eval) };
        let reach = Within { source: seen, clusters: &rule.clusters };
        let found = vector(&rule.expr, &reach, at_ms, &options.eval);
        let failed = found.is_err();
        match found {
            Ok(vector) => match &rule.kind {
                RuleKind::Record => record(rule, vector, &words, &mut evaluation),
                RuleKind::Alert { .. } => {
                    alert(group, rule, vector, at_ms, previous, &words, &mut evaluation);
                }
            },
            Err(message) => {
                evaluation.errors.push(RuleError { rule: rule.name.clone(), message });
                // The condition may well still hold: its `for` goes on.
                let kept = previous.active.iter().filter(|(_, active)| {
                    let cluster = active.series.get("cluster").unwrap_or("");
                    active.rule == rule.name && rule.clusters.has(cluster)
                });
                evaluation.state.active.extend(kept.map(|(key, active)| (key.clone(), active.clone())));
            }
        }
        if !rule.is_alert() {
            let again = |later: &Rule| !later.is_alert() && later.name == rule.name;
            if !group.rules.iter().skip(at + 1).any(again) {
                end_series(rule, previous, failed, &mut evaluation);
            }
            for (labels, value) in evaluation.recorded.iter().filter(|(l, _)| l.metric_name() == rule.name) {
                written.push(labels, at_ms, *value);
            }
        }
    }
    for cut in evaluation.cut.clone() {
        say_cut(group, &cut, at_ms, previous, &mut evaluation);
    }
    evaluation
}

/// One finding in place of those that are not told.
fn say_cut(group: &RuleGroup, cut: &Cut, at_ms: i64, previous: &EvalState, evaluation: &mut Evaluation) {
    let severity = if cut.severity.is_empty() { "warning" } else { &cut.severity };
    let labels =
        Labels::from_pairs([("alertname", SERIES_LIMIT_ALERT), ("rule", &cut.rule), ("severity", severity)]);
    let (rule, value) = (SERIES_LIMIT_ALERT.to_owned(), cut.active as f64);
    let since_ms = previous.active.get(&labels.fingerprint()).map_or(at_ms, |before| before.since_ms);
    let summary = format!("Rule {} has {} active series; {ACTIVE_SERIES_MAX} are told", cut.rule, cut.active);
    let description =
        "More than a thousand things are wrong at once, or the rule forgets to aggregate: what is \
                       beyond the limit has no incident of its own."
            .to_owned();
    evaluation.findings.push(Finding {
        group: group.name.clone(),
        alert: rule.clone(),
        labels: labels.clone(),
        annotations: [("summary".to_owned(), summary), ("description".to_owned(), description)].into(),
        value,
        state: FindingState::Firing,
        active_since_ms: since_ms,
    });
    let series = labels.clone();
    let active = Active { rule, series, since_ms, value, fired: true, gone_since_ms: None };
    evaluation.state.active.insert(labels.fingerprint(), active);
}

/// Ends the series that rules of this name wrote last time and do not write now. Of a rule that failed nobody
/// knows what it would have written, so nothing ends.
fn end_series(rule: &Rule, previous: &EvalState, failed: bool, evaluation: &mut Evaluation) {
    let failed = failed || evaluation.errors.iter().any(|error| error.rule == rule.name);
    for labels in previous.recorded.iter().filter(|labels| labels.metric_name() == rule.name) {
        if evaluation.state.recorded.contains(labels) {
            continue;
        }
        if failed {
            evaluation.state.recorded.insert(labels.clone());
        } else {
            evaluation.recorded.push((labels.clone(), stale_marker()));
        }
    }
}

fn record(rule: &Rule, vector: Vec<(Labels, f64)>, words: &Words<'_>, evaluation: &mut Evaluation) {
    for (series, value) in vector {
        let labels = with_rule_labels(rule, &series, value, words).with(METRIC_NAME, &rule.name);
        if evaluation.state.recorded.insert(labels.clone()) {
            evaluation.recorded.push((labels, value));
        } else {
            let message = "two series have the same labels once the rule's labels are set".to_owned();
            evaluation.errors.push(RuleError { rule: rule.name.clone(), message });
        }
    }
}

fn alert(
    group: &RuleGroup,
    rule: &Rule,
    vector: Vec<(Labels, f64)>,
    at_ms: i64,
    previous: &EvalState,
    words: &Words<'_>,
    evaluation: &mut Evaluation,
) {
    let RuleKind::Alert { for_ms, keep_firing_for_ms, annotations } = &rule.kind else { return };
    let mut active: BTreeMap<Labels, Active> = BTreeMap::new();
    for (series, value) in vector {
        let labels = alert_labels(rule, &series, value, words);
        let before = previous.active.get(&labels.fingerprint());
        let since_ms = before.map_or(at_ms, |before| before.since_ms);
        let fired = before.is_some_and(|before| before.fired) || at_ms.saturating_sub(since_ms) >= *for_ms;
        let next = Active { rule: rule.name.clone(), series, since_ms, value, fired, gone_since_ms: None };
        if active.insert(labels, next).is_some() {
            let message = "two series have the same labels once the rule's labels are set".to_owned();
            evaluation.errors.push(RuleError { rule: rule.name.clone(), message });
        }
    }
    if *keep_firing_for_ms > 0 {
        let lingering = previous.active.values().filter(|before| {
            before.rule == rule.name
                && rule.clusters.has(before.series.get("cluster").unwrap_or(""))
                && before.fired
                && at_ms.saturating_sub(before.gone_since_ms.unwrap_or(at_ms)) < *keep_firing_for_ms
        });
        for before in lingering {
            let labels = alert_labels(rule, &before.series, before.value, words);
            // Rules of one name tell their series apart by the labels they set.
            if previous.active.contains_key(&labels.fingerprint()) {
                let gone_since_ms = before.gone_since_ms.or(Some(at_ms));
                active.entry(labels).or_insert_with(|| Active { gone_since_ms, ..before.clone() });
            }
        }
    }
    if active.len() > ACTIVE_SERIES_MAX {
        let severity = rule.severity();
        let same = |cut: &&mut Cut| cut.rule == rule.name && cut.severity == severity;
        // The variants of a rule are one rule to people.
        match evaluation.cut.iter_mut().find(same) {
            Some(cut) => cut.active += active.len(),
            None => evaluation.cut.push(Cut { rule: rule.name.clone(), severity, active: active.len() }),
        }
    }
    for (labels, active) in active.into_iter().take(ACTIVE_SERIES_MAX) {
        evaluation.findings.push(Finding {
            group: group.name.clone(),
            alert: rule.name.clone(),
            annotations: words.texts(annotations, &active.series, active.value).into_iter().collect(),
            value: active.value,
            state: if active.fired { FindingState::Firing } else { FindingState::Pending },
            active_since_ms: active.since_ms,
            labels: labels.clone(),
        });
        evaluation.state.active.insert(labels.fingerprint(), active);
    }
}

fn alert_labels(rule: &Rule, series: &Labels, value: f64, words: &Words<'_>) -> Labels {
    with_rule_labels(rule, series, value, words).with("alertname", &rule.name)
}

/// The series' labels without its metric name, the rule's own over them.
fn with_rule_labels(rule: &Rule, series: &Labels, value: f64, words: &Words<'_>) -> Labels {
    let own = words.texts(&rule.labels, series, value);
    let set: BTreeSet<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
    let mut labels: Vec<Label> = series
        .iter()
        .filter(|label| &*label.name != METRIC_NAME && !set.contains(&*label.name))
        .cloned()
        .collect();
    labels.extend(own.iter().map(|(name, value)| Label::new(name.as_str(), value.as_str())));
    Labels::new(labels)
}

#[cfg(test)]
mod tests;
