//! Routes: which incidents are told together, to which channels, and how often.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::inhibit::{InhibitConfig, InhibitRule};
use super::maintenance::MaintenanceConfig;
use super::mute::{Interval, IntervalError, TimeIntervalConfig};
use super::storm::StormConfig;
use super::{MatchersError, parse_matcher};
use crate::model::unit::ConfigDuration;
use crate::model::{Incident, Labels, Matcher, SecretRef};

/// The `[alert]` section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AlertConfig {
    /// In order; the first that fits takes the incident. None: one route to every channel.
    pub route: Vec<RouteConfig>,
    /// What would be a warning about the ways to people is an error.
    pub production: bool,
    /// Times that routes name.
    pub time_interval: Vec<TimeIntervalConfig>,
    /// In addition to the shipped ones.
    pub inhibit: Vec<InhibitConfig>,
    pub storm: StormConfig,
    /// YAML files of silences; relative to this file.
    pub silence_files: Vec<PathBuf>,
    pub maintenance: Vec<MaintenanceConfig>,
    /// Where the links to acknowledge with are answered, if that is not where the report site is.
    pub ack_url: Option<String>,
    /// What signs them; without one whoever answers them keeps one in the store.
    pub ack_secret: Option<SecretRef>,
}

/// One route as configuration writes it; the words are Alertmanager's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RouteConfig {
    /// All must fit. None: everything fits.
    #[serde(default)]
    pub matchers: Vec<String>,
    /// All of these are told.
    pub channels: Vec<String>,
    /// Told in this order, until one accepts, when a critical notification could not be given to one of
    /// `channels`.
    #[serde(default)]
    pub failover: Vec<String>,
    /// Incidents with equal values of these labels are told together.
    #[serde(default = "default_group_by")]
    pub group_by: Vec<String>,
    /// How long the first incident of a group waits for company. A critical one never waits.
    #[serde(default = "default_group_wait")]
    pub group_wait: ConfigDuration,
    /// The least time between two notifications of one group. A critical incident that is new never waits.
    #[serde(default = "default_group_interval")]
    pub group_interval: ConfigDuration,
    /// After how long an unchanged group that still fires is told again.
    #[serde(default = "default_repeat_interval")]
    pub repeat_interval: ConfigDuration,
    /// Names of time intervals in which nobody is told; what still fires afterwards is told then.
    #[serde(default)]
    pub mute_time_intervals: Vec<String>,
    /// Names of time intervals outside of which nobody is told.
    #[serde(default)]
    pub active_time_intervals: Vec<String>,
    /// Who is told in addition while nobody acknowledges, level by level.
    #[serde(default)]
    pub escalation: Vec<EscalationConfig>,
    #[serde(default = "default_send_resolved")]
    pub send_resolved: bool,
    /// Whether later routes get the incident, too.
    #[serde(default, rename = "continue")]
    pub continues: bool,
}

/// One level of `escalation`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EscalationConfig {
    /// How long an incident was told and not acknowledged; longer than the level before.
    pub after: ConfigDuration,
    /// Told in addition from then on, until the group's story ends.
    pub channels: Vec<String>,
}

fn default_group_by() -> Vec<String> {
    vec!["cluster".to_owned(), "alertname".to_owned()]
}

fn default_group_wait() -> ConfigDuration {
    ConfigDuration(Duration::ZERO)
}

fn default_group_interval() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(60))
}

fn default_repeat_interval() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(4 * 3600))
}

fn default_send_resolved() -> bool {
    true
}

impl RouteConfig {
    /// A route that fits everything and tells all of `channels`.
    pub fn to(channels: Vec<String>) -> Self {
        Self {
            matchers: Vec::new(),
            channels,
            failover: Vec::new(),
            group_by: default_group_by(),
            group_wait: default_group_wait(),
            group_interval: default_group_interval(),
            repeat_interval: default_repeat_interval(),
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
            escalation: Vec::new(),
            send_resolved: default_send_resolved(),
            continues: false,
        }
    }
}

/// What is wrong with the section, by the place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertConfigError {
    #[error("alert.route[{at}].matchers: {source}")]
    Matcher { at: usize, source: MatchersError },
    #[error("alert.inhibit[{at}]: {source}")]
    Inhibit { at: usize, source: MatchersError },
    #[error("alert.route[{at}] names the channel {channel:?}; {known}")]
    UnknownChannel { at: usize, channel: String, known: String },
    #[error(
        "alert.route[{at}].escalation: each level names channels and has a longer `after` than the one before"
    )]
    Escalation { at: usize },
    #[error("alert.route[{at}] names the time interval {name:?}; add [[alert.time-interval]] with that name")]
    UnknownInterval { at: usize, name: String },
    #[error("alert.time-interval {name:?}: {source}")]
    Interval { at: usize, name: String, source: IntervalError },
    #[error("alert.route[{at}].channels is empty; name at least one channel")]
    NoChannel { at: usize },
}

