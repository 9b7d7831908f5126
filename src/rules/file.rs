//! Reading rule files: Prometheus' format, every error with its place, all errors of a file at once.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::rule::{Reach, Rule, RuleGroup, RuleKind};
use super::template::Template;
use crate::model::unit::{UnitError, parse_duration};
use crate::promql;

/// One thing that is wrong with a rule file. `line` and `column` count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct RuleFileError {
    pub file: String,
    pub line: u64,
    pub column: u64,
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    groups: Vec<GroupText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText {
    name: Spanned<String>,
    interval: Option<Spanned<String>>,
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    alert: Option<Spanned<String>>,
    record: Option<Spanned<String>>,
    expr: Spanned<String>,
    #[serde(rename = "for")]
    held_for: Option<Spanned<String>>,
    keep_firing_for: Option<Spanned<String>>,
    #[serde(default)]
    labels: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    annotations: BTreeMap<String, Spanned<String>>,
}

/// Reads a rule file; `file` names it in errors.
///
/// # Errors
/// The first error of the YAML itself (an unknown key among them), or else every error of the rules.
pub fn parse(file: &str, text: &str) -> Result<Vec<RuleGroup>, Vec<RuleFileError>> {
    let parsed: FileText = serde_saphyr::from_str(text).map_err(|error| vec![yaml_error(file, &error)])?;
    let mut reader = Reader { file, text, errors: Vec::new() };
    let mut groups: Vec<RuleGroup> = Vec::new();
    for group in parsed.groups {
        if groups.iter().any(|there| there.name == group.name.value) {
            reader.fail(&group.name, format!("a second group has the name {:?}", group.name.value));
        }
        let interval_ms = group.interval.as_ref().map(|interval| reader.duration_ms(interval));
        let rules = group.rules.into_iter().filter_map(|rule| reader.rule(rule)).collect();
        groups.push(RuleGroup { name: group.name.value, interval_ms, rules });
    }
    if reader.errors.is_empty() { Ok(groups) } else { Err(reader.errors) }
}

/// What the YAML reader refuses, at its place in `file`.
pub(super) fn yaml_error(file: &str, error: &serde_saphyr::Error) -> RuleFileError {
    let place = error.location();
    RuleFileError {
        file: file.to_owned(),
        line: place.map_or(1, |place| place.line()),
        column: place.map_or(1, |place| place.column()),
        message: without_place(&error.without_snippet().to_string()),
    }
}

/// The YAML reader's sentence without its " at line L, column C": the error says the place first.
fn without_place(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(sentence, _)| sentence).to_owned()
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    errors: Vec<RuleFileError>,
}

