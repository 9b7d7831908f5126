//! Whether an evaluation saw enough for its silence to mean health. The reasoning is in [`super`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    Labels, METRIC_NAME, Matcher, Selection, Series, SeriesSource, SourceError, is_stale_marker,
};

/// What a rule reads, from what is always there to what is lost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// Series that the probe writes for unreachable members, too.
    Witness,
    /// Series from the member's Status.
    Status,
    /// Series from the member's `/metrics`.
    Scrape,
}

/// What was seen of one member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    witness: bool,
    status: bool,
    scrape: bool,
}

/// What was seen of every member at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completeness {
    clusters: BTreeMap<String, BTreeMap<String, Seen>>,
}

/// Data older than this many intervals says nothing about now.
const FRESH_INTERVALS: i64 = 3;
/// How far back members are looked for: one that was not heard of for longer is not counted.
const KNOWN_INTERVALS: i64 = 20;

/// The longest interval that a cluster may have of its own.
const SLOWEST_MS: i64 = 60_000;
/// Samples that tell a cluster's own interval: news may bring some between two of its instants.
const LOOKED_AT: usize = 4;

const MEMBER_UP: &str = "etcd_monitor_member_up";
const SCRAPE_UP: &str = "up";

/// What [`completeness`] reads.
pub fn selections(at_ms: i64, interval_ms: i64) -> Vec<Selection> {
    let start_ms = at_ms.saturating_sub(interval_ms.saturating_mul(KNOWN_INTERVALS));
    [MEMBER_UP, SCRAPE_UP]
        .map(|name| Selection { matchers: vec![Matcher::equal(METRIC_NAME, name)], start_ms, end_ms: at_ms })
        .into()
}

/// Looks at `up` and `etcd_monitor_member_up` of every member. `interval_ms` is how often members are
/// scraped.
///
/// # Errors
/// When the series cannot be read.
pub fn completeness(
    source: &dyn SeriesSource,
    at_ms: i64,
    interval_ms: i64,
) -> Result<Completeness, SourceError> {
    let mut found = Completeness::default();
    for selection in selections(at_ms, interval_ms) {
        for series in source.select(&selection)? {
            // A cluster may have an interval of its own: what its samples keep is what may be expected of them.
            let own_ms = spacing_ms(&series).clamp(interval_ms, interval_ms.max(SLOWEST_MS));
            found.add(&series, at_ms.saturating_sub(own_ms.saturating_mul(FRESH_INTERVALS)));
        }
    }
    Ok(found)
}

/// The longest time between two of the last samples.
fn spacing_ms(series: &Series) -> i64 {
    let newest = series.ts_ms.len().saturating_sub(LOOKED_AT);
    let newest = series.ts_ms.get(newest..).unwrap_or_default();
    newest.iter().zip(newest.iter().skip(1)).map(|(a, b)| b - a).max().unwrap_or(0)
}

impl Completeness {
    fn add(&mut self, series: &Arc<Series>, fresh_from_ms: i64) {
        let labels = &series.labels;
        let (Some(cluster), Some(instance)) = (labels.get("cluster"), labels.get("instance")) else { return };
        let seen =
            self.clusters.entry(cluster.to_owned()).or_default().entry(instance.to_owned()).or_default();
        let mut newest = series.ts_ms.iter().zip(&series.values).rev();
        let Some((ts_ms, last)) = newest.next() else { return };
        if *ts_ms < fresh_from_ms || is_stale_marker(*last) {
            return;
        }
        let good = *last > 0.0;
        seen.witness = true;
        if labels.metric_name() == MEMBER_UP {
            seen.status |= good;
        } else {
            seen.scrape |= good && newest.next().is_some_and(|(_, before)| *before > 0.0);
        }
    }

    /// Why nothing can be said of the series with these labels; `None` when silence is health.
    pub fn gap(&self, labels: &Labels, evidence: Evidence) -> Option<String> {
        let cluster = labels.get("cluster").unwrap_or("");
        let none = BTreeMap::new();
        let members = match labels.get("cluster") {
            // A rule over all clusters: any blind spot may hide it.
            None => return self.first_gap(evidence),
            Some(name) => self.clusters.get(name).unwrap_or(&none),
        };
        let has = |seen: &Seen| match evidence {
            Evidence::Witness => seen.witness,
            Evidence::Status => seen.status,
            Evidence::Scrape => seen.scrape,
        };
        let what = match evidence {
            Evidence::Witness => "no probe",
            Evidence::Status => "no status",
            Evidence::Scrape => "no good scrape",
        };
        if let Some(instance) = labels.get("instance") {
            let seen = members.get(instance).copied().unwrap_or_default();
            return (!has(&seen)).then(|| format!("{what} of {instance} for a while"));
        }
        let (fresh, quorum) = (members.values().filter(|seen| has(seen)).count(), members.len() / 2 + 1);
        (fresh < quorum).then(|| {
            format!("{what} for a while: {fresh} of {} members of {cluster} are fresh", members.len())
        })
    }

