//! Whether this watch sees everything it should: what the dead man's switch speaks for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::model::{ClusterName, Reading, ReadingRow};

/// When each part last did all of its work, ms since the epoch.
#[derive(Default)]
pub(super) struct Freshness(Mutex<Times>);

#[derive(Default)]
struct Times {
    /// How old a reading may be, ms, and when the last one was.
    read: BTreeMap<ClusterName, (i64, Option<i64>)>,
    judged: Option<i64>,
    stored: Option<i64>,
}

/// How old each may be, ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) judged_ms: i64,
    pub(super) stored_ms: i64,
}

impl Freshness {
    fn note(&self, change: impl FnOnce(&mut Times)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The cluster is to be read, too, at least every `limit_ms`.
    pub(super) fn expect(&self, cluster: ClusterName, limit_ms: i64) {
        self.note(|times| times.read.entry(cluster).or_default().0 = limit_ms);
    }

    /// The cluster is no longer to be read.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.note(|times| {
            times.read.remove(cluster);
        });
    }

    /// A reading counts when a quorum of the voters answered: of less, rules cannot speak for the cluster.
    pub(super) fn read(&self, reading: &Reading) {
        let (up, all) = reading.voters();
        if up > all / 2 {
            self.note(|times| {
                if let Some((_, at)) = times.read.get_mut(&reading.cluster) {
                    *at = Some(reading.ts_ms);
                }
            });
        }
    }

    /// All rules were evaluated and what they found is committed.
    pub(super) fn judged(&self, now_ms: i64) {
        self.note(|times| times.judged = Some(now_ms));
    }

    /// The store took a sign of life.
    pub(super) fn stored(&self, now_ms: i64) {
        self.note(|times| times.stored = Some(now_ms));
    }

    /// What is too old or has never been, for people; `None` when everything is fresh.
    pub(super) fn stale(&self, limits: Limits, now_ms: i64) -> Option<String> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |at: Option<i64>, limit_ms| at.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) > limit_ms);
        let blind: Vec<&str> = times
            .read
            .iter()
            .filter(|(_, (limit_ms, at))| old(*at, *limit_ms))
            .map(|(name, _)| name.as_str())
            .collect();
        if !blind.is_empty() {
            Some(format!("no quorum answers: {}", blind.join(", ")))
        } else if old(times.judged, limits.judged_ms) {
            Some("the rules were not all evaluated".to_owned())
        } else if old(times.stored, limits.stored_ms) {
            Some("the store takes nothing".to_owned())
        } else {
            None
        }
    }
}

/// A reading in the store is fresh this long, ms: `collect` makes one every minute, and two may be missing.
pub const FRESH_MS: i64 = 180_000;

/// The clusters of which these readings, the newest of each, do not show a quorum that answers.
pub fn blind<'a>(clusters: impl Iterator<Item = &'a ClusterName>, rows: &[ReadingRow]) -> Vec<ClusterName> {
    let seen = |cluster: &ClusterName| {
        let of_it = rows.iter().filter(|row| row.cluster == *cluster);
        let voters: Vec<&ReadingRow> = of_it.filter(|row| row.is_learner != Some(true)).collect();
        voters.iter().filter(|row| row.reachable).count() > voters.len() / 2
    };
    clusters.filter(|cluster| !seen(cluster)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { judged_ms: 20, stored_ms: 30 };

    #[test]
    fn fresh_is_only_what_has_all_its_parts() {
        let name = |text: &str| text.parse::<ClusterName>().expect("a name");
        let both = [name("a"), name("b")];
        for (a, b, judged, stored, said) in [
            (Some(95), Some(90), Some(80), Some(70), None),
            (Some(95), None, Some(80), Some(70), Some("answers: b")),
            (Some(89), Some(0), Some(80), Some(70), Some("answers: a, b")),
            (Some(95), Some(95), Some(79), Some(70), Some("evaluated")),
            (Some(95), Some(95), None, Some(70), Some("evaluated")),
            (Some(95), Some(95), Some(80), Some(69), Some("store")),
        ] {
            let fresh = Freshness::default();
            fresh.note(|times| {
                times.read = both.iter().cloned().zip([(10, a), (10, b)]).collect();
                (times.judged, times.stored) = (judged, stored);
            });
            let stale = fresh.stale(LIMITS, 100);
            assert_eq!(stale.is_some(), said.is_some(), "{stale:?}");
            assert!(stale.unwrap_or_default().contains(said.unwrap_or_default()));
        }
    }

    #[test]
    fn a_cluster_that_is_not_watched_any_more_is_not_missed() {
        let fresh = Freshness::default();
        fresh.judged(100);
        fresh.stored(100);
        assert_eq!(fresh.stale(LIMITS, 100), None);
        let cluster: ClusterName = "a".parse().expect("a name");
        fresh.expect(cluster.clone(), 10);
        assert!(fresh.stale(LIMITS, 100).is_some());
        fresh.forget(&cluster);
        assert_eq!(fresh.stale(LIMITS, 100), None);
    }
}
