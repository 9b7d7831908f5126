//! What becomes of recommendations: open while their evidence is there, done when it is gone or somebody says so, ignored
//! when somebody decides to live with it; and whether it helped.

use std::collections::BTreeSet;

use serde_json::json;

use super::judge::{Found, Judged, Outcome};
use super::rule::{Rule, rules};
use super::score::score;
use crate::model::catalogue::Worse;
use crate::model::{
    ADVICE_FORMAT, Advice, AdviceState, Event, EventKind, Help, HelpVerdict, PassedRule, Recommendation,
    Severity, UnknownRule,
};

/// Evidence must be gone for so long: a quiet half hour is no repair.
const CLEAR_MS: i64 = 30 * 60_000;
/// What somebody called done has this long, beside the rule's window, before it is open again.
const GRACE_MS: i64 = 3_600_000;
/// What is done is kept this long.
const DONE_MS: i64 = 90 * 86_400_000;
/// An open recommendation that nobody could judge for so long is forgotten.
const FORGOTTEN_MS: i64 = 30 * 86_400_000;

/// Before and after are compared over so long at most, ms.
const SPAN_MS: i64 = 86_400_000;
/// And at least.
const SPAN_MIN_MS: i64 = 1_800_000;
/// A smaller difference is none.
const DIFFERENCE: f64 = 0.05;

/// The advice after `judged`, with what was known before.
pub fn follow(previous: Option<&Advice>, judged: &Judged) -> Advice {
    let now_ms = judged.now_ms;
    let before = |rule: &Rule| previous.and_then(|previous| previous.item(&rule.id));
    let mut items: Vec<Recommendation> = Vec::new();
    for (rule, found) in judged.found() {
        items.push(seen(rule, found, before(rule), judged));
    }
    let (mut passed, mut unknown) = (Vec::new(), Vec::new());
    for (rule, outcome) in &judged.outcomes {
        match outcome {
            Outcome::Found(_) => {}
            Outcome::Passed(text) => {
                items.extend(before(rule).and_then(|item| gone(rule, item, text, now_ms)));
                let [text, id, title] = [text, &rule.id, &rule.title].map(Clone::clone);
                passed.push(PassedRule { rule: id, title, area: rule.area(), text });
            }
            Outcome::Unknown => {
                let lasts = |item: &&Recommendation| match item.state {
                    AdviceState::Open => now_ms - item.seen_ms < FORGOTTEN_MS,
                    AdviceState::Done => now_ms - item.changed_ms < DONE_MS,
                    AdviceState::Ignored => true,
                };
                items.extend(before(rule).filter(lasts).cloned());
                let [needs, id, title] = [&rule.needs, &rule.id, &rule.title].map(Clone::clone);
                unknown.push(UnknownRule { rule: id, title, area: rule.area(), needs });
            }
        }
    }
    // Stable: within a state the order is that of importance.
    items.sort_by_key(|item| (item.state, std::cmp::Reverse(item.clear_since_ms.is_none())));
    let ignored: BTreeSet<&str> = items
        .iter()
        .filter(|item| item.state == AdviceState::Ignored)
        .map(|item| item.rule.as_str())
        .collect();
    let score = score(judged, &ignored);
    Advice {
        format: ADVICE_FORMAT,
        cluster: judged.cluster.clone(),
        made_ms: now_ms,
        items,
        passed,
        unknown,
        score,
    }
}

