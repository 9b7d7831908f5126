//! What templates say in an evaluation, and what they ask for.

use std::cell::RefCell;

use super::rule::{RuleGroup, Within};
use super::template::{QueryResult, Template, TemplateData};
use crate::model::{Labels, Selection, SeriesSource};
use crate::promql::{self, EvalOptions, EvalRange, Expr, Value};

/// How rules are evaluated, and what their templates may say beside the alert's own data.
#[derive(Debug, Clone, Default)]
pub struct RuleOptions {
    pub eval: EvalOptions,
    /// `$externalLabels`. Not added to alerts.
    pub external_labels: Labels,
    /// `$externalURL`.
    pub external_url: String,
}

/// What templates are filled with beside the alert's own data.
pub(super) struct Words<'a> {
    pub options: &'a RuleOptions,
    pub query: &'a dyn Fn(&str) -> QueryResult,
}

impl Words<'_> {
    pub(super) fn text(&self, template: &Template, labels: &Labels, value: f64) -> String {
        let (external_labels, external_url) = (&self.options.external_labels, &self.options.external_url);
        template.render(&TemplateData { labels, value, external_labels, external_url, query: self.query })
    }

    pub(super) fn texts(
        &self,
        templates: &[(String, Template)],
        labels: &Labels,
        value: f64,
    ) -> Vec<(String, String)> {
        let text = |(name, template): &(String, Template)| (name.clone(), self.text(template, labels, value));
        templates.iter().map(text).collect()
    }
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
        let reach = Within { source, clusters: &rule.clusters };
        // A failing expression is told by the evaluation.
        for (series, value) in vector(&rule.expr, &reach, at_ms, &options.eval).unwrap_or_default() {
            for (_, template) in rule.templates() {
                words.text(template, &series, value);
            }
        }
    }
    asked.into_inner()
}

/// The answer to a template's `query`.
pub(super) fn ask(query: &str, source: &dyn SeriesSource, at_ms: i64, options: &EvalOptions) -> QueryResult {
    let expr = promql::parse(query).map_err(|error| error.message)?;
    vector(&expr, source, at_ms, options)
}

/// Series and their values now.
pub(super) fn vector(
    expr: &Expr,
    source: &dyn SeriesSource,
    at_ms: i64,
    options: &EvalOptions,
) -> QueryResult {
    match promql::eval_instant(expr, source, at_ms, options).map_err(|error| error.to_string())? {
        Value::Vector(samples) => Ok(samples.into_iter().map(|s| (s.labels, s.value)).collect()),
        Value::Scalar(value) => Ok(vec![(Labels::default(), value)]),
        _ => Err("the expression gives neither an instant vector nor a scalar".to_owned()),
    }
}
