//! What an inspection found, for people: one line each for lists, data and certificates.

use super::{HashCheck, HashVerdict, Inspection, ListCheck};
use crate::model::Instance;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    /// Nobody knows.
    Unknown,
    Warning,
    Bad,
}

/// A certificate that expires within so many days is a warning, or bad; as the shipped alert has it.
const DAYS_WARNING: f64 = 30.0;
const DAYS_BAD: f64 = 7.0;

/// One finding: what was looked at, what was found, when (ms since the epoch).
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub what: &'static str,
    pub text: String,
    pub tone: Tone,
    pub ts_ms: i64,
}

/// All findings at `now_ms`.
pub fn lines(inspection: &Inspection, now_ms: i64) -> Vec<Line> {
    let lists = match inspection.lists.different() {
        0 => Tone::Unknown,
        1 => Tone::Good,
        _ => Tone::Bad,
    };
    let line = |what, text, tone, ts_ms| Line { what, text, tone, ts_ms };
    let mut lines = vec![line("Member lists", of_lists(&inspection.lists), lists, inspection.ts_ms)];
    if let Some(hash) = &inspection.hash {
        let tone = match hash.verdict {
            HashVerdict::Agree => Tone::Good,
            HashVerdict::Unknown => Tone::Unknown,
            HashVerdict::Differ => Tone::Bad,
        };
        lines.push(line("Data", of_hash(hash), tone, hash.ts_ms));
    }
    let first = inspection.certificates.seen.iter().map(|certificate| certificate.not_after_ms).min();
    let days = first.map(|first_ms| (first_ms - now_ms) as f64 / 86_400_000.0);
    if let (Some(text), Some(days)) = (of_certificates(inspection, now_ms), days) {
        let tone = match days {
            _ if days < DAYS_BAD => Tone::Bad,
            _ if days < DAYS_WARNING => Tone::Warning,
            _ => Tone::Good,
        };
        lines.push(line("Certificates", text, tone, inspection.ts_ms));
    }
    lines
}

/// Whether members have one list.
pub fn of_lists(lists: &ListCheck) -> String {
    match lists.different() {
        0 => "unknown: no member answers".to_owned(),
        1 => {
            let (members, list) = lists.lists.first().map_or((0, 0), |(who, list)| (who.len(), list.len()));
            let learners =
                lists.lists.first().map_or(0, |(_, list)| list.iter().filter(|m| m.is_learner).count());
            let learners = match learners {
                0 => String::new(),
                n => {
                    format!(" ({n} of them a learner, which etcd lets answer neither this nor for its data)")
                }
            };
            format!("{members} member(s) have the same list of {list}{learners}")
        }
        different => format!("DIFFER: there are {different} lists"),
    }
}

/// Whether members hold the same data.
pub fn of_hash(hash: &HashCheck) -> String {
    let at = hash.revision.map(|revision| format!(" at revision {revision}")).unwrap_or_default();
    match hash.verdict {
        HashVerdict::Agree => format!("{} members hold the same data{at}", hash.members.len()),
        HashVerdict::Unknown => match (&hash.missing_right, hash.members.len() + hash.left_out.len()) {
            (Some(right), _) => format!("unknown: missing right: {right}"),
            (None, 0 | 1) => "unknown: a single member has nothing to be compared with".to_owned(),
            _ => "unknown: fewer than two members could be compared".to_owned(),
        },
        HashVerdict::Differ => {
            let who = match hash.minority.as_slice() {
                [] => "no majority tells who is wrong".to_owned(),
                minority => format!("{} against the others", names(minority)),
            };
            let since = hash.divergence.map(|found| match found.is_first {
                true => format!("; the first revision that differs is {}", found.revision),
                false => format!("; they differ since revision {} or before it", found.revision),
            });
            format!("DIFFER{at}: {who}{}", since.unwrap_or_default())
        }
    }
}

/// When the first of a cluster's certificates expires; `None` without any.
pub fn of_certificates(inspection: &Inspection, now_ms: i64) -> Option<String> {
    let first = inspection.certificates.seen.iter().min_by_key(|certificate| certificate.not_after_ms)?;
    let days = (first.not_after_ms - now_ms) as f64 / 86_400_000.0;
    let whose = first.instance.as_ref().map_or_else(|| "our own".to_owned(), |at| format!("that of {at}"));
    let used_as = first.used_as.as_str();
    Some(match days < 0.0 {
        true => format!("the {used_as} certificate, {whose}, HAS EXPIRED {:.0} days ago", -days),
        false => format!("the first certificate to expire is {whose} ({used_as}) in {days:.0} days"),
    })
}

fn names(members: &[Instance]) -> String {
    members.iter().map(Instance::as_str).collect::<Vec<_>>().join(", ")
}
