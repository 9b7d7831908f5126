//! How well a cluster is, from 0 to 100: six terms that lose points for what is found in them.
//!
//! A term of which nothing is known does not count: the score is of what is. What is ignored loses no points, for somebody
//! took it on knowingly.

use std::collections::BTreeSet;

use super::judge::{Judged, Outcome};
use super::rule::Term;
use crate::model::{HealthScore, LostPoints, ScoreTerm};

/// The score; `ignored` are the rules that somebody decided to live with.
pub fn score(judged: &Judged, ignored: &BTreeSet<&str>) -> HealthScore {
    let terms: Vec<ScoreTerm> = Term::ALL.into_iter().map(|term| of_term(judged, term, ignored)).collect();
    let known: u32 = terms.iter().filter(|term| term.points.is_some()).map(|term| term.most).sum();
    let points: u32 = terms.iter().filter_map(|term| term.points).sum();
    let value = (known > 0).then(|| (points * 100 + known / 2) / known);
    let found = judged.found().into_iter().filter(|(rule, _)| !ignored.contains(rule.id.as_str()));
    let cap = found.filter_map(|(rule, _)| Some((rule.cap?, rule.title.clone()))).min_by_key(|(cap, _)| *cap);
    let value = value.map(|value| cap.as_ref().map_or(value, |(cap, _)| value.min(*cap)));
    HealthScore { value, terms, cap: cap.filter(|_| value.is_some()) }
}

fn of_term(judged: &Judged, term: Term, ignored: &BTreeSet<&str>) -> ScoreTerm {
    let of_it: Vec<_> = judged.outcomes.iter().filter(|(rule, _)| rule.term == term).collect();
    let known = of_it.iter().filter(|(_, outcome)| *outcome != Outcome::Unknown).count();
    let mut lost: Vec<LostPoints> = of_it
        .iter()
        .filter(|(rule, _)| rule.loses > 0 && !ignored.contains(rule.id.as_str()))
        .filter_map(|(rule, outcome)| match outcome {
            Outcome::Found(found) => Some(LostPoints {
                rule: rule.id.clone(),
                points: rule.loses,
                text: found.evidence.first().map_or_else(String::new, |evidence| evidence.text.clone()),
            }),
            Outcome::Passed(_) | Outcome::Unknown => None,
        })
        .collect();
    lost.sort_by(|one, other| (other.points, &one.rule).cmp(&(one.points, &other.rule)));
    let sum: u32 = lost.iter().map(|lost| lost.points).sum();
    ScoreTerm {
        name: term.as_str().to_owned(),
        most: term.most(),
        points: (known > 0).then(|| term.most().saturating_sub(sum)),
        judged: known,
        rules: of_it.len(),
        lost,
    }
}
