//! Maintenance windows: times, once or again and again, in which nothing of some clusters is told. In effect
//! they are silences that come and go by the calendar.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;

use super::mute::{Interval, IntervalConfig, IntervalError};
use super::silence_file::short_hash;
use super::{Silence, maintenance_matchers};
use crate::model::ClusterName;

/// `[[alert.maintenance]]`: whose, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct MaintenanceConfig {
    /// By name.
    pub clusters: Vec<ClusterName>,
    /// All clusters with all of these tags, beside those named.
    pub tags: BTreeMap<String, String>,
    /// Recurring times, as in `[[alert.time-interval]]`; or `starts` and `ends`.
    pub intervals: Vec<IntervalConfig>,
    /// RFC 3339, such as `2026-12-01T22:00:00Z`.
    pub starts: Option<String>,
    pub ends: Option<String>,
    pub comment: String,
}

/// A window that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaintenanceError {
    #[error("needs clusters or tags")]
    NoCluster,
    #[error("there is no cluster {name:?}")]
    UnknownCluster { name: String },
    #[error("no cluster has the tags {tags}")]
    UnknownTags { tags: String },
    #[error("needs intervals, or starts and ends")]
    NoTime,
    #[error("{field}: {text:?} is not an instant like 2026-12-01T22:00:00Z")]
    Instant { field: &'static str, text: String },
    #[error("it ends before it starts")]
    Backwards,
    #[error(transparent)]
    Interval(#[from] IntervalError),
}

impl MaintenanceError {
    /// Whether nothing is wrong but that a cluster is not there.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::UnknownCluster { .. } | Self::UnknownTags { .. })
    }
}

/// One window, ready to use.
#[derive(Debug, Clone)]
pub struct Maintenance {
    clusters: Vec<ClusterName>,
    times: Times,
    comment: String,
}

#[derive(Debug, Clone)]
enum Times {
    /// From, until before; ms since the epoch.
    Once(i64, i64),
    Recurring(Vec<Interval>),
}

const MINUTE_MS: i64 = 60_000;
/// How far recurring times are looked for: a week and a day, as weekdays repeat by then.
const REACH_MS: i64 = 8 * 86_400_000;

impl Maintenance {
    /// `clusters` are the configured ones with their tags.
    ///
    /// # Errors
    /// What is wrong with the window.
    pub fn new<'a>(
        config: &MaintenanceConfig,
        clusters: impl Iterator<Item = (&'a ClusterName, &'a BTreeMap<String, String>)>,
    ) -> Result<Self, MaintenanceError> {
        let known: Vec<_> = clusters.collect();
        if config.clusters.is_empty() && config.tags.is_empty() {
            return Err(MaintenanceError::NoCluster);
        }
        if let Some(name) = config.clusters.iter().find(|name| known.iter().all(|(there, _)| there != name)) {
            return Err(MaintenanceError::UnknownCluster { name: name.to_string() });
        }
        let has_all = |tags: &BTreeMap<String, String>| {
            !config.tags.is_empty() && config.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
        };
        let tagged: Vec<_> = known.iter().filter(|(_, tags)| has_all(tags)).map(|(name, _)| *name).collect();
        if !config.tags.is_empty() && tagged.is_empty() {
            let tags = config.tags.iter().map(|(key, value)| format!("{key}={value}"));
            return Err(MaintenanceError::UnknownTags { tags: tags.collect::<Vec<_>>().join(", ") });
        }
        let mut clusters: Vec<ClusterName> = config.clusters.iter().chain(tagged).cloned().collect();
        clusters.sort();
        clusters.dedup();
        let times = match (&config.starts, &config.ends, config.intervals.as_slice()) {
            (Some(starts), Some(ends), []) => {
                let (starts_ms, ends_ms) = (instant("starts", starts)?, instant("ends", ends)?);
                if ends_ms <= starts_ms {
                    return Err(MaintenanceError::Backwards);
                }
                Times::Once(starts_ms, ends_ms)
            }
            (None, None, [_, ..]) => {
                Times::Recurring(config.intervals.iter().map(Interval::new).collect::<Result<_, _>>()?)
            }
            _ => return Err(MaintenanceError::NoTime),
        };
        let comment = if config.comment.is_empty() { "maintenance" } else { &config.comment };
        Ok(Self { clusters, times, comment: comment.to_owned() })
    }

    /// One silence per cluster for the window that is now, or else for the last and for the next one within
    /// 8 days.
    pub fn silences(&self, now_ms: i64) -> Vec<Silence> {
        let spans = match &self.times {
            Times::Once(starts_ms, ends_ms) => vec![(*starts_ms, *ends_ms)],
            Times::Recurring(intervals) => spans_around(intervals, now_ms),
        };
        let silence = |cluster: &ClusterName, (starts_ms, ends_ms): (i64, i64)| Silence {
            id: format!("window-{}", short_hash(&format!("{cluster}\n{starts_ms}"))),
            matchers: maintenance_matchers(cluster),
            starts_ms,
            ends_ms,
            author: "configuration".to_owned(),
            comment: self.comment.clone(),
        };
        self.clusters
            .iter()
            .flat_map(|cluster| spans.iter().map(move |span| silence(cluster, *span)))
            .collect()
    }
}

fn instant(field: &'static str, text: &str) -> Result<i64, MaintenanceError> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_millis());
    parsed.map_err(|_| MaintenanceError::Instant { field, text: text.to_owned() })
}

