//! Which job evaluates a group, and what must be loaded for it.

use super::completeness;
use super::rule::{Rule, RuleGroup};
use crate::model::Selection;

/// The job that evaluates a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Watch,
    Evaluate,
}

/// The longest range or offset that `watch` keeps in memory.
const WATCH_REACH_MS: i64 = 15 * 60_000;

/// Exactly one job owns a group: `watch` if it runs (`live_watch`), no expression reaches further back than 15
/// minutes and all that is read is known before, for that is what `watch` keeps; else `evaluate`.
pub fn owner(group: &RuleGroup, live_watch: bool) -> Owner {
    let is_kept = |rule: &Rule| rule.reach_ms() <= WATCH_REACH_MS && !rule.asks_unforeseen();
    if live_watch && group.rules.iter().all(is_kept) { Owner::Watch } else { Owner::Evaluate }
}

/// Everything an evaluation of `groups` at `at_ms` reads, the series that tell whether it was complete
/// included. `interval_ms` is how often members are scraped.
pub fn selections<'a>(
    groups: impl IntoIterator<Item = &'a RuleGroup>,
    at_ms: i64,
    interval_ms: i64,
) -> Vec<Selection> {
    let mut wanted = completeness::selections(at_ms, interval_ms);
    for rule in groups.into_iter().flat_map(|group| &group.rules) {
        for selection in rule.selections(at_ms) {
            if !wanted.contains(&selection) {
                wanted.push(selection);
            }
        }
    }
    wanted
}
