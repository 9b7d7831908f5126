//! The text of a unit-test file, and the plan read from it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::notation;
use crate::model::Labels;
use crate::model::unit::parse_duration;
use crate::promql::{self, Expr};
use crate::rules::RuleOptions;
use crate::rules::file::{RuleFileError, yaml_error};

/// How often rules are evaluated when the file does not say: Prometheus' default.
const EVALUATION_INTERVAL_MS: i64 = 60_000;

/// A unit-test file as written.
pub struct UnitTestFile {
    name: String,
    text: FileText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    rule_files: Vec<String>,
    evaluation_interval: Option<Spanned<String>>,
    #[serde(default)]
    group_eval_order: Vec<String>,
    #[serde(default)]
    tests: Vec<TestText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestText {
    interval: Option<Spanned<String>>,
    #[serde(default)]
    input_series: Vec<SeriesText>,
    #[serde(default)]
    alert_rule_test: Vec<AlertText>,
    #[serde(default)]
    promql_expr_test: Vec<ExprText>,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    #[serde(default)]
    external_url: String,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesText {
    series: Spanned<String>,
    values: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertText {
    eval_time: Option<Spanned<String>>,
    alertname: String,
    #[serde(default)]
    exp_alerts: Option<Vec<ExpectedAlertText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAlertText {
    #[serde(default)]
    exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExprText {
    expr: Spanned<String>,
    eval_time: Option<Spanned<String>>,
    #[serde(default)]
    exp_samples: Option<Vec<SampleText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleText {
    labels: Spanned<String>,
    value: f64,
}

/// The tests, ready to run.
pub(super) struct Plan {
    pub(super) evaluation_interval_ms: i64,
    pub(super) order: Vec<String>,
    pub(super) tests: Vec<TestGroup>,
}

pub(super) struct TestGroup {
    pub(super) name: Option<String>,
    /// `$externalLabels` and `$externalURL`.
    pub(super) options: RuleOptions,
    pub(super) series: Vec<(Labels, Vec<(i64, f64)>)>,
    pub(super) alerts: Vec<AlertTest>,
    pub(super) exprs: Vec<ExprTest>,
}

pub(super) struct AlertTest {
    pub(super) alertname: String,
    pub(super) eval_time_ms: i64,
    /// Labels (the alert's name among them) and annotations.
    pub(super) expected: Vec<(Labels, Labels)>,
}

pub(super) struct ExprTest {
    pub(super) text: String,
    pub(super) expr: Expr,
    pub(super) eval_time_ms: i64,
    pub(super) expected: Vec<(Labels, f64)>,
}

impl UnitTestFile {
    /// Reads the YAML; `name` names the file in errors.
    ///
    /// # Errors
    /// The first thing that is no unit-test file, with its place.
    pub fn parse(name: &str, text: &str) -> Result<Self, RuleFileError> {
        let text = serde_saphyr::from_str(text).map_err(|error| yaml_error(name, &error))?;
        Ok(Self { name: name.to_owned(), text })
    }

    /// The rule files as written: relative to the file, `*` and `?` allowed in the last part.
    pub fn rule_files(&self) -> &[String] {
        &self.text.rule_files
    }

    pub(super) fn plan(&self) -> Result<Plan, Vec<RuleFileError>> {
        let mut reader = Reader { file: &self.name, errors: Vec::new() };
        let interval = self.text.evaluation_interval.as_ref();
        let written_ms = interval.map_or(0, |text| reader.ms(text));
        let evaluation_interval_ms = if written_ms == 0 { EVALUATION_INTERVAL_MS } else { written_ms };
        let tests = self.text.tests.iter().map(|test| reader.test(test, evaluation_interval_ms)).collect();
        let order = self.text.group_eval_order.clone();
        if reader.errors.is_empty() {
            Ok(Plan { evaluation_interval_ms, order, tests })
        } else {
            Err(reader.errors)
        }
    }
}

fn labels_of(pairs: &BTreeMap<String, String>) -> Labels {
    Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

struct Reader<'a> {
    file: &'a str,
    errors: Vec<RuleFileError>,
}

impl Reader<'_> {
    fn fail(&mut self, at: &Spanned<String>, message: String) {
        let (line, column) = (at.referenced.line(), at.referenced.column());
        self.errors.push(RuleFileError { file: self.file.to_owned(), line, column, message });
    }

    fn or_fail<T: Default>(&mut self, at: &Spanned<String>, read: Result<T, String>) -> T {
        read.unwrap_or_else(|message| {
            self.fail(at, message);
            T::default()
        })
    }

    fn ms(&mut self, text: &Spanned<String>) -> i64 {
        let read = parse_duration(&text.value).map_err(|error| error.to_string());
        i64::try_from(self.or_fail(text, read).as_millis()).unwrap_or(i64::MAX)
    }

    fn time_ms(&mut self, text: &Option<Spanned<String>>) -> i64 {
        text.as_ref().map_or(0, |text| self.ms(text))
    }

    fn test(&mut self, test: &TestText, evaluation_interval_ms: i64) -> TestGroup {
        let written_ms = self.time_ms(&test.interval);
        let interval_ms = if written_ms == 0 { evaluation_interval_ms } else { written_ms };
        let series = test.input_series.iter().map(|series| self.series(series, interval_ms)).collect();
        let alerts = test.alert_rule_test.iter().map(|alert| self.alert(alert)).collect();
        let exprs = test.promql_expr_test.iter().filter_map(|expr| self.expr(expr)).collect();
        let options = RuleOptions {
            external_labels: labels_of(&test.external_labels),
            external_url: test.external_url.clone(),
            ..RuleOptions::default()
        };
        TestGroup { name: test.name.clone(), options, series, alerts, exprs }
    }

    fn series(&mut self, text: &SeriesText, interval_ms: i64) -> (Labels, Vec<(i64, f64)>) {
        let labels = self.or_fail(&text.series, notation::labels(&text.series.value));
        let samples = self.or_fail(&text.values, notation::samples(&text.values.value));
        let times = (0_i64..).map(|position| position.saturating_mul(interval_ms));
        (labels, times.zip(samples).filter_map(|(ts_ms, value)| Some((ts_ms, value?))).collect())
    }

    fn alert(&mut self, text: &AlertText) -> AlertTest {
        let expected = text.exp_alerts.iter().flatten().map(|alert| {
            (
                labels_of(&alert.exp_labels).with("alertname", &text.alertname),
                labels_of(&alert.exp_annotations),
            )
        });
        let expected = expected.collect();
        let eval_time_ms = self.time_ms(&text.eval_time);
        AlertTest { alertname: text.alertname.clone(), eval_time_ms, expected }
    }

    fn expr(&mut self, text: &ExprText) -> Option<ExprTest> {
        let eval_time_ms = self.time_ms(&text.eval_time);
        let mut expected = Vec::new();
        for sample in text.exp_samples.iter().flatten() {
            expected
                .push((self.or_fail(&sample.labels, notation::labels(&sample.labels.value)), sample.value));
        }
        match promql::parse(&text.expr.value) {
            Ok(expr) => Some(ExprTest { text: text.expr.value.clone(), expr, eval_time_ms, expected }),
            Err(error) => {
                let place = format!("line {} column {}", error.line, error.column);
                self.fail(&text.expr, format!("expr, {place}: {}", error.message));
                None
            }
        }
    }
}