/// One whose evidence is there.
fn seen(rule: &Rule, found: &Found, before: Option<&Recommendation>, judged: &Judged) -> Recommendation {
    let now_ms = judged.now_ms;
    let fresh = of_rule(rule, found, judged);
    let Some(before) = before else { return fresh };
    let kept = Recommendation {
        state: before.state,
        since_ms: before.since_ms,
        changed_ms: before.changed_ms,
        by: before.by.clone(),
        note: before.note.clone(),
        until_ms: before.until_ms,
        ..fresh.clone()
    };
    let window_ms = i64::try_from(rule.window().as_millis()).unwrap_or(i64::MAX / 4);
    match before.state {
        AdviceState::Open => kept,
        AdviceState::Ignored if before.until_ms.is_none_or(|until_ms| now_ms < until_ms) => kept,
        AdviceState::Ignored => fresh,
        // What was done shows only when the rule's window is past it.
        AdviceState::Done if before.by.is_some() && now_ms - before.changed_ms < window_ms + GRACE_MS => {
            Recommendation { help: before.help.clone(), ..kept }
        }
        AdviceState::Done => {
            let note = before.by.as_ref().map(|by| format!("{by} called it done, and it is still there"));
            Recommendation { note, ..fresh }
        }
    }
}

fn of_rule(rule: &Rule, found: &Found, judged: &Judged) -> Recommendation {
    let subject = found.evidence.first().map_or(judged.cluster.as_str(), |first| first.subject.as_str());
    // Of whom nobody knows it has what packages and kubeadm make.
    let directory = judged.directories.get(subject).map_or("/var/lib/etcd", String::as_str);
    let command = |text: &String| {
        text.replace("{cluster}", judged.cluster.as_str())
            .replace("{directory}", directory)
            .replace("{subject}", subject)
            .replace("{endpoints}", &judged.endpoints)
            .replace("{suggested}", &found.suggested)
    };
    let now_ms = judged.now_ms;
    Recommendation {
        rule: rule.id.clone(),
        title: rule.title.clone(),
        area: rule.area(),
        state: AdviceState::Open,
        since_ms: now_ms,
        seen_ms: now_ms,
        clear_since_ms: None,
        changed_ms: now_ms,
        by: None,
        note: None,
        until_ms: None,
        caused_by: found.caused_by.map(str::to_owned),
        weight: rule.weight,
        evidence: found.evidence.clone(),
        why: rule.why.clone(),
        commands: rule.commands.iter().map(command).collect(),
        gain: rule.gain.clone(),
        effort: rule.effort,
        confidence: rule.confidence,
        link: rule.link.clone(),
        help: None,
    }
}

/// One whose evidence is gone: what it is now, or nothing when it is forgotten.
fn gone(rule: &Rule, before: &Recommendation, text: &str, now_ms: i64) -> Option<Recommendation> {
    let clear_since_ms = before.clear_since_ms.unwrap_or(now_ms);
    let item = Recommendation { clear_since_ms: Some(clear_since_ms), ..before.clone() };
    match before.state {
        AdviceState::Open if now_ms - clear_since_ms < CLEAR_MS => Some(item),
        AdviceState::Open => Some(Recommendation {
            state: AdviceState::Done,
            changed_ms: clear_since_ms,
            help: rule.measure.is_none().then(|| of_evidence(before, text, now_ms)),
            ..item
        }),
        AdviceState::Ignored => Some(item),
        AdviceState::Done if now_ms - before.changed_ms >= DONE_MS => None,
        AdviceState::Done => Some(match (&before.help, &rule.measure) {
            (None, None) => Recommendation { help: Some(of_evidence(before, text, now_ms)), ..item },
            _ => item,
        }),
    }
}

/// What the rule saw before and sees now, where nothing else tells whether it helped.
fn of_evidence(before: &Recommendation, text: &str, now_ms: i64) -> Help {
    Help {
        what: before.title.clone(),
        before: before.evidence.first().map_or_else(String::new, |evidence| evidence.text.clone()),
        after: text.to_owned(),
        span_ms: now_ms - before.since_ms,
        is_final: true,
        verdict: HelpVerdict::Helped,
    }
}

/// A figure that is to be measured twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub rule: String,
    /// Of `compare`.
    pub measure: String,
    /// Each figure is over so long, ms, and ends then.
    pub span_ms: i64,
    pub before_end_ms: i64,
    pub after_end_ms: i64,
    pub is_final: bool,
}