impl AlertConfigError {
    /// The array in the section, and the element of it.
    pub fn place(&self) -> (&'static str, usize) {
        match self {
            Self::Matcher { at, .. }
            | Self::UnknownChannel { at, .. }
            | Self::Escalation { at }
            | Self::UnknownInterval { at, .. }
            | Self::NoChannel { at } => ("route", *at),
            Self::Interval { at, .. } => ("time-interval", *at),
            Self::Inhibit { at, .. } => ("inhibit", *at),
        }
    }
}

/// One route, ready to use. Durations in milliseconds.
#[derive(Debug, Clone)]
pub struct Route {
    matchers: Vec<Matcher>,
    pub channels: Vec<String>,
    pub failover: Vec<String>,
    group_by: Vec<String>,
    pub(super) group_wait_ms: i64,
    pub(super) group_interval_ms: i64,
    pub(super) repeat_interval_ms: i64,
    mute: Vec<Interval>,
    /// `None`: always.
    active: Option<Vec<Interval>>,
    pub(super) escalation: Vec<Level>,
    pub(super) send_resolved: bool,
    continues: bool,
    /// Channels that hear when somebody takes an incident on.
    pub(super) followers: Vec<String>,
}

/// One level of escalation.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub after_ms: i64,
    pub channels: Vec<String>,
}

impl Route {
    fn fits(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// Whether nobody is told at this instant.
    pub fn is_muted(&self, now_ms: i64) -> bool {
        let within = |intervals: &[Interval]| intervals.iter().any(|interval| interval.contains(now_ms));
        within(&self.mute) || self.active.as_ref().is_some_and(|active| !within(active))
    }

    /// The labels that an incident's group has in common.
    pub fn group_labels(&self, incident: &Incident) -> Labels {
        let names: Vec<&str> = self.group_by.iter().map(String::as_str).collect();
        incident.labels.only(&names)
    }

    /// The identity of an incident's group. It names the route by its matchers and not by its place, so
    /// that adding a route does not tell everybody everything again.
    pub fn group_key(&self, incident: &Incident) -> String {
        let matchers: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
        format!("{{{}}}:{{{}}}", matchers.join(","), self.group_labels(incident).canonical())
    }
}

impl Level {
    fn of(config: &EscalationConfig) -> Self {
        Self { after_ms: as_ms(config.after), channels: config.channels.clone() }
    }
}

/// All routes and inhibit rules.
#[derive(Default, Debug, Clone)]
pub struct Routes {
    routes: Vec<Route>,
    pub inhibit: Vec<InhibitRule>,
}

impl Routes {
    /// `channels` are the names of the configured ones.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn new(config: &AlertConfig, channels: &[String]) -> Result<Self, Vec<AlertConfigError>> {
        let mut errors = Vec::new();
        let mut routes = Vec::new();
        let intervals = intervals_of(&config.time_interval, &mut errors);
        let fallback = [RouteConfig::to(channels.to_vec())];
        let configs = if config.route.is_empty() { fallback.as_slice() } else { config.route.as_slice() };
        for (at, route) in configs.iter().enumerate() {
            let escalated = route.escalation.iter().flat_map(|level| &level.channels);
            for channel in route.channels.iter().chain(&route.failover).chain(escalated) {
                if !channels.contains(channel) {
                    let known = match channels {
                        [] => "no channel is configured: add [channel.<name>]".to_owned(),
                        known => format!("configured are: {}", known.join(", ")),
                    };
                    let channel = channel.clone();
                    errors.push(AlertConfigError::UnknownChannel { at, channel, known });
                }
            }
            if route.channels.is_empty() && !config.route.is_empty() {
                errors.push(AlertConfigError::NoChannel { at });
            }
            let rises = route.escalation.is_sorted_by(|before, level| before.after.0 < level.after.0);
            if !rises || route.escalation.iter().any(|level| level.channels.is_empty()) {
                errors.push(AlertConfigError::Escalation { at });
            }
            let parsed: Vec<_> = route.matchers.iter().map(|text| parse_matcher(text)).collect();
            let mut matchers = Vec::new();
            for matcher in parsed {
                match matcher {
                    Ok(matcher) => matchers.push(matcher),
                    Err(source) => errors.push(AlertConfigError::Matcher { at, source }),
                }
            }
            routes.push(Route {
                matchers,
                channels: route.channels.clone(),
                failover: route.failover.clone(),
                group_by: route.group_by.clone(),
                group_wait_ms: as_ms(route.group_wait),
                group_interval_ms: as_ms(route.group_interval),
                repeat_interval_ms: as_ms(route.repeat_interval),
                mute: named(&intervals, &route.mute_time_intervals, at, &mut errors),
                active: (!route.active_time_intervals.is_empty())
                    .then(|| named(&intervals, &route.active_time_intervals, at, &mut errors)),
                escalation: route.escalation.iter().map(Level::of).collect(),
                send_resolved: route.send_resolved,
                continues: route.continues,
                followers: Vec::new(),
            });
        }
        let mut inhibit = InhibitRule::shipped();
        for (at, rule) in config.inhibit.iter().enumerate() {
            match InhibitRule::new(rule) {
                Ok(rule) => inhibit.push(rule),
                Err(source) => errors.push(AlertConfigError::Inhibit { at, source }),
            }
        }
        if errors.is_empty() { Ok(Self { routes, inhibit }) } else { Err(errors) }
    }

