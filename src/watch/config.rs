//! The `[watch]` section.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::schedule::{HEALTH_EVERY, MEMBERS_EVERY};
use crate::model::unit::{ByteSize, ConfigDuration};

/// How often `watch` looks, and how much it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Status of every member.
    pub status_interval: ConfigDuration,
    /// A linearizable and a serializable read.
    pub quorum_interval: ConfigDuration,
    /// `/metrics` of every member, and the interval of rule groups without their own.
    pub scrape_interval: ConfigDuration,
    /// Nobody waits longer than this for an event that only counters of `/metrics` tell: between two scrapes that are
    /// farther apart, members are asked once more, and only events are kept of it.
    pub events_interval: ConfigDuration,
    /// How much is lost at most when the process is killed. 15 s in a folder, 60 s in a bucket when absent.
    pub flush_interval: Option<ConfigDuration>,
    /// What the head may take in memory.
    pub head_max_bytes: ByteSize,
}

const fn seconds(seconds: u64) -> ConfigDuration {
    ConfigDuration(Duration::from_secs(seconds))
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            status_interval: seconds(2),
            quorum_interval: seconds(10),
            scrape_interval: seconds(15),
            events_interval: seconds(8),
            flush_interval: None,
            head_max_bytes: ByteSize(256 << 20),
        }
    }
}

impl WatchConfig {
    /// The flush interval for a store in a folder or in a bucket.
    pub fn flush_interval(&self, local: bool) -> Duration {
        let default = if local { seconds(15) } else { seconds(60) };
        self.flush_interval.unwrap_or(default).0
    }

    /// How old a heartbeat may be for its loop to count as alive, ms: one beat may be late.
    pub fn fresh_ms(&self, local: bool) -> i64 {
        let beats = self.flush_interval(local) * 2 + Duration::from_secs(5);
        i64::try_from(beats.as_millis()).unwrap_or(i64::MAX / 4)
    }

    /// What one member is asked at most, requests per second, when nothing is wrong: its status; a linearizable and a
    /// serializable read; `/metrics`, at least for events; the three health endpoints; and the member list, of which it
    /// may be the one that is asked.
    pub fn requests_per_second(&self) -> f64 {
        let per_second = |interval: Duration| 1.0 / interval.as_secs_f64().max(0.001);
        let metrics = self.scrape_interval.0.min(self.events_interval.0);
        per_second(self.status_interval.0)
            + 2.0 * per_second(self.quorum_interval.0)
            + per_second(metrics)
            + per_second(MEMBERS_EVERY)
            + 3.0 * per_second(HEALTH_EVERY)
    }

    /// What is wrong with the values, as (key, message).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let all = [
            ("status-interval", self.status_interval.0),
            ("quorum-interval", self.quorum_interval.0),
            ("scrape-interval", self.scrape_interval.0),
            ("events-interval", self.events_interval.0),
        ];
        for (key, interval) in all {
            // Two requests a second and member is the promise; the status poll alone may take one.
            if interval < Duration::from_secs(1) {
                problems
                    .push((key, "must be at least 1s: etcd is not to be loaded by its monitor".to_owned()));
            }
        }
        if self.flush_interval.is_some_and(|flush| flush.0 < Duration::from_secs(1)) {
            problems.push(("flush-interval", "must be at least 1s".to_owned()));
        }
        problems
    }
}
