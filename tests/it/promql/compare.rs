//! One query, two answers, and what differs between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use etcd_monitor::model::{Labels, Selection, Series, SeriesSet, SeriesSource, SourceError};
use etcd_monitor::promql::{self, EvalOptions, EvalRange, json};
use serde_json::Value as Json;

use crate::prometheus::Prometheus;

/// Relative difference of two values that are still the same: the order of floating point additions.
const TOLERANCE: f64 = 1e-9;
/// A test prints this many mismatches, then only counts.
const PRINTED_MAX: usize = 20;

/// What Prometheus 2.42 says of a string in parentheses and of a pinned range in parentheses, which its grammar
/// allows.
const THEIR_FAULTS: [&str; 2] =
    ["unexpected result in StepInvariantExpr evaluation", "unexpected number of samples"];

/// A `data` object, or an error's text.
type Answer = Result<Json, String>;

/// Gives only what was announced, as a caller that loads series beforehand does.
struct Announced<'a> {
    series: &'a SeriesSet,
    selections: Vec<Selection>,
}

impl SeriesSource for Announced<'_> {
    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Series>>, SourceError> {
        if !self.selections.contains(selection) {
            return Err(SourceError::NotLoaded { selection: format!("{selection:?}") });
        }
        self.series.select(selection)
    }
}

pub struct Comparison<'a> {
    prometheus: &'a Prometheus,
    series: &'a SeriesSet,
    seed: u64,
    compared: usize,
    with_values: usize,
    errors: usize,
    mismatches: Vec<String>,
}

impl<'a> Comparison<'a> {
    pub fn new(prometheus: &'a Prometheus, series: &'a SeriesSet, seed: u64) -> Self {
        Self { prometheus, series, seed, compared: 0, with_values: 0, errors: 0, mismatches: Vec::new() }
    }

    pub fn instant(&mut self, query: &str, at_ms: i64) {
        let theirs = self.prometheus.instant(query, at_ms);
        let range = EvalRange::instant(at_ms);
        let ours = self.ours(query, &range, |expr, source, options| {
            let value = promql::eval_instant(expr, source, at_ms, options).map_err(|e| e.to_string())?;
            Ok(json::instant(&value, at_ms))
        });
        self.check(query, &format!("at {at_ms}"), &ours, &theirs);
    }

    pub fn range(&mut self, query: &str, range: &EvalRange) {
        let theirs = self.prometheus.range(query, range.start_ms, range.end_ms, range.step_ms);
        let ours = self.ours(query, range, |expr, source, options| {
            let series = promql::eval_range(expr, source, range, options).map_err(|e| e.to_string())?;
            Ok(json::range(&series))
        });
        self.check(query, &format!("over {range:?}"), &ours, &theirs);
    }

    fn ours(
        &self,
        query: &str,
        range: &EvalRange,
        eval: impl Fn(&promql::Expr, &dyn SeriesSource, &EvalOptions) -> Answer,
    ) -> Answer {
        let options = EvalOptions::default();
        let expr = promql::parse(query).map_err(|error| error.to_string())?;
        let again = promql::parse(&expr.to_string()).map_err(|error| format!("{expr}: {error}"))?;
        assert_eq!(again, expr, "printing and parsing changes {query}");
        let selections = promql::selections(&expr, range, &options);
        eval(&expr, &Announced { series: self.series, selections }, &options)
    }

