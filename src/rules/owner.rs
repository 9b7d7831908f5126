//! Which job evaluates a group, and what must be loaded for it.

use std::collections::BTreeSet;

use super::completeness;
use super::rule::RuleGroup;
use crate::model::Selection;

/// The job that evaluates a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Watch,
    Evaluate,
}

/// The longest range or offset that `watch` keeps in memory.
const WATCH_REACH_MS: i64 = 15 * 60_000;

/// Exactly one job owns a group: `watch` if it runs (`live_watch`) and no expression reaches further back
/// than 15 minutes, else `evaluate`.
pub fn owner(group: &RuleGroup, live_watch: bool) -> Owner {
    let reach_ms = group.rules.iter().map(|rule| rule.expr.longest_range_or_offset_ms()).max().unwrap_or(0);
    if live_watch && reach_ms <= WATCH_REACH_MS { Owner::Watch } else { Owner::Evaluate }
}

/// The metrics that recording rules of `groups` write.
pub fn recorded_metrics(groups: &[RuleGroup]) -> BTreeSet<String> {
    let rules = groups.iter().flat_map(|group| &group.rules);
    rules.filter(|rule| !rule.is_alert()).map(|rule| rule.name.clone()).collect()
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