    /// These channels hear when somebody takes an incident on, or gives it back.
    #[must_use]
    pub fn with_followers(mut self, channels: &[String]) -> Self {
        self.routes.iter_mut().for_each(|route| route.followers = channels.to_vec());
        self
    }

    /// The routes that take an incident with these labels.
    pub fn of(&self, labels: &Labels) -> Vec<&Route> {
        let mut taken = Vec::new();
        for route in self.routes.iter().filter(|route| route.fits(labels)) {
            taken.push(route);
            if !route.continues {
                break;
            }
        }
        taken
    }
}

type Intervals<'a> = BTreeMap<&'a str, Vec<Interval>>;

fn intervals_of<'a>(configs: &'a [TimeIntervalConfig], errors: &mut Vec<AlertConfigError>) -> Intervals<'a> {
    let mut intervals = Intervals::new();
    for (at, config) in configs.iter().enumerate() {
        let of_name = intervals.entry(config.name.as_str()).or_default();
        for interval in &config.intervals {
            match Interval::new(interval) {
                Ok(interval) => of_name.push(interval),
                Err(source) => {
                    errors.push(AlertConfigError::Interval { at, name: config.name.clone(), source });
                }
            }
        }
    }
    intervals
}

fn named(
    intervals: &Intervals<'_>,
    names: &[String],
    at: usize,
    errors: &mut Vec<AlertConfigError>,
) -> Vec<Interval> {
    let mut found = Vec::new();
    for name in names {
        match intervals.get(name.as_str()) {
            Some(of_name) => found.extend(of_name.iter().cloned()),
            None => errors.push(AlertConfigError::UnknownInterval { at, name: name.clone() }),
        }
    }
    found
}

fn as_ms(duration: ConfigDuration) -> i64 {
    i64::try_from(duration.0.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::incident::{Observation, step, tests::finding};
    use super::*;

    fn config(text: &str) -> AlertConfig {
        toml::from_str(text).expect("a valid section")
    }

    #[test]
    fn the_first_fitting_route_takes_it_unless_it_continues() {
        let config = config(
            r#"
            [[route]]
            matchers = ["severity=info"]
            channels = ["log"]
            [[route]]
            matchers = ["severity=critical"]
            channels = ["pager"]
            continue = true
            [[route]]
            channels = ["mail"]
            "#,
        );
        let names = ["log", "pager", "mail"].map(str::to_owned);
        let routes = Routes::new(&config, &names).expect("valid");
        for (severity, channels) in
            [("info", vec!["log"]), ("critical", vec!["pager", "mail"]), ("warning", vec!["mail"])]
        {
            let labels = Labels::from_pairs([("severity", severity)]);
            let told: Vec<_> = routes.of(&labels).iter().flat_map(|route| &route.channels).collect();
            assert_eq!(told, channels);
        }
    }

    #[test]
    fn all_errors_come_at_once() {
        let config = config(
            r#"
            [[route]]
            matchers = ["severity"]
            channels = ["nope"]
            [[route]]
            channels = []
            [[route]]
            channels = ["mail"]
            escalation = [{ after = "10m", channels = ["mail"] }, { after = "5m", channels = ["mail"] }]
            [[inhibit]]
            source = ["a=~("]
            target = []
            "#,
        );
        let errors = Routes::new(&config, &["mail".to_owned()]).expect_err("five errors");
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 5, "{text:?}");
        assert!(text[0].contains("\"nope\"") && text[0].contains("mail"), "{text:?}");
    }

    #[test]
    fn without_routes_every_channel_is_told() {
        let routes = Routes::new(&AlertConfig::default(), &["mail".to_owned()]).expect("valid");
        assert_eq!(routes.of(&Labels::default())[0].channels, ["mail"]);
    }

    #[test]
    fn a_groups_key_does_not_depend_on_the_instance() {
        let routes = Routes::new(&AlertConfig::default(), &[]).expect("valid");
        let key = |instance| {
            let finding = finding("EtcdMemberDown", "a", instance, "critical");
            let incident = step(None, &Observation::Found(&finding), 1).expect("fires");
            routes.of(&incident.labels)[0].group_key(&incident)
        };
        assert_eq!(key("m1"), key("m2"));
        assert_eq!(key("m1"), "{}:{alertname=\"EtcdMemberDown\",cluster=\"a\"}");
    }
}
