//! One evaluation of one group.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::rule::{Rule, RuleGroup, RuleKind};
use super::state::{Active, EvalState};
use super::template::{QueryResult, Template, TemplateData};
use crate::model::{Finding, FindingState, Label, Labels, METRIC_NAME, Selection, SeriesSource};
use crate::promql::{self, EvalOptions, EvalRange, Expr, Value};

/// The most series one alert rule may have active. More than this is a rule that forgot to aggregate, and
/// nobody reads a thousand messages.
pub const ACTIVE_SERIES_MAX: usize = 1_000;

/// What one evaluation found. Partial failure is data: a rule that failed is in `errors`, the others stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// Pending and firing, in rule order, then by labels.
    pub findings: Vec<Finding>,
    /// What recording rules computed, metric name included.
    pub recorded: Vec<(Labels, f64)>,
    /// For the next evaluation.
    pub state: EvalState,
    pub errors: Vec<RuleError>,
    /// Rules with more than [`ACTIVE_SERIES_MAX`] active series; the rest of theirs is not in `findings`.
    pub cut: Vec<String>,
}

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
        self.cut.iter().any(|name| name == rule) || self.errors.iter().any(|error| error.rule == rule)
    }
}

/// How rules are evaluated, and what their templates may say beside the alert's own data.
#[derive(Debug, Clone, Default)]
pub struct RuleOptions {
    pub eval: EvalOptions,
    /// `$externalLabels`. Not added to alerts.
    pub external_labels: Labels,
    /// `$externalURL`.
    pub external_url: String,
}

/// Evaluates every rule of `group` over `source` at `at_ms`; `previous` is the state that the evaluation
/// before it left (the empty one for the first).
pub fn evaluate(
    group: &RuleGroup,
    source: &dyn SeriesSource,
    at_ms: i64,
    previous: &EvalState,
    options: &RuleOptions,
) -> Evaluation {
    let mut evaluation = Evaluation::default();
    let words = Words { options, query: &|query| ask(query, source, at_ms, &options.eval) };
    for rule in &group.rules {
        match vector(&rule.expr, source, at_ms, &options.eval) {
            Ok(vector) => match &rule.kind {
                RuleKind::Record => record(rule, vector, &words, &mut evaluation),
                RuleKind::Alert { .. } => {
                    alert(group, rule, vector, at_ms, previous, &words, &mut evaluation);
                }
            },
            Err(message) => {
                evaluation.errors.push(RuleError { rule: rule.name.clone(), message });
                // The condition may well still hold: its `for` goes on.
                let kept = previous.active.iter().filter(|(_, active)| active.rule == rule.name);
                evaluation.state.active.extend(kept.map(|(key, active)| (key.clone(), active.clone())));
            }
        }
    }
    evaluation
}

/// What the templates of `groups` would ask for at `at_ms` in words that depend on what `source` holds. The
/// answers may lead to further questions: to be called again once they are in `source`, until nothing is new.
pub fn asked<'a>(
    groups: impl IntoIterator<Item = &'a RuleGroup>,
    source: &dyn SeriesSource,
    at_ms: i64,
    options: &RuleOptions,
) -> Vec<Selection> {
    let asked: RefCell<Vec<Selection>> = RefCell::default();
    let range = EvalRange { start_ms: at_ms, end_ms: at_ms, step_ms: 1 };
    let query = |query: &str| {
        if let Ok(expr) = promql::parse(query) {
            asked.borrow_mut().extend(promql::selections(&expr, &range, &options.eval));
        }
        ask(query, source, at_ms, &options.eval)
    };
    let words = Words { options, query: &query };
    for rule in groups.into_iter().flat_map(|group| &group.rules).filter(|rule| rule.asks_unforeseen()) {
        // A failing expression is told by the evaluation.
        for (series, value) in vector(&rule.expr, source, at_ms, &options.eval).unwrap_or_default() {
            for (_, template) in rule.templates() {
                words.text(template, &series, value);
            }
        }
    }
    asked.into_inner()
}

fn ask(query: &str, source: &dyn SeriesSource, at_ms: i64, options: &EvalOptions) -> QueryResult {
    let expr = promql::parse(query).map_err(|error| error.message)?;
    vector(&expr, source, at_ms, options)
}

/// What templates are filled with beside the alert's own data.
struct Words<'a> {
    options: &'a RuleOptions,
    query: &'a dyn Fn(&str) -> QueryResult,
}

impl Words<'_> {
    fn text(&self, template: &Template, labels: &Labels, value: f64) -> String {
        let (external_labels, external_url) = (&self.options.external_labels, &self.options.external_url);
        template.render(&TemplateData { labels, value, external_labels, external_url, query: self.query })
    }

    fn texts(&self, templates: &[(String, Template)], labels: &Labels, value: f64) -> Vec<(String, String)> {
        let text = |(name, template): &(String, Template)| (name.clone(), self.text(template, labels, value));
        templates.iter().map(text).collect()
    }
}

fn vector(
    expr: &Expr,
    source: &dyn SeriesSource,
    at_ms: i64,
    options: &EvalOptions,
) -> Result<Vec<(Labels, f64)>, String> {
    match promql::eval_instant(expr, source, at_ms, options).map_err(|error| error.to_string())? {
        Value::Vector(samples) => Ok(samples.into_iter().map(|s| (s.labels, s.value)).collect()),
        Value::Scalar(value) => Ok(vec![(Labels::default(), value)]),
        _ => Err("the expression gives neither an instant vector nor a scalar".to_owned()),
    }
}

fn record(rule: &Rule, vector: Vec<(Labels, f64)>, words: &Words<'_>, evaluation: &mut Evaluation) {
    for (series, value) in vector {
        let labels = with_rule_labels(rule, &series, value, words).with(METRIC_NAME, &rule.name);
        evaluation.recorded.push((labels, value));
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
        evaluation.cut.push(rule.name.clone());
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
