//! Facts of the backups.

use std::collections::BTreeSet;

use super::{Fact, Known};
use crate::model::unit::human_span;
use crate::model::{BackupCopy, BackupState};

pub(super) fn facts(known: &Known<'_>) -> Vec<Fact> {
    let shown = format!("etcd-monitor backup list {}", known.cluster);
    let count = |copies: usize, said: String| {
        Fact::number("backup.count", known.cluster.as_str(), copies as f64, said, &shown)
    };
    match (known.sources.backups, known.sources.is_backed_up) {
        (Some(state), _) => {
            let kept: Vec<&BackupCopy> = state.copies.iter().filter(|copy| !copy.is_condemned).collect();
            let mut facts = vec![count(kept.len(), format!("there are {} backup(s)", kept.len()))];
            facts.extend(of_newest(known, state, &shown));
            facts.extend(of_all(known, &kept, &shown));
            facts
        }
        (None, Some(false)) => {
            vec![count(0, "no backup is known, and the job is not told to make any".to_owned())]
        }
        // The job is about to make the first one.
        (None, _) => Vec::new(),
    }
}

fn of_newest(known: &Known<'_>, state: &BackupState, shown: &str) -> Vec<Fact> {
    let Some(newest) = state.newest() else { return Vec::new() };
    let cluster = known.cluster.as_str();
    let age_ms = (known.now_ms - newest.finished_ms).max(0);
    let said = format!("the newest backup is {} old", human_span(age_ms));
    let mut facts = vec![Fact::number("backup.age", cluster, age_ms as f64 / 1e3, said, shown)];
    let why = newest.why.first().map_or(String::new(), |why| format!(": {why}"));
    let said = format!("the newest backup ({}) is {}{why}", newest.id, newest.state.as_str());
    facts.push(Fact::word("backup.standing", cluster, newest.state.as_str(), said, shown));
    facts
}

fn of_all(known: &Known<'_>, kept: &[&BackupCopy], shown: &str) -> Vec<Fact> {
    if kept.is_empty() {
        return Vec::new();
    }
    let cluster = known.cluster.as_str();
    let places: BTreeSet<&str> = kept.iter().map(|copy| copy.at.as_str()).collect();
    let said = format!("backups are kept in {} place(s)", places.len());
    let mut facts = vec![Fact::number("backup.places", cluster, places.len() as f64, said, shown)];
    // Of what others make this is not known.
    let mut ours = kept.iter().filter(|copy| !copy.is_external);
    if let Some(newest) = ours.clone().next() {
        let (word, said) = match newest.is_encrypted {
            true => ("yes", "the newest backup is encrypted"),
            false => ("no", "the newest backup is not encrypted"),
        };
        facts.push(Fact::word("backup.encrypted", cluster, word, said.to_owned(), shown));
        let (word, said) = match ours.find_map(|copy| copy.recovery_ms) {
            Some(ms) => ("restored", format!("a restore on trial took {}", human_span(ms))),
            None => ("never", "no backup that is kept was ever restored on trial".to_owned()),
        };
        facts.push(Fact::word("backup.restored", cluster, word, said, shown));
    }
    facts
}
