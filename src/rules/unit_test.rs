//! Unit tests of rules in promtool's format: input series, then what must fire and what expressions must give.
//!
//! Owns: the file's format ([`UnitTestFile`]), its series notation ([`notation`]), and running the tests over
//! this program's evaluator and `for` state, with the results of recording rules and `ALERTS` visible to the
//! rules after them.
//! Refuses: reading files (the caller hands in parsed rule groups), and native histograms.

mod file;
pub mod notation;

use std::collections::BTreeSet;
use std::fmt::Write as _;

pub use file::UnitTestFile;

use self::file::{AlertTest, ExprTest, TestGroup};
use super::evaluate::{RuleOptions, evaluate};
use super::file::RuleFileError;
use super::rule::{Rule, RuleGroup};
use super::state::EvalState;
use crate::model::{Finding, FindingState, Labels, METRIC_NAME, SeriesSet, stale_marker};
use crate::promql::{self, EvalOptions, Value};

/// Runs every test of `file` over `groups`, the rules of the files it names. Each string is one failure,
/// worded as promtool words it; none means that all tests pass.
///
/// # Errors
/// With every input series, expression and duration that cannot be read, at its place in the file.
pub fn run(file: &UnitTestFile, groups: &[RuleGroup]) -> Result<Vec<String>, Vec<RuleFileError>> {
    let plan = file.plan()?;
    let mut groups: Vec<&RuleGroup> = groups.iter().collect();
    groups.sort_by_key(|group| plan.order.iter().position(|name| *name == group.name).unwrap_or(0));
    let mut failures = Vec::new();
    for test in &plan.tests {
        let found = World::new(&groups).run(test, plan.evaluation_interval_ms);
        failures.extend(found.into_iter().map(|failure| match &test.name {
            Some(name) => format!("    name: {name},\n{failure}"),
            None => failure,
        }));
    }
    Ok(failures)
}

/// One rule with what its last evaluation left.
struct Running {
    /// A group of this rule alone: the rules after it read what it wrote.
    alone: RuleGroup,
    state: EvalState,
    findings: Vec<Finding>,
    /// Series it wrote last: one that is missing next time becomes stale.
    written: BTreeSet<Labels>,
}

/// Everything a test has stored so far, and the rules that go on writing to it.
struct World {
    set: SeriesSet,
    rules: Vec<Running>,
}

impl World {
    fn new(groups: &[&RuleGroup]) -> Self {
        let running = |group: &RuleGroup, rule: &Rule| Running {
            alone: RuleGroup {
                name: group.name.clone(),
                interval_ms: group.interval_ms,
                rules: vec![rule.clone()],
            },
            state: EvalState::default(),
            findings: Vec::new(),
            written: BTreeSet::new(),
        };
        let rules = groups
            .iter()
            .flat_map(|group| group.rules.iter().map(move |rule| running(group, rule)))
            .collect();
        Self { set: SeriesSet::default(), rules }
    }

    fn run(mut self, test: &TestGroup, evaluation_interval_ms: i64) -> Vec<String> {
        let alerts = test.alerts.iter().map(|alert| alert.eval_time_ms);
        let last_ms = alerts.chain(test.exprs.iter().map(|expr| expr.eval_time_ms)).max().unwrap_or(0);
        let mut failures = Vec::new();
        let mut before_ms = i64::MIN;
        let mut at_ms = 0;
        while at_ms <= last_ms {
            for (labels, samples) in &test.series {
                for (ts_ms, value) in
                    samples.iter().filter(|(ts_ms, _)| (before_ms + 1..=at_ms).contains(ts_ms))
                {
                    self.set.push(labels, *ts_ms, *value);
                }
            }
            let errors = self.evaluate(at_ms, &test.options);
            if !errors.is_empty() {
                return errors;
            }
            let next_ms = at_ms.saturating_add(evaluation_interval_ms);
            // What is asked between two evaluations is answered by the earlier one.
            for alert in test.alerts.iter().filter(|alert| (at_ms..next_ms).contains(&alert.eval_time_ms)) {
                failures.extend(self.alert_failure(alert));
            }
            (before_ms, at_ms) = (at_ms, next_ms);
        }
        failures.extend(test.exprs.iter().filter_map(|expr| self.expr_failure(expr)));
        failures
    }

    /// Every rule once, in order; what rules wrote is stored at once.
    fn evaluate(&mut self, at_ms: i64, options: &RuleOptions) -> Vec<String> {
        let mut errors = Vec::new();
        for rule in &mut self.rules {
            let found = evaluate(&rule.alone, &self.set, at_ms, &rule.state, options);
            for error in &found.errors {
                let time = duration(at_ms);
                errors.push(format!("    rule: {}, time: {time}, err: {}", error.rule, error.message));
            }
            let mut written = BTreeSet::new();
            let alerts = found.findings.iter().flat_map(alert_series);
            for (labels, value) in found.recorded.iter().cloned().chain(alerts) {
                self.set.push(&labels, at_ms, value);
                written.insert(labels);
            }
            for gone in rule.written.difference(&written) {
                self.set.push(gone, at_ms, stale_marker());
            }
            (rule.written, rule.state, rule.findings) = (written, found.state, found.findings);
        }
        errors
    }

