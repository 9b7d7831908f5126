//! A configured cluster, ready to connect: its login resolved, its files looked at.

use std::sync::Arc;
use std::time::Duration;

use crate::backup::BackupConfig;
use crate::etcd::{self, ClusterConfig, EtcdError, Login, WatchOverrides};
use crate::probe::{Prober, ScrapeConfig, SeriesPool};
use crate::watch::WatchConfig;

/// How a cluster is reached, with its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSetup {
    pub config: ClusterConfig,
    pub login: Option<Login>,
    /// The login of [`ClusterConfig::backup_auth`].
    pub backup_login: Option<Login>,
}

/// A cluster that is scraped less often than this has too few samples for rules over five minutes.
const SLOWEST_SCRAPE: Duration = Duration::from_secs(60);

impl ClusterSetup {
    /// How often this cluster is asked; `fleet` is how often others are.
    pub fn watch(&self, fleet: &WatchConfig) -> WatchConfig {
        let own = &self.config.watch;
        WatchConfig {
            status_interval: own.status_interval.unwrap_or(fleet.status_interval),
            quorum_interval: own.quorum_interval.unwrap_or(fleet.quorum_interval),
            scrape_interval: own.scrape_interval.unwrap_or(fleet.scrape_interval),
            events_interval: own.events_interval.unwrap_or(fleet.events_interval),
            ..fleet.clone()
        }
    }

    /// Whether it is backed up by schedule; `fleet` is what is said of all.
    pub fn is_backed_up(&self, fleet: &BackupConfig) -> bool {
        self.config.backup.enabled.unwrap_or(fleet.enabled)
    }

    /// The tag that says that others depend on it, if there is one.
    pub fn production_tag(&self) -> Option<(&str, &str)> {
        let is_it = |word: &str| word.eq_ignore_ascii_case("production") || word.eq_ignore_ascii_case("prod");
        let mut tags = self.config.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        tags.find(|(key, value)| is_it(value) || (is_it(key) && !matches!(*value, "false" | "no")))
    }

    /// What is taken of this cluster's metrics; `fleet` is what is of others'.
    pub fn scrape(&self, fleet: &ScrapeConfig) -> ScrapeConfig {
        let own = &self.config.scrape;
        ScrapeConfig {
            timeout: own.timeout.unwrap_or(fleet.timeout),
            max_body: own.max_body.unwrap_or(fleet.max_body),
            max_series_per_member: own.max_series_per_member.unwrap_or(fleet.max_series_per_member),
            drop: own.drop.clone().unwrap_or_else(|| fleet.drop.clone()),
            host_metrics: fleet.host_metrics,
        }
    }

    /// What is wrong with what it has of its own, as (key, message).
    pub fn own_problems(&self, fleet: &WatchConfig) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.config.watch != WatchOverrides::default() {
            let watch = self.watch(fleet);
            let of_values = watch.problems().into_iter();
            problems.extend(of_values.map(|(key, message)| (format!("watch.{key}"), message)));
            if watch.scrape_interval.0 > SLOWEST_SCRAPE {
                let message = "must be at most 1m: rules over five minutes need samples".to_owned();
                problems.push(("watch.scrape-interval".to_owned(), message));
            }
            let (asked, most) = (watch.requests_per_second(), self.config.max_requests_per_second);
            if asked > most {
                let message = format!(
                    "these intervals make {asked:.1} requests per second and member, \
                     and max-requests-per-second is {most}"
                );
                problems.push(("watch".to_owned(), message));
            }
        }
        if let Err(error) = self.scrape(&ScrapeConfig::default()).keep() {
            problems.push(("scrape.drop".to_owned(), error.to_string()));
        }
        problems
    }

    /// A prober for this cluster with `scrape` as the fleet has it; those of a fleet share `pool`.
    ///
    /// # Errors
    /// When the configuration does not fit together.
    pub fn prober(&self, scrape: &ScrapeConfig, pool: &Arc<SeriesPool>) -> Result<Prober, EtcdError> {
        Prober::sharing(&self.config, self.login.as_ref(), &self.scrape(scrape), pool)
    }

    /// What is wrong with the files it names, as (key, message): found at start, not at the first call.
    pub fn file_problems(&self) -> Vec<(&'static str, String)> {
        let tls = self.config.tls.iter().chain(&self.config.backup_tls);
        let problems = tls.flat_map(etcd::file_problems);
        let said = |problem| match problem {
            EtcdError::TlsFile { key, path, problem } => (key, format!("{} {problem}", path.display())),
            other => ("tls", other.to_string()),
        };
        problems.map(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(toml: &str) -> ClusterSetup {
        let text = format!("name = 'a'\nendpoints = ['http://h:1']\n{toml}");
        ClusterSetup { config: toml::from_str(&text).expect("a cluster"), login: None, backup_login: None }
    }

    #[test]
    fn own_intervals_are_kept_within_the_budget_of_requests() {
        let fleet = WatchConfig::default();
        for (toml, key, said) in [
            ("", None, ""),
            ("[watch]\nscrape-interval = '1m'", None, ""),
            ("[watch]\nstatus-interval = '1s'\nquorum-interval = '5s'", None, ""),
            (
                "[watch]\nquorum-interval = '1s'",
                Some("watch"),
                "make 2.8 requests per second and member, and max-requests-per-second is 2",
            ),
            ("max-requests-per-second = 3.0\n[watch]\nquorum-interval = '1s'", None, ""),
            (
                "max-requests-per-second = 0.5\n[watch]\nstatus-interval = '4s'",
                Some("watch"),
                "make 0.7 requests",
            ),
            ("[watch]\nscrape-interval = '2m'", Some("watch.scrape-interval"), "at most 1m"),
            (
                "max-requests-per-second = 9.0\n[watch]\nstatus-interval = '500ms'",
                Some("watch.status-interval"),
                "at least 1s",
            ),
            ("[scrape]\ndrop = ['(']", Some("scrape.drop"), "regex"),
        ] {
            let problems = setup(toml).own_problems(&fleet);
            assert_eq!(problems.first().map(|(key, _)| key.as_str()), key, "{toml}: {problems:?}");
            assert!(problems.iter().all(|(_, message)| message.contains(said)), "{toml}: {problems:?}");
        }
        let own = setup("[watch]\nscrape-interval = '30s'\n[scrape]\nmax-series-per-member = 7");
        assert_eq!(own.watch(&fleet).scrape_interval.0, Duration::from_secs(30));
        assert_eq!(own.watch(&fleet).status_interval, fleet.status_interval);
        let scrape = own.scrape(&ScrapeConfig::default());
        assert_eq!((scrape.max_series_per_member, scrape.max_body), (7, ScrapeConfig::default().max_body));
    }
}
