//! What was heard of a fault, held against what should have been; and the table of it all in the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use etcd_monitor::model::{EventKind, Severity};

use super::pipeline::Outcome;
use super::recording::{Impact, Recording};
use super::scenario::Scenario;

/// A new leader is seen within this time of its election, ms.
const LEADER_SEEN_MS: i64 = 5_000;

pub struct Verdict {
    name: String,
    title: String,
    /// Each expectation: alert, severity, after how long it was heard, within how long it should be, ms.
    expected: Vec<(String, String, Option<i64>, i64)>,
    /// Told, and nobody's fault.
    wrong: Vec<String>,
    /// Whose end was not told although it should have been.
    lasting: Vec<String>,
    /// Told as over and then anew.
    doubled: Vec<String>,
    /// Kinds of events that are missing.
    unseen: Vec<String>,
    /// From each election after the first reading until it was read, ms.
    leaders_seen: Vec<i64>,
    /// From the first step until anybody heard of anything above `info`, ms.
    first_heard: Option<i64>,
    /// From the first step until a client felt it, ms.
    first_felt: Option<i64>,
    impact: Impact,
}

impl Verdict {
    pub fn of(scenario: &Scenario, recording: &Recording, outcome: &Outcome) -> Self {
        let is_expected = |alert: &str, severity: Severity| {
            scenario.expect.iter().any(|e| e.alert == alert && e.severity == severity.as_str())
                || scenario.may.iter().any(|may| may == alert)
        };
        let is_news = |alert: &str, severity: Severity| {
            severity == Severity::Info && scenario.news.iter().any(|news| news == alert)
        };
        let mut beginnings: BTreeMap<(&str, Severity, &str), i64> = BTreeMap::new();
        let mut ends = BTreeSet::new();
        let (mut wrong, mut doubled) = (BTreeSet::new(), BTreeSet::new());
        for heard in &outcome.heard {
            let key = (heard.alert.as_str(), heard.severity, heard.instance.as_str());
            if heard.is_over {
                ends.insert(key);
                continue;
            }
            if ends.remove(&key) {
                doubled.insert(format!("{} ({}) {}", heard.alert, heard.severity.as_str(), heard.instance));
            }
            beginnings.entry(key).or_insert(heard.at_ms);
            if !is_expected(&heard.alert, heard.severity) && !is_news(&heard.alert, heard.severity) {
                wrong.insert(format!("{} ({}) {}", heard.alert, heard.severity.as_str(), heard.instance));
            }
        }
        let step = |number: usize| match number {
            0 => Some(recording.start_ms()),
            number => recording.steps.get(number - 1).copied(),
        };
        let (mut expected, mut lasting) = (Vec::new(), Vec::new());
        for want in &scenario.expect {
            let fits = |key: &(&str, Severity, &str)| key.0 == want.alert && key.1.as_str() == want.severity;
            let first = beginnings.iter().filter(|(key, _)| fits(key)).map(|(_, at_ms)| *at_ms).min();
            let after = first.zip(step(want.step)).map(|(at_ms, step_ms)| at_ms - step_ms);
            let within_ms = i64::try_from(want.within.0.as_millis()).expect("short");
            expected.push((want.alert.clone(), want.severity.clone(), after, within_ms));
            if want.resolves && !ends.iter().any(fits) {
                lasting.push(format!("{} ({})", want.alert, want.severity));
            }
        }
        let kinds: BTreeSet<EventKind> = outcome.events.iter().map(|event| event.kind).collect();
        let unseen =
            scenario.events.iter().filter(|kind| EventKind::parse(kind).is_none_or(|k| !kinds.contains(&k)));
        let serious = beginnings.iter().filter(|((_, severity, _), _)| *severity != Severity::Info);
        let first_heard =
            serious.map(|(_, at_ms)| *at_ms).min().zip(step(1)).map(|(at_ms, step_ms)| at_ms - step_ms);
        let first_felt = recording.impact.first_ms.zip(step(1)).map(|(at_ms, step_ms)| at_ms - step_ms);
        Self {
            name: scenario.name.clone(),
            title: scenario.title.clone(),
            expected,
            wrong: wrong.into_iter().collect(),
            lasting,
            doubled: doubled.into_iter().collect(),
            unseen: unseen.cloned().collect(),
            leaders_seen: leaders_seen(recording),
            first_heard,
            first_felt,
            impact: recording.impact.clone(),
        }
    }

    /// What is wrong but for times.
    pub fn problems_of_substance(&self) -> Vec<String> {
        let missed = self.expected.iter().filter(|(_, _, after, _)| after.is_none());
        let missed = missed.map(|(alert, severity, _, _)| format!("nobody heard of {alert} ({severity})"));
        let wrong = self.wrong.iter().map(|told| format!("people heard of {told}, too"));
        let doubled = self.doubled.iter().map(|told| format!("{told} was over, and told anew"));
        let lasting = self.lasting.iter().map(|told| format!("nobody heard of the end of {told}"));
        let unseen = self.unseen.iter().map(|kind| format!("no event {kind}"));
        let all = missed.chain(wrong).chain(doubled).chain(lasting).chain(unseen);
        all.map(|problem| format!("{}: {problem}", self.name)).collect()
    }

