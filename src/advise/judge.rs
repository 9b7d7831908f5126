//! What every rule says of a cluster now, and which finding explains which.

use std::collections::BTreeMap;

use super::fact::{self, Asked, Fact, Known, Sources};
use super::rule::{Condition, Rule, rules};
use crate::model::{ClusterName, Evidence, SeriesSource};
use crate::promql::{self, EvalError, EvalOptions, Value};

/// What one rule says.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// There is something to change.
    Found(Found),
    /// There is nothing: what was seen.
    Passed(String),
    /// Nobody can say.
    Unknown,
}

/// Something to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The worst first.
    pub evidence: Vec<Evidence>,
    /// What the commands' `{suggested}` stands for.
    pub suggested: String,
    /// How far beyond the limit the worst is: 1 at the limit.
    pub excess: f64,
    /// The rule that explains it.
    pub caused_by: Option<&'static str>,
}

/// What all rules say.
#[derive(Debug, Clone)]
pub struct Judged {
    pub cluster: ClusterName,
    /// ms since the epoch.
    pub now_ms: i64,
    /// Where the members are reached, for commands.
    pub endpoints: String,
    /// Where those members keep their log of whom that is known.
    pub directories: BTreeMap<String, String>,
    /// In the rules' order.
    pub outcomes: Vec<(&'static Rule, Outcome)>,
}

impl Judged {
    /// What was found, the most important first: what nothing else explains, by weight; then what something explains.
    pub fn found(&self) -> Vec<(&'static Rule, &Found)> {
        let mut found: Vec<(&'static Rule, &Found)> = self
            .outcomes
            .iter()
            .filter_map(|(rule, outcome)| match outcome {
                Outcome::Found(found) => Some((*rule, found)),
                Outcome::Passed(_) | Outcome::Unknown => None,
            })
            .collect();
        found.sort_by(|(one, a), (other, b)| {
            let explained = a.caused_by.is_some().cmp(&b.caused_by.is_some());
            let heavier = other.weight.cmp(&one.weight);
            explained.then(heavier).then(b.excess.total_cmp(&a.excess)).then(one.id.cmp(&other.id))
        });
        found
    }
}

/// One value that a rule measured.
struct Measured {
    subject: String,
    number: Option<f64>,
    word: String,
    said: String,
    shown_by: String,
    suggested: String,
}

/// Judges every rule over `series`, which holds what [`super::questions`] select, and `sources`.
///
/// # Errors
/// When a query cannot be evaluated: the limit of samples is reached, or something was not loaded.
pub fn judge(
    cluster: &ClusterName,
    sources: &Sources<'_>,
    series: &dyn SeriesSource,
    now_ms: i64,
    options: &EvalOptions,
) -> Result<Judged, EvalError> {
    let asked = asked(cluster, series, now_ms, options)?;
    let facts = fact::all(&Known { cluster, now_ms, sources, asked: &asked });
    let mut by_key: BTreeMap<&str, Vec<&Fact>> = BTreeMap::new();
    for fact in &facts {
        by_key.entry(&fact.key).or_default().push(fact);
    }
    let outcome = |rule: &'static Rule| {
        let measured = match rule.fact.as_deref() {
            Some(key) => by_key.get(key).into_iter().flatten().map(|fact| of_fact(fact)).collect(),
            None => of_query(rule, cluster, &asked),
        };
        (rule, of_rule(rule, measured))
    };
    let mut outcomes: Vec<(&'static Rule, Outcome)> = rules().iter().map(outcome).collect();
    explain(&mut outcomes);
    let endpoints: Vec<&str> = sources.rows.iter().map(|row| row.instance.as_str()).collect();
    let endpoints = endpoints.join(",");
    Ok(Judged { cluster: cluster.clone(), now_ms, endpoints, directories: directories(sources), outcomes })
}

fn directories(sources: &Sources<'_>) -> BTreeMap<String, String> {
    let set = sources.settings.iter().filter_map(|(instance, settings)| {
        let folder = settings.get("wal-dir").or_else(|| settings.get("data-dir"))?;
        Some((instance.to_string(), folder.clone()))
    });
    let runs = sources.disks.iter().map(|standing| &standing.newest);
    let checked = runs.filter_map(|run| Some((run.instance.as_ref()?.to_string(), run.directory.clone())));
    let here = sources.locals.iter().map(|local| (local.instance.to_string(), local.directory.clone()));
    set.chain(checked).chain(here).collect()
}

/// What the queries give.
fn asked(
    cluster: &ClusterName,
    series: &dyn SeriesSource,
    now_ms: i64,
    options: &EvalOptions,
) -> Result<Asked, EvalError> {
    let mut asked = Asked::new();
    // A test parses all of them.
    for (rule, expr) in super::questions(cluster).unwrap_or_default() {
        let values = match promql::eval_instant(&expr, series, now_ms, options)? {
            Value::Vector(samples) => samples,
            Value::Scalar(_) | Value::String(_) | Value::Matrix(_) => Vec::new(),
        };
        let named = values.into_iter().filter(|sample| !sample.value.is_nan()).map(|sample| {
            let instance = sample.labels.get("instance").unwrap_or(cluster.as_str()).to_owned();
            (instance, sample.value)
        });
        asked.insert(&rule.id, named.collect());
    }
    Ok(asked)
}

fn of_query(rule: &'static Rule, cluster: &ClusterName, asked: &Asked) -> Vec<Measured> {
    let (Some(values), Some(query)) = (asked.get(rule.id.as_str()), rule.query_of(cluster)) else {
        return Vec::new();
    };
    let limit = match rule.condition() {
        Condition::Above(limit) | Condition::Below(limit) => rule.unit.text(limit),
        Condition::Is(_) => String::new(),
    };
    let said = rule.said.as_deref().unwrap_or_default();
    let measured = |(subject, value): &(String, f64)| Measured {
        subject: subject.clone(),
        number: Some(*value),
        word: String::new(),
        said: said.replace("{value}", &text(rule, *value)).replace("{limit}", &limit),
        shown_by: rule.shown_by(&query),
        suggested: String::new(),
    };
    values.iter().map(measured).collect()
}

/// A value for people; what is counted is whole, or nearly so.
fn text(rule: &Rule, value: f64) -> String {
    use crate::model::catalogue::Unit;
    match rule.unit {
        Unit::Seconds if value.is_infinite() => "never".to_owned(),
        // Above an hour people think in days.
        Unit::Seconds if value.abs() >= 3_600.0 => crate::model::unit::human_span((value * 1e3) as i64),
        Unit::Count if value >= 10.0 => crate::model::unit::three_digits(value.round()),
        unit => unit.text(value),
    }
}

fn of_fact(fact: &Fact) -> Measured {
    Measured {
        subject: fact.subject.clone(),
        number: fact.number,
        word: fact.word.clone(),
        said: fact.said.clone(),
        shown_by: fact.shown_by.clone(),
        suggested: fact.suggested.clone(),
    }
}

fn of_rule(rule: &Rule, mut measured: Vec<Measured>) -> Outcome {
    measured.sort_by(|one, other| {
        let excess = |of: &Measured| badness(rule, of);
        excess(other).total_cmp(&excess(one)).then(one.subject.cmp(&other.subject))
    });
    let is_found = |of: &&Measured| rule.is_found(of.number, &of.word);
    let Some(worst) = measured.first() else { return Outcome::Unknown };
    let Some(first) = measured.iter().find(is_found) else {
        return Outcome::Passed(rule.passed.clone().unwrap_or_else(|| worst.said.clone()));
    };
    let evidence = |of: &Measured| Evidence {
        subject: of.subject.clone(),
        text: of.said.clone(),
        value: of.number,
        shown_by: of.shown_by.clone(),
    };
    Outcome::Found(Found {
        suggested: first.suggested.clone(),
        excess: rule.excess(first.number),
        evidence: measured.iter().filter(is_found).map(evidence).collect(),
        caused_by: None,
    })
}

/// Larger is worse.
fn badness(rule: &Rule, of: &Measured) -> f64 {
    match (rule.condition(), of.number) {
        (Condition::Above(_), Some(value)) => value,
        (Condition::Below(_), Some(value)) => -value,
        (Condition::Is(words), _) => words.contains(&of.word).into(),
        (_, None) => f64::NEG_INFINITY,
    }
}

/// Says of everything that was found which other finding explains it: the weightiest that claims to.
fn explain(outcomes: &mut [(&'static Rule, Outcome)]) {
    let found: Vec<&'static Rule> = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Found(_)))
        .map(|(rule, _)| *rule)
        .collect();
    for (rule, outcome) in outcomes {
        let Outcome::Found(of_it) = outcome else { continue };
        let claims = found.iter().filter(|other| other.explains.contains(&rule.id));
        of_it.caused_by = claims.max_by_key(|other| other.weight).map(|other| other.id.as_str());
    }
}