    fn check(&mut self, query: &str, when: &str, ours: &Answer, theirs: &Answer) {
        self.compared += 1;
        if matches!(theirs, Err(error) if THEIR_FAULTS.iter().any(|fault| error.contains(fault))) {
            return;
        }
        let difference = match (ours, theirs) {
            (Err(_), Err(_)) => {
                self.errors += 1;
                return;
            }
            (Ok(ours), Ok(theirs)) => {
                self.with_values += usize::from(theirs["result"].as_array().is_some_and(|r| !r.is_empty()));
                difference(ours, theirs)
            }
            _ => Some("one is an error".to_owned()),
        };
        if let Some(difference) = difference {
            let show = |answer: &Answer| {
                let text = match answer {
                    Ok(json) => json.to_string(),
                    Err(error) => format!("error: {error}"),
                };
                text.chars().take(1500).collect::<String>()
            };
            let seed = self.seed;
            self.mismatches.push(format!(
                "{query}\n  {when}, series of seed {seed}: {difference}\n  ours:   {}\n  theirs: {}\n",
                show(ours),
                show(theirs)
            ));
        }
    }

    /// Fails with the mismatches, or when so few queries gave values that the comparison says little.
    pub fn finish(self) {
        self.refuse_mismatches();
        let (with_values, compared) = (self.with_values, self.compared);
        assert!(with_values * 10 > compared * 6, "only {with_values} of {compared} queries gave values");
    }

    /// As [`Self::finish`], for queries of which many are wrong, but not nearly all.
    pub fn finish_with_errors(self) {
        self.refuse_mismatches();
        let (errors, with_values, compared) = (self.errors, self.with_values, self.compared);
        assert!(errors * 10 > compared * 4, "only {errors} of {compared} queries are errors");
        assert!(with_values * 20 > compared, "only {with_values} of {compared} queries gave values");
    }

    fn refuse_mismatches(&self) {
        let shown =
            self.mismatches.iter().take(PRINTED_MAX).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(
            self.mismatches.is_empty(),
            "{} of {} queries differ:\n{shown}",
            self.mismatches.len(),
            self.compared
        );
    }
}

fn difference(ours: &Json, theirs: &Json) -> Option<String> {
    if ours["resultType"] != theirs["resultType"] {
        return Some("the result's type".to_owned());
    }
    if !matches!(theirs["resultType"].as_str(), Some("vector" | "matrix")) {
        return points(&ours["result"], &theirs["result"]);
    }
    let (ours, theirs) = (by_labels(ours), by_labels(theirs));
    if !ours.keys().eq(theirs.keys()) {
        let only = |a: &BTreeMap<Labels, &Json>, b: &BTreeMap<Labels, &Json>| {
            a.keys().filter(|key| !b.contains_key(*key)).map(ToString::to_string).collect::<Vec<_>>()
        };
        return Some(format!("only ours {:?}, only theirs {:?}", only(&ours, &theirs), only(&theirs, &ours)));
    }
    ours.iter().zip(theirs.values()).find_map(|((labels, ours), theirs)| {
        let found = if theirs["values"].is_null() {
            points(&ours["value"], &theirs["value"])
        } else {
            let (ours, theirs) = (ours["values"].as_array()?, theirs["values"].as_array()?);
            let pair = ours.iter().zip(theirs).find_map(|(ours, theirs)| points(ours, theirs));
            pair.or_else(|| (ours.len() != theirs.len()).then(|| "the number of points".to_owned()))
        };
        found.map(|found| format!("{labels}: {found}"))
    })
}

fn by_labels(data: &Json) -> BTreeMap<Labels, &Json> {
    let series = data["result"].as_array().expect("a list of series");
    let labels = |json: &Json| serde_json::from_value(json["metric"].clone()).expect("labels");
    let by_labels: BTreeMap<_, _> = series.iter().map(|series| (labels(series), series)).collect();
    assert_eq!(by_labels.len(), series.len(), "a label set appears twice in {data}");
    by_labels
}

/// What differs between two `[time, "value"]`.
fn points(ours: &Json, theirs: &Json) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let value = |point: &Json| point[1].as_str().and_then(|text| text.parse::<f64>().ok());
    if ours[0].as_f64() == theirs[0].as_f64()
        && let (Some(a), Some(b)) = (value(ours), value(theirs))
        && (a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()))
    {
        return None;
    }
    Some(format!("{ours} is not {theirs}"))
}