    pub fn problems(&self) -> Vec<String> {
        let late = self.expected.iter().filter_map(|(alert, severity, after, within)| {
            let after = after.filter(|after| after > within)?;
            Some(format!(
                "{}: {alert} ({severity}) after {} s, {} s are allowed",
                self.name,
                after / 1_000,
                within / 1_000
            ))
        });
        let unseen = self.leaders_seen.iter().filter(|ms| **ms > LEADER_SEEN_MS);
        let unseen = unseen.map(|ms| format!("{}: a new leader was seen after {ms} ms", self.name));
        self.problems_of_substance().into_iter().chain(late).chain(unseen).collect()
    }
}

/// Of each leader that came to be after the first reading and stayed to be seen: from then until a reading that knows
/// it, or a later term, was there.
fn leaders_seen(recording: &Recording) -> Vec<i64> {
    let start_ms = recording.start_ms();
    let elected = recording.leaders.iter().filter(|(_, at_ms)| **at_ms > start_ms);
    let seen = elected.filter_map(|(term, at_ms)| {
        let knows = |reading: &&etcd_monitor::model::Reading| {
            reading.leader().is_some_and(|(_, at_term)| at_term >= *term)
        };
        let reading = recording.readings.iter().find(knows)?;
        Some(reading.ts_ms + i64::try_from(reading.duration_ms).unwrap_or(0) - at_ms)
    });
    // One that was read before its own log line was written was seen at once.
    seen.map(|ms| ms.max(0)).collect()
}

fn seconds(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.0} s", ms as f64 / 1_000.0))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self
            .expected
            .iter()
            .map(|(alert, severity, after, _)| format!("{alert} ({severity}) {}", seconds(*after)));
        write!(
            f,
            "{:<22} heard [{}] wrong {:?} doubled {:?} lasting {:?} unseen {:?}; leaders seen after {:?} ms; first heard {} felt {}; {} of {} requests failed",
            self.name,
            expected.collect::<Vec<_>>().join(", "),
            self.wrong,
            self.doubled,
            self.lasting,
            self.unseen,
            self.leaders_seen,
            seconds(self.first_heard),
            seconds(self.first_felt),
            self.impact.failed,
            self.impact.requests
        )
    }
}

const BEGIN: &str = "<!-- faults: made by tests/it/faults.rs -->\n";
const END: &str = "<!-- /faults -->\n";

/// The documentation has this table; `UPDATE_DOCS=1` writes it.
pub fn documented(verdicts: &[Verdict]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let text = std::fs::read_to_string(&path).expect("docs/reliability.md");
    let (before, rest) = text.split_once(BEGIN).expect("the place of the table");
    let (_, after) = rest.split_once(END).expect("its end");
    let made = format!("{before}{BEGIN}{}{END}{after}", table(verdicts));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).expect("written");
    } else {
        assert!(text == made, "docs/reliability.md is not what the recordings give: run with UPDATE_DOCS=1");
    }
}

fn table(verdicts: &[Verdict]) -> String {
    let mut lines = vec![
        "| fault | people hear of | after | clients feel it after | lead |".to_owned(),
        "|---|---|---:|---:|---:|".to_owned(),
    ];
    for verdict in verdicts {
        let told = verdict.expected.iter().map(|(alert, severity, _, _)| format!("{alert} ({severity})"));
        let after = verdict.expected.iter().map(|(_, _, after, _)| seconds(*after));
        let or_none = |all: Vec<String>| if all.is_empty() { "nothing".to_owned() } else { all.join(", ") };
        let lead = match (verdict.first_heard, verdict.first_felt) {
            (Some(heard), Some(felt)) => seconds(Some(felt - heard)),
            _ => String::new(),
        };
        let after: Vec<String> = after.collect();
        lines.push(format!(
            "| [{}](../tests/faults/{}.toml) | {} | {} | {} | {lead} |",
            verdict.title,
            verdict.name,
            or_none(told.collect()),
            after.join(", "),
            verdict.first_felt.map_or_else(|| "never".to_owned(), |ms| seconds(Some(ms)))
        ));
    }
    let expected: usize = verdicts.iter().map(|verdict| verdict.expected.len()).sum();
    let heard = verdicts.iter().flat_map(|v| &v.expected).filter(|(_, _, after, _)| after.is_some()).count();
    let wrong: usize = verdicts.iter().map(|verdict| verdict.wrong.len()).sum();
    let mut seen: Vec<i64> = verdicts.iter().flat_map(|verdict| verdict.leaders_seen.clone()).collect();
    seen.sort_unstable();
    let worst = seen.last().copied();
    let median = seen.get(seen.len() / 2).copied();
    lines.push(String::new());
    lines.push(format!(
        "{} faults: {heard} of {expected} alerts told, {wrong} told wrongly. {} elections, each seen {:.1} s after the leader \
         existed in the median, {:.1} s at most.",
        verdicts.len(),
        seen.len(),
        median.unwrap_or(0) as f64 / 1_000.0,
        worst.unwrap_or(0) as f64 / 1_000.0
    ));
    lines.join("\n") + "\n"
}