impl Reader<'_> {
    fn fail(&mut self, at: &Spanned<String>, message: String) {
        let (line, column) = (at.referenced.line(), at.referenced.column());
        self.errors.push(RuleFileError { file: self.file.to_owned(), line, column, message });
    }

    fn duration_ms(&mut self, text: &Spanned<String>) -> i64 {
        match parse_duration(&text.value) {
            Ok(duration) => i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
            Err(error) => {
                let error: UnitError = error;
                self.fail(text, error.to_string());
                0
            }
        }
    }

    /// Their `query`s go to `queries`.
    fn templates(
        &mut self,
        texts: &BTreeMap<String, Spanned<String>>,
        queries: &mut Vec<promql::Expr>,
    ) -> Vec<(String, Template)> {
        let mut templates = Vec::new();
        for (name, text) in texts {
            if !is_label_name(name) {
                self.fail(text, format!("{name:?} is not a label name"));
            }
            match Template::parse(&text.value) {
                Ok(template) => {
                    queries.extend(self.queries(text, &template));
                    templates.push((name.clone(), template));
                }
                Err(error) => self.fail(text, format!("{name}: {error}")),
            }
        }
        templates
    }

    /// The expressions that a template asks for as they stand.
    fn queries(&mut self, text: &Spanned<String>, template: &Template) -> Vec<promql::Expr> {
        let mut exprs = Vec::new();
        for query in template.queries().into_iter().flatten() {
            match promql::parse(query) {
                Ok(expr) => exprs.push(expr),
                Err(error) => self.fail(text, format!("query {query:?}: {}", error.message)),
            }
        }
        exprs
    }

    fn rule(&mut self, rule: RuleText) -> Option<Rule> {
        let before = self.errors.len();
        let name = match (&rule.alert, &rule.record) {
            (Some(alert), None) => Some(alert.value.clone()),
            (None, Some(record)) => {
                if !is_metric_name(&record.value) {
                    self.fail(record, format!("{:?} is not a metric name", record.value));
                }
                for (key, there) in [("for", &rule.held_for), ("keep_firing_for", &rule.keep_firing_for)] {
                    if let Some(text) = there {
                        self.fail(text, format!("a recording rule has no {key}"));
                    }
                }
                if let Some(text) = rule.annotations.values().next() {
                    self.fail(text, "a recording rule has no annotations".to_owned());
                }
                Some(record.value.clone())
            }
            (alert, _) => {
                let what = if alert.is_some() { "both alert and record" } else { "neither alert nor record" };
                self.fail(&rule.expr, format!("the rule has {what}; it needs one of them"));
                None
            }
        };
        let mut ms = |text: &Option<Spanned<String>>| text.as_ref().map_or(0, |text| self.duration_ms(text));
        let (for_ms, keep_firing_for_ms) = (ms(&rule.held_for), ms(&rule.keep_firing_for));
        let mut queries = Vec::new();
        let labels = self.templates(&rule.labels, &mut queries);
        let annotations = self.templates(&rule.annotations, &mut queries);
        for name in ["alertname", "__name__"].iter().filter_map(|name| rule.labels.get(*name)) {
            self.fail(name, "a rule cannot set alertname or __name__".to_owned());
        }
        let expr = self.expression(&rule.expr);
        let kind = match rule.record {
            Some(_) => RuleKind::Record,
            None => RuleKind::Alert { for_ms, keep_firing_for_ms, annotations },
        };
        let line = rule.expr.referenced.line();
        let whole = self.errors.len() == before;
        let (name, expr) = (name?, expr?);
        whole.then_some(Rule {
            name,
            kind,
            expr,
            expr_text: rule.expr.value,
            labels,
            queries,
            line,
            clusters: Reach::All,
        })
    }

    fn expression(&mut self, text: &Spanned<String>) -> Option<promql::Expr> {
        match promql::parse(&text.value) {
            Ok(expr) => Some(expr),
            Err(error) => {
                // The place within the expression, and within the file where the expression's lines are
                // the file's: in a block scalar its first line is the one below the indicator.
                let first = text.referenced.line();
                let (line, column) =
                    (u64::try_from(error.line).unwrap_or(1), u64::try_from(error.column).unwrap_or(1));
                let start = usize::try_from(first.saturating_sub(1)).unwrap_or(0);
                let written = self.text.lines().nth(start).unwrap_or("");
                let is_block =
                    written.trim_end().ends_with(['|', '>', '-', '+']) && text.value.contains('\n');
                let below = if is_block { line } else { line.saturating_sub(1) };
                self.errors.push(RuleFileError {
                    file: self.file.to_owned(),
                    line: first.saturating_add(below),
                    column: text.referenced.column(),
                    message: format!("expr, line {line} column {column}: {}", error.message),
                });
                None
            }
        }
    }
}

fn is_label_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_metric_name(name: &str) -> bool {
    is_label_name(&name.replace(':', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_groups() {
        let text = "groups:\n- name: g\n  interval: 30s\n  rules:\n  - alert: A\n    expr: up == 0\n    for: 1m\n    \
            keep_firing_for: 5m\n    labels: {severity: critical}\n    annotations: {summary: '{{ $labels.instance }}'}\n  \
            - record: a:b\n    expr: sum(up)\n";
        let groups = parse("g.yaml", text).expect("valid");
        assert_eq!(
            (groups[0].name.as_str(), groups[0].interval_ms, groups[0].rules.len()),
            ("g", Some(30_000), 2)
        );
        let rule = &groups[0].rules[0];
        assert_eq!((rule.name.as_str(), rule.line), ("A", 6));
        assert!(matches!(rule.kind, RuleKind::Alert { for_ms: 60_000, keep_firing_for_ms: 300_000, .. }));
        assert!(matches!(groups[0].rules[1].kind, RuleKind::Record));
    }

    #[test]
    fn errors_name_their_place_and_come_at_once() {
        let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(\n    for: 1 minute\n  - alert: B\n    \
            expr: up\n    annotations: {summary: '{{ $value | shout }}'}\n  - expr: up\n  - alert: C\n    expr: nope(up)\n";
        let errors = parse("g.yaml", text).expect_err("five errors");
        let lines: Vec<u64> = errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [6, 5, 9, 10, 12], "{errors:#?}");
        assert!(errors[2].message.contains("shout"), "{}", errors[2]);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    fro: 1m\n";
        let errors = parse("g.yaml", text).expect_err("a typo");
        assert_eq!(errors[0].line, 6, "{errors:?}");
        assert!(errors[0].message.contains("fro"), "{errors:?}");
    }
}
