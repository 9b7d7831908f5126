//! `advise --checklist`: the lines of the tuning checklist, each by the rules that are of it.

use serde::Serialize;

use super::subject_and_text;
use crate::advise::{Checklist, rules};
use crate::cli::output;
use crate::model::{Advice, AdviceState, ClusterName};

/// How a line came out; ordered, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Mark {
    Unknown,
    Passed,
    Open,
}

#[derive(Debug, Serialize)]
pub(super) struct Line {
    line: &'static str,
    mark: Mark,
    /// By rule: what was seen, or what it needs.
    rules: Vec<(&'static str, Mark, String)>,
}

#[derive(Debug, Serialize)]
pub(super) struct OfCluster<'a> {
    cluster: &'a ClusterName,
    lines: Vec<Line>,
}

pub(super) fn json(all: &[Advice]) -> Vec<OfCluster<'_>> {
    all.iter().map(|advice| OfCluster { cluster: &advice.cluster, lines: lines(advice) }).collect()
}

pub(super) fn print(all: &[Advice]) {
    for advice in all {
        output::line(&advice.cluster);
        for line in lines(advice) {
            let mark = match line.mark {
                Mark::Passed => "[x]",
                Mark::Open => "[ ]",
                Mark::Unknown => "[?]",
            };
            output::line(format_args!("  {mark} {}", line.line));
            for (rule, mark, text) in &line.rules {
                // What passed is said where nothing else is.
                if *mark == line.mark {
                    output::line(format_args!("        {rule}: {text}"));
                }
            }
        }
    }
}

fn lines(advice: &Advice) -> Vec<Line> {
    let line = |line: Checklist| {
        let of_line = rules().iter().filter(|rule| rule.checklist == Some(line));
        let rules: Vec<(&'static str, Mark, String)> = of_line
            .map(|rule| {
                let (mark, text) = of_rule(advice, &rule.id);
                (rule.id.as_str(), mark, text)
            })
            .collect();
        let mark = rules.iter().map(|(_, mark, _)| *mark).max().unwrap_or(Mark::Unknown);
        Line { line: line.text(), mark, rules }
    };
    Checklist::ALL.into_iter().map(line).collect()
}

fn of_rule(advice: &Advice, rule: &str) -> (Mark, String) {
    if let Some(passed) = advice.passed.iter().find(|passed| passed.rule == rule) {
        return (Mark::Passed, passed.text.clone());
    }
    if let Some(unknown) = advice.unknown.iter().find(|unknown| unknown.rule == rule) {
        return (Mark::Unknown, format!("needs {}", unknown.needs));
    }
    let Some(item) = advice.item(rule) else { return (Mark::Unknown, String::new()) };
    let first = item.evidence.first();
    let text = first.map_or_else(String::new, |first| subject_and_text(&first.subject, &first.text));
    let state = match item.state {
        AdviceState::Open => String::new(),
        state => format!(" ({})", state.as_str()),
    };
    (Mark::Open, format!("{text}{state}"))
}