/// Minute by minute, as an interval can begin and end at any and knows no more than whether it contains one.
fn spans_around(intervals: &[Interval], now_ms: i64) -> Vec<(i64, i64)> {
    let contains = |at_ms: i64| intervals.iter().any(|interval| interval.contains(at_ms));
    let minute_ms = now_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
    let steps = REACH_MS / MINUTE_MS;
    let ahead = |from_ms: i64| (1..=steps).map(move |step| from_ms + step * MINUTE_MS);
    let back = |from_ms: i64| (1..=steps).map(move |step| from_ms - step * MINUTE_MS);
    // Longer than it is looked for: since ever, and the end moves on day by day.
    let start_of = |inside_ms: i64| back(inside_ms).find(|at| !contains(*at)).map_or(0, |at| at + MINUTE_MS);
    let end_of = |inside_ms: i64| {
        ahead(inside_ms)
            .find(|at| !contains(*at))
            .unwrap_or((inside_ms + REACH_MS).div_euclid(REACH_MS / 8) * (REACH_MS / 8))
    };
    if contains(minute_ms) {
        return vec![(start_of(minute_ms), end_of(minute_ms))];
    }
    let last = back(minute_ms).find(|at| contains(*at)).map(|at| (start_of(at), at + MINUTE_MS));
    let next = ahead(minute_ms).find(|at| contains(*at)).map(|at| (at, end_of(at)));
    last.into_iter().chain(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("an instant").timestamp_millis()
    }

    fn window(text: &str) -> Result<Maintenance, MaintenanceError> {
        let config: MaintenanceConfig = toml::from_str(text).expect("the right fields");
        let tag = |value: &str| BTreeMap::from([("env".to_owned(), value.to_owned())]);
        let name = |text: &str| text.parse::<ClusterName>().expect("a name");
        let known = [(name("a"), tag("prod")), (name("b"), tag("test")), (name("c"), tag("test"))];
        Maintenance::new(&config, known.iter().map(|(name, tags)| (name, tags)))
    }

    #[test]
    fn a_window_is_a_silence_of_each_of_its_clusters() {
        // 2026-11-22 is a Sunday; Berlin is an hour ahead.
        let text = "clusters = ['a']\ntags = { env = 'test' }\ncomment = 'patches'\n\
            intervals = [{ weekdays = ['sunday'], times = [{ start-time = '02:00', end-time = '04:00' }], location = 'Europe/Berlin' }]";
        let recurring = window(text).expect("valid");
        let span = |day: &str| (at(&format!("{day}T01:00:00Z")), at(&format!("{day}T03:00:00Z")));
        for (now, spans) in [
            ("2026-11-22T01:00:00Z", vec![span("2026-11-22")]),
            ("2026-11-22T02:59:59Z", vec![span("2026-11-22")]),
            ("2026-11-22T03:00:00Z", vec![span("2026-11-22"), span("2026-11-29")]),
            ("2026-11-22T00:59:59Z", vec![span("2026-11-15"), span("2026-11-22")]),
        ] {
            let silences = recurring.silences(at(now));
            let of_b = silences.iter().filter(|silence| silence.matchers == ["cluster=\"b\""]);
            assert_eq!(of_b.map(|s| (s.starts_ms, s.ends_ms)).collect::<Vec<_>>(), spans, "{now}");
            assert_eq!(silences.len(), 3 * spans.len(), "{now}");
            assert!(silences.iter().all(|silence| silence.check().is_ok() && silence.comment == "patches"));
        }
        let ids = |now: &str| recurring.silences(at(now)).into_iter().map(|s| s.id).collect::<Vec<_>>();
        assert_eq!(ids("2026-11-22T01:00:00Z"), ids("2026-11-22T02:59:00Z"), "one window, one id");

        let once =
            window("clusters = ['a']\nstarts = '2026-12-01T22:00:00Z'\nends = '2026-12-02T02:00:00+01:00'");
        let silences = once.expect("valid").silences(0);
        assert_eq!(
            (silences[0].starts_ms, silences[0].ends_ms),
            (at("2026-12-01T22:00:00Z"), at("2026-12-02T01:00:00Z"))
        );

        let always =
            window("clusters = ['a']\nintervals = [{}]").expect("valid").silences(at("2026-11-22T01:00:00Z"));
        assert!(always.len() == 1 && always[0].is_active(at("2026-11-22T01:00:00Z")), "{always:?}");
    }

    #[test]
    fn a_window_that_makes_no_sense_says_why() {
        for (text, message) in [
            ("intervals = [{}]", "needs clusters or tags"),
            ("clusters = ['z']\nintervals = [{}]", "no cluster \"z\""),
            ("tags = { env = 'dev' }\nintervals = [{}]", "the tags env=dev"),
            ("clusters = ['a']", "needs intervals"),
            ("clusters = ['a']\nstarts = '2026-12-01T22:00:00Z'", "needs intervals"),
            ("clusters = ['a']\nstarts = 'now'\nends = '2026-12-01T22:00:00Z'", "starts: \"now\""),
            (
                "clusters = ['a']\nstarts = '2026-12-01T22:00:00Z'\nends = '2026-12-01T22:00:00Z'",
                "ends before",
            ),
            ("clusters = ['a']\nintervals = [{ weekdays = ['mon'] }]", "weekdays: \"mon\""),
        ] {
            let error = window(text).expect_err(text).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
