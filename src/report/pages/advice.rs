//! What is advised for a cluster, and its health score: the section, the JSON twin.

use serde::Serialize;
use serde_json::{Value, json};

use super::Badge;
use crate::model::unit::{human_span, rfc3339};
use crate::model::{Advice, AdviceState, Evidence, Help, HelpVerdict, Recommendation, ScoreTerm};
use crate::report::chart::BOX_WIDTH;
use crate::report::facts::Facts;
use crate::report::text::{clock, count, visible};

/// Evidence that names where members are.
const NAMES_ADDRESSES: [&str; 3] = ["machine-shared", "client-tls-off", "peer-tls-off"];

/// Recommendations of this weight and more are shown as bad, of that as worth a look.
const BAD: u32 = 85;
const NOTABLE: u32 = 50;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AdviceSection {
    pub(crate) score: String,
    /// What keeps the score low.
    pub(crate) cap: Option<String>,
    pub(crate) terms: Vec<Term>,
    /// What is open and nothing else explains, the most important first.
    pub(crate) open: Vec<Item>,
    pub(crate) ignored: Vec<Item>,
    pub(crate) done: Vec<Item>,
    /// Title, and what was seen.
    pub(crate) passed: Vec<(String, String)>,
    /// Title, and what it needs.
    pub(crate) unknown: Vec<(String, String)>,
    pub(crate) note: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Term {
    pub(crate) name: String,
    pub(crate) points: String,
    /// The length of its bar, 0 to 1000; absent when nothing is known.
    pub(crate) x: Option<f64>,
    pub(crate) class: &'static str,
    pub(crate) label: String,
    /// Points and why.
    pub(crate) lost: Vec<(u32, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Item {
    pub(crate) rule: String,
    pub(crate) title: String,
    pub(crate) badge: Badge,
    /// The first of its evidence.
    pub(crate) evidence: String,
    pub(crate) more_evidence: Vec<String>,
    pub(crate) shown_by: Option<String>,
    pub(crate) why: String,
    pub(crate) commands: Vec<String>,
    pub(crate) gain: String,
    pub(crate) effort: &'static str,
    pub(crate) confidence: &'static str,
    /// Where there is more: a page of the web, else a document.
    pub(crate) href: Option<String>,
    pub(crate) document: Option<String>,
    /// Titles of what it explains.
    pub(crate) explains: Vec<String>,
    pub(crate) since: String,
    pub(crate) time: String,
    /// Who decided, and why.
    pub(crate) note: Option<String>,
    pub(crate) help: Option<String>,
}

pub(crate) fn section(facts: &Facts<'_>) -> Option<AdviceSection> {
    let advice = facts.input.advice.as_ref()?;
    let of = |state: AdviceState| advice.items.iter().filter(move |item| item.state == state);
    let is_open = |rule: &str| advice.open().any(|item| item.rule == rule);
    let roots = advice.open().filter(|item| item.caused_by.as_deref().is_none_or(|cause| !is_open(cause)));
    let open: Vec<Item> = roots.map(|root| item(facts, advice, root)).collect();
    let note = format!(
        "{} · {} done · {} ignored · worked out {}",
        count(open.len(), "open recommendation"),
        of(AdviceState::Done).count(),
        of(AdviceState::Ignored).count(),
        clock(advice.made_ms, facts.now_ms)
    );
    Some(AdviceSection {
        score: advice.score.value.map_or_else(|| "–".to_owned(), |value| value.to_string()),
        cap: advice.score.cap.as_ref().map(|(cap, why)| format!("{cap} at most: {}", facts.clean(why))),
        terms: advice.score.terms.iter().map(|of_it| term(facts, of_it)).collect(),
        open,
        ignored: of(AdviceState::Ignored).map(|one| item(facts, advice, one)).collect(),
        done: of(AdviceState::Done).map(|one| item(facts, advice, one)).collect(),
        passed: advice
            .passed
            .iter()
            .map(|rule| (rule.title.clone(), text(facts, &rule.rule, &rule.text)))
            .collect(),
        unknown: advice.unknown.iter().map(|rule| (rule.title.clone(), rule.needs.clone())).collect(),
        note,
    })
}

fn term(facts: &Facts<'_>, term: &ScoreTerm) -> Term {
    let share = term.points.map(|points| f64::from(points) / f64::from(term.most.max(1)));
    let class = match share {
        None => "unknown",
        Some(share) if share >= 0.8 => "ok",
        Some(share) if share >= 0.5 => "warn",
        Some(_) => "crit",
    };
    let points = match term.points {
        Some(points) => format!("{points} of {}", term.most),
        None => "not known".to_owned(),
    };
    let lost = term.lost.iter().map(|lost| (lost.points, text(facts, &lost.rule, &lost.text)));
    Term {
        name: term.name.clone(),
        label: format!("{}: {points}", term.name),
        points,
        x: share.map(|share| (share * BOX_WIDTH).round()),
        class,
        lost: lost.collect(),
    }
}

/// A sentence of a rule, fit to be shown.
fn text(facts: &Facts<'_>, rule: &str, text: &str) -> String {
    if !facts.shows_addresses() && NAMES_ADDRESSES.contains(&rule) {
        return "not shown, for it names addresses".to_owned();
    }
    facts.clean(text)
}

fn evidence(facts: &Facts<'_>, rule: &str, evidence: &Evidence) -> String {
    let said = text(facts, rule, &evidence.text);
    let of_member = facts.input.rows.iter().any(|row| row.instance.as_str() == evidence.subject);
    let member = of_member.then(|| facts.name_of_instance(&evidence.subject));
    match member.filter(|name| !said.contains(name.as_str())) {
        Some(name) => format!("{name}: {said}"),
        None => said,
    }
}

fn item(facts: &Facts<'_>, advice: &Advice, item: &Recommendation) -> Item {
    let mut all = item.evidence.iter().map(|one| evidence(facts, &item.rule, one));
    let explained = advice.open().filter(|other| other.caused_by.as_deref() == Some(item.rule.as_str()));
    let is_web = item.link.starts_with("https://");
    let by = item.by.as_ref().map(|by| facts.clean(by));
    let note = item.note.as_ref().map(|note| facts.clean(note));
    Item {
        rule: item.rule.clone(),
        title: item.title.clone(),
        badge: badge(item),
        evidence: all.next().unwrap_or_default(),
        more_evidence: all.collect(),
        shown_by: item.evidence.first().map(|first| whole(facts, &first.shown_by)),
        why: item.why.clone(),
        commands: item.commands.iter().map(|command| whole(facts, command)).collect(),
        gain: item.gain.clone(),
        effort: item.effort.as_str(),
        confidence: item.confidence.as_str(),
        href: is_web.then(|| item.link.clone()),
        document: (!is_web).then(|| item.link.clone()),
        explains: explained.map(|other| other.title.clone()).collect(),
        since: clock(item.changed_ms, facts.now_ms),
        time: rfc3339(item.changed_ms),
        note: match (by, note) {
            (Some(by), Some(note)) => Some(format!("{by}: {note}")),
            (by, note) => by.or(note),
        },
        help: item.help.as_ref().map(|help| helped(facts, help)),
    }
}

/// A command or query is of use only whole.
fn whole(facts: &Facts<'_>, text: &str) -> String {
    let parts: Vec<String> = text.split(' ').map(|word| facts.clean(&visible(word))).collect();
    parts.join(" ")
}

fn badge(item: &Recommendation) -> Badge {
    match item.state {
        AdviceState::Done => Badge::new("ok", "Done"),
        AdviceState::Ignored => Badge::new("unknown", "Ignored"),
        AdviceState::Open if item.weight >= BAD => Badge::new("crit", "Urgent"),
        AdviceState::Open if item.weight >= NOTABLE => Badge::new("warn", "Advised"),
        AdviceState::Open => Badge::new("info", "Worth a look"),
    }
}

fn helped(facts: &Facts<'_>, help: &Help) -> String {
    let verdict = match help.verdict {
        HelpVerdict::Helped => "It helped",
        HelpVerdict::NoDifference => "No difference",
        HelpVerdict::Worse => "It is worse",
        HelpVerdict::Unknown => "Nobody can say whether it helped",
    };
    let so_far = if help.is_final { "" } else { " so far" };
    let [what, before, after] = [&help.what, &help.before, &help.after].map(|text| facts.clean(text));
    format!("{verdict}{so_far}: {what} was {before}, and is {after} (over {})", human_span(help.span_ms))
}

/// `api/v1/clusters/<id>/recommendations.json`.
pub(crate) fn to_json(facts: &Facts<'_>) -> Value {
    let Some(advice) = &facts.input.advice else {
        return json!({ "score": null, "recommendations": [], "passed": [], "unknown": [] });
    };
    let recommendation = |of_it: &Recommendation| {
        let shown = item(facts, advice, of_it);
        let values: Vec<Value> = of_it
            .evidence
            .iter()
            .map(|one| {
                json!({
                    "text": evidence(facts, &of_it.rule, one), "value": one.value.filter(|value| value.is_finite()),
                    "shown_by": whole(facts, &one.shown_by),
                })
            })
            .collect();
        json!({
            "rule": of_it.rule, "title": of_it.title, "area": of_it.area, "state": of_it.state,
            "since": rfc3339(of_it.since_ms), "changed": rfc3339(of_it.changed_ms), "caused_by": of_it.caused_by,
            "weight": of_it.weight, "evidence": values, "why": of_it.why, "commands": shown.commands,
            "gain": of_it.gain, "effort": of_it.effort, "confidence": of_it.confidence, "link": of_it.link,
            "note": shown.note, "help": shown.help, "help_verdict": of_it.help.as_ref().map(|help| help.verdict),
        })
    };
    let terms: Vec<Value> = advice
        .score
        .terms
        .iter()
        .map(|of_it| {
            let shown = term(facts, of_it);
            json!({
                "term": of_it.name, "most": of_it.most, "points": of_it.points, "judged": of_it.judged,
                "rules": of_it.rules, "lost": shown.lost,
            })
        })
        .collect();
    let passed = advice.passed.iter().map(|rule| (&rule.rule, text(facts, &rule.rule, &rule.text)));
    let unknown = advice.unknown.iter().map(|rule| (&rule.rule, &rule.needs));
    json!({
        "made": rfc3339(advice.made_ms),
        "score": { "value": advice.score.value, "cap": advice.score.cap, "terms": terms },
        "recommendations": advice.items.iter().map(recommendation).collect::<Vec<_>>(),
        "passed": passed.collect::<Vec<_>>(),
        "unknown": unknown.collect::<Vec<_>>(),
    })
}