/// What is to be measured of `advice`, to say whether what was done helped.
pub fn compared(advice: &Advice) -> Vec<Comparison> {
    let is_due = |item: &&Recommendation| {
        item.state == AdviceState::Done && item.help.as_ref().is_none_or(|help| !help.is_final)
    };
    advice.items.iter().filter(is_due).filter_map(|item| comparison(item, advice.made_ms)).collect()
}

fn comparison(item: &Recommendation, now_ms: i64) -> Option<Comparison> {
    let rule = rules().iter().find(|rule| rule.id == item.rule)?;
    let window_ms = i64::try_from(rule.window().as_millis()).ok()?;
    // What was seen last goes back by the rule's window: the change was before it.
    let done_ms = item.changed_ms.min(item.seen_ms);
    let before_end_ms = if item.by.is_some() { item.changed_ms } else { done_ms - window_ms };
    let after_start_ms = item.changed_ms;
    let span_ms = (now_ms - after_start_ms).min(SPAN_MS);
    (span_ms >= SPAN_MIN_MS).then(|| Comparison {
        rule: item.rule.clone(),
        measure: rule.measure.clone().unwrap_or_default(),
        span_ms,
        before_end_ms,
        after_end_ms: after_start_ms + span_ms,
        is_final: span_ms == SPAN_MS,
    })
}

/// Of a figure: how it is called, printed and judged.
pub struct Figured<'a> {
    pub title: &'a str,
    pub worse: Worse,
    pub text: &'a dyn Fn(f64) -> String,
}

impl Comparison {
    /// What it comes to.
    pub fn help(&self, figured: &Figured<'_>, before: Option<f64>, after: Option<f64>) -> Help {
        let text = |value: Option<f64>| value.map_or_else(|| "not known".to_owned(), figured.text);
        let verdict = match (before, after) {
            (Some(before), Some(after)) => {
                let change = (after - before) / before.abs().max(f64::MIN_POSITIVE);
                let worse = if figured.worse == Worse::Low { -change } else { change };
                match worse {
                    worse if worse <= -DIFFERENCE => HelpVerdict::Helped,
                    worse if worse >= DIFFERENCE => HelpVerdict::Worse,
                    _ => HelpVerdict::NoDifference,
                }
            }
            _ => HelpVerdict::Unknown,
        };
        Help {
            what: figured.title.to_owned(),
            before: text(before),
            after: text(after),
            span_ms: self.span_ms,
            is_final: self.is_final,
            verdict,
        }
    }
}

/// The events of what is new in `after`; the first advice for a cluster is no news.
pub fn told(before: Option<&Advice>, after: &Advice) -> Vec<Event> {
    let Some(before) = before else { return Vec::new() };
    let event = |item: &Recommendation| {
        let was = before.item(&item.rule);
        let state = (was.map(|was| was.state), item.state);
        let (kind, words) = match state {
            (Some(was), now) if was == now => return None,
            // What something else explains goes when that does.
            (_, AdviceState::Open) if item.caused_by.is_none() => (EventKind::AdviceOpened, "advised"),
            (Some(_), AdviceState::Done) => (EventKind::AdviceClosed, "done"),
            (_, AdviceState::Ignored) => (EventKind::AdviceClosed, "ignored"),
            _ => return None,
        };
        let evidence = item.evidence.first().map_or_else(String::new, |first| first.text.clone());
        let reason = match (&item.note, item.state) {
            (Some(note), AdviceState::Ignored | AdviceState::Done) => note.clone(),
            _ => evidence,
        };
        // By what it was told after: whoever repeats or races this tells the same event.
        let occurrence = format!("{words} after {}", before.made_ms);
        Some(Event {
            id: Event::id_of(&after.cluster, kind, &item.rule, &occurrence),
            cluster: after.cluster.clone(),
            ts_ms: after.made_ms,
            kind,
            severity: Severity::Info,
            subject: item.rule.clone(),
            actor: item.by.clone(),
            text: format!("{words}: {} ({reason})", item.title),
            details: json!({ "rule": item.rule, "state": item.state, "score": after.score.value }),
        })
    };
    after.items.iter().filter_map(event).collect()
}