    fn first_gap(&self, evidence: Evidence) -> Option<String> {
        if self.clusters.is_empty() {
            return Some("no member was heard of for a while".to_owned());
        }
        self.clusters
            .keys()
            .find_map(|name| self.gap(&Labels::from_pairs([("cluster", name.as_str())]), evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SeriesSet;

    const AT_MS: i64 = 1_000_000;
    const INTERVAL_MS: i64 = 15_000;

    /// The member's newest samples, at one interval's distance, the last `age` intervals before `AT_MS`.
    fn push(set: &mut SeriesSet, name: &str, instance: &str, values: &[f64], age: i64) {
        let labels = Labels::from_pairs([("__name__", name), ("cluster", "a"), ("instance", instance)]);
        for (back, value) in (age..).zip(values.iter().rev()) {
            set.push(&labels, AT_MS - back * INTERVAL_MS, *value);
        }
    }

    #[test]
    fn silence_counts_only_with_the_evidence_that_the_rule_needs() {
        use Evidence::{Scrape, Status, Witness};
        // up, member_up, age in intervals, evidence that is there
        for (up, member_up, age, there) in [
            (&[1.0, 1.0][..], &[1.0][..], 0, &[Witness, Status, Scrape][..]),
            (&[1.0, 1.0], &[1.0], 3, &[Witness, Status, Scrape]),
            (&[1.0, 1.0], &[1.0], 4, &[]),
            (&[1.0], &[1.0], 0, &[Witness, Status]),
            (&[0.0, 1.0], &[1.0], 0, &[Witness, Status]),
            (&[1.0, 0.0], &[1.0], 0, &[Witness, Status]),
            (&[0.0, 0.0], &[1.0, 0.0], 0, &[Witness]),
            (&[], &[0.0], 0, &[Witness]),
            (&[], &[], 0, &[]),
        ] {
            let mut set = SeriesSet::default();
            push(&mut set, SCRAPE_UP, "m1", up, age);
            push(&mut set, MEMBER_UP, "m1", member_up, age);
            let seen = completeness(&set, AT_MS, INTERVAL_MS).expect("in memory");
            for evidence in [Witness, Status, Scrape] {
                for labels in [&[("cluster", "a"), ("instance", "m1")][..], &[("cluster", "a")], &[]] {
                    let gap = seen.gap(&Labels::from_pairs(labels.iter().copied()), evidence);
                    assert_eq!(
                        gap.is_none(),
                        there.contains(&evidence),
                        "{up:?} {member_up:?} {age} {gap:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_cluster_may_be_scraped_less_often_than_the_rest() {
        let instance = "slow:2379";
        let labels = [("cluster", "a"), ("instance", instance)];
        for (every_ms, news_ms, age_ms, fresh) in [
            (60_000, None, 59_000, true),
            (60_000, Some(2_000), 57_000, true),
            (60_000, None, 181_000, false),
            (600_000, None, 181_000, false),
            (15_000, None, 46_000, false),
        ] {
            let mut set = SeriesSet::default();
            let last_ms = AT_MS - age_ms;
            let regular = (0..4).rev().map(|n| last_ms - n * every_ms);
            // Something that happened is written between two instants.
            let instants = regular.chain(news_ms.map(|news_ms| last_ms + news_ms));
            for name in [SCRAPE_UP, MEMBER_UP] {
                let labels = Labels::from_pairs(labels.iter().copied().chain([(METRIC_NAME, name)]));
                for ts_ms in instants.clone() {
                    set.push(&labels, ts_ms, 1.0);
                }
            }
            let gap = completeness(&set, AT_MS, INTERVAL_MS).expect("in memory");
            let gap = gap.gap(&Labels::from_pairs(labels), Evidence::Scrape);
            assert_eq!(gap.is_none(), fresh, "every {every_ms} ms, {age_ms} ms old: {gap:?}");
        }
    }

    #[test]
    fn without_an_instance_a_quorum_must_be_fresh() {
        let cluster = Labels::from_pairs([("cluster", "a")]);
        for (fresh, members, complete) in
            [(3, 3, true), (2, 3, true), (1, 3, false), (2, 4, false), (0, 1, false)]
        {
            let mut set = SeriesSet::default();
            for member in 0..members {
                let value = if member < fresh { 1.0 } else { 0.0 };
                push(&mut set, SCRAPE_UP, &format!("m{member}"), &[value, value], 0);
            }
            let gap =
                completeness(&set, AT_MS, INTERVAL_MS).expect("in memory").gap(&cluster, Evidence::Scrape);
            assert_eq!(gap.is_none(), complete, "{fresh} of {members}: {gap:?}");
        }
    }
}