    fn alert_failure(&self, test: &AlertTest) -> Option<String> {
        let firing = self
            .rules
            .iter()
            .flat_map(|rule| &rule.findings)
            .filter(|finding| finding.alert == test.alertname && finding.state == FindingState::Firing);
        let mut got: Vec<(Labels, Labels)> = firing
            .map(|finding| {
                let annotations = finding.annotations.iter();
                let annotations =
                    Labels::from_pairs(annotations.map(|(name, text)| (name.as_str(), text.as_str())));
                (finding.labels.clone(), annotations)
            })
            .collect();
        let mut expected = test.expected.clone();
        got.sort();
        expected.sort();
        (got != expected).then(|| {
            let time = duration(test.eval_time_ms);
            let (expected, got) = (alerts_text(&expected), alerts_text(&got));
            let name = &test.alertname;
            format!("    alertname: {name}, time: {time},\n        exp:{expected},\n        got:{got}")
        })
    }

    fn expr_failure(&self, test: &ExprTest) -> Option<String> {
        let head = format!("    expr: {:?}, time: {}", test.text, duration(test.eval_time_ms));
        let value = promql::eval_instant(&test.expr, &self.set, test.eval_time_ms, &EvalOptions::default());
        let mut got: Vec<(Labels, f64)> = match value {
            Ok(Value::Vector(samples)) => samples.into_iter().map(|s| (s.labels, s.value)).collect(),
            Ok(Value::Scalar(value)) => vec![(Labels::default(), value)],
            Ok(_) => return Some(format!("{head}, err: rule result is not a vector or scalar")),
            Err(error) => return Some(format!("{head}, err: {error}")),
        };
        let mut expected = test.expected.clone();
        got.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        // As promtool compares: a NaN equals nothing, not even the NaN that was expected.
        (got != expected).then(|| {
            format!("{head},\n        exp: {}\n        got: {}", samples_text(&expected), samples_text(&got))
        })
    }
}

/// `ALERTS` and `ALERTS_FOR_STATE`, as Prometheus stores them for every active alert.
fn alert_series(finding: &Finding) -> [(Labels, f64); 2] {
    let state = if finding.state == FindingState::Firing { "firing" } else { "pending" };
    let alerts = finding.labels.with("alertstate", state).with(METRIC_NAME, "ALERTS");
    let since_seconds = finding.active_since_ms.div_euclid(1000) as f64;
    [(alerts, 1.0), (finding.labels.with(METRIC_NAME, "ALERTS_FOR_STATE"), since_seconds)]
}

/// A time as promtool prints it: `0s`, `5m`, `1h30m`.
fn duration(at_ms: i64) -> String {
    let duration = std::time::Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
    crate::model::unit::format_duration(duration)
}

fn labels_text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn alerts_text(alerts: &[(Labels, Labels)]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let mut text = "[\n".to_owned();
    for (position, (labels, annotations)) in alerts.iter().enumerate() {
        let (labels, annotations) = (labels_text(labels), labels_text(annotations));
        let _ = writeln!(text, "            {position}:\n              Labels:{labels}");
        let _ = writeln!(text, "              Annotations:{annotations}");
    }
    text + "            ]"
}

fn samples_text(samples: &[(Labels, f64)]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let each: Vec<String> =
        samples.iter().map(|(labels, value)| format!("{} {value:E}", labels_text(labels))).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::parse;

    const RULES: &str = "groups:\n- name: g\n  rules:\n  - record: job:up:sum\n    expr: sum by (job) (up)\n  \
        - alert: Down\n    expr: job:up:sum == 0\n    for: 2m\n    annotations: {summary: 'down {{ $value }}'}\n";

    fn failures(tests: &str) -> Vec<String> {
        let text = format!("rule_files: [r.yaml]\nevaluation_interval: 1m\ntests:\n{tests}");
        let file = UnitTestFile::parse("t.yaml", &text).unwrap_or_else(|error| panic!("{error:?}"));
        run(&file, &parse("r.yaml", RULES).expect("valid")).unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    fn one(checks: &str) -> Vec<String> {
        failures(&format!(
            "- interval: 1m\n  input_series:\n  - {{series: 'up{{job=\"a\"}}', values: '1 0x5 1 stale'}}\n{checks}"
        ))
    }

    #[test]
    fn an_alert_fires_when_its_time_has_come() {
        let fires = "    exp_alerts:\n    - {exp_labels: {job: a}, exp_annotations: {summary: down 0}}\n";
        for (time, expected) in [("0", ""), ("2m30s", ""), ("3m", fires), ("3m59s", fires), ("7m", "")] {
            let test = format!("  alert_rule_test:\n  - alertname: Down\n    eval_time: {time}\n");
            assert_eq!(one(&format!("{test}{expected}")), Vec::<String>::new(), "{time}");
            let wrong = if expected.is_empty() { fires } else { "" };
            assert_eq!(one(&format!("{test}{wrong}")).len(), 1, "{time}");
        }
    }

    #[test]
    fn expressions_see_what_rules_wrote_and_when_it_ended() {
        for (expr, time, samples, passes) in [
            ("job:up:sum", "0s", "{labels: 'job:up:sum{job=\"a\"}', value: 1}", true),
            ("job:up:sum", "1m", "{labels: 'job:up:sum{job=\"a\"}', value: 1}", false),
            ("count(up)", "5m", "{labels: '{}', value: 1}", true),
            ("job:up:sum", "8m", "", true),
            ("ALERTS{alertstate=\"pending\"}", "3m", "", true),
            ("count(ALERTS{alertstate=\"firing\"})", "3m", "{labels: '{}', value: 1}", true),
            ("ALERTS_FOR_STATE + 0", "3m", "{labels: '{alertname=\"Down\",job=\"a\"}', value: 60}", true),
            ("1 + 1", "0", "{labels: '', value: 2}", true),
        ] {
            let test = format!(
                "  promql_expr_test:\n  - expr: '{expr}'\n    eval_time: {time}\n    exp_samples: [{samples}]\n"
            );
            assert_eq!(one(&test).is_empty(), passes, "{expr} at {time}: {:#?}", one(&test));
        }
    }
}
