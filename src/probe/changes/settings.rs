//! What of a member's configuration its own metrics show: the quota, the limit of open files, which metrics it serves,
//! feature gates, the Go it was built with. The other flags are on the node only (`discover::process`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Happening, event, label};
use crate::model::{Event, EventKind, Instance, MemberReading, Reading, Samples, Severity};

/// Values by the flag's name, or what comes nearest to one.
type Settings = BTreeMap<String, String>;

/// The settings of all members as last scraped.
#[derive(Debug, Clone, Default)]
pub(super) struct Configured {
    by_instance: BTreeMap<Instance, Settings>,
}

impl Configured {
    /// The events that lead to `next`, whose settings are known from then on.
    pub(super) fn observe(&mut self, next: &Reading) -> Vec<Event> {
        let mut events = Vec::new();
        for member in &next.members {
            let Some(scrape) = member.scrape.as_ref().filter(|scrape| scrape.ok) else { continue };
            let now = settings(&scrape.samples);
            if let Some(before) = self.by_instance.get(&member.instance) {
                events.extend(changed(next, member, before, &now, started(&scrape.samples)));
            }
            // What is missing this time, such as a gauge that a starting member has not set, is not forgotten.
            self.by_instance.entry(member.instance.clone()).or_default().extend(now);
        }
        events
    }
}

/// Only what both know: a metric that a version does not have is no setting that was taken away.
fn changed(
    next: &Reading,
    member: &MemberReading,
    before: &Settings,
    now: &Settings,
    started_seconds: f64,
) -> Option<Event> {
    let mut details = Map::new();
    for (key, value) in now {
        if let Some(old) = before.get(key).filter(|old| *old != value) {
            details.insert(key.clone(), json!({ "before": old, "after": value }));
        }
    }
    let keys: Vec<&str> = details.keys().map(String::as_str).collect();
    let text = format!("member {} runs with other settings: {}", label(member), keys.join(", "));
    (!details.is_empty()).then(|| {
        // All who scrape see the same process with the same settings.
        let occurrence = format!("{} of {started_seconds}", Value::Object(details.clone()));
        let (kind, severity, subject) = (EventKind::ConfigChanged, Severity::Info, member.instance.as_str());
        event(next, Happening { kind, severity, subject, occurrence, text, details: Value::Object(details) })
    })
}

fn settings(samples: &Samples) -> Settings {
    let mut settings = Settings::new();
    for (key, metrics) in [
        ("quota-backend-bytes", &["etcd_server_quota_backend_bytes"][..]),
        ("open-files-limit", &["os_fd_limit", "process_max_fds"]),
    ] {
        // Zero is what a gauge has before it is set.
        let value = metrics.iter().find_map(|metric| value(samples, metric)).filter(|value| *value > 0.0);
        settings.extend(value.map(|value| (key.to_owned(), format!("{value:.0}"))));
    }
    if value(samples, "grpc_server_handled_total").is_some() {
        let times_calls = !samples.list().of_metric("grpc_server_handling_seconds_count").is_empty();
        let mode = if times_calls { "extensive" } else { "basic" };
        settings.insert("metrics".to_owned(), mode.to_owned());
    }
    for (labels, value) in labelled(samples, "etcd_server_feature_enabled", "name") {
        settings.insert(format!("feature-gate {labels}"), (value > 0.0).to_string());
    }
    for (version, _) in labelled(samples, "etcd_server_go_version", "server_go_version") {
        settings.insert("go-version".to_owned(), version);
    }
    settings
}

/// The start of the process, seconds since the epoch; 0 where nothing tells.
fn started(samples: &Samples) -> f64 {
    value(samples, "process_start_time_seconds").unwrap_or(0.0).round()
}

fn value(samples: &Samples, metric: &str) -> Option<f64> {
    let at = usize::try_from(*samples.list().of_metric(metric).first()?).ok()?;
    samples.values().get(at).copied()
}

/// The value of one label of each of the metric's series, with the series' value.
fn labelled(samples: &Samples, metric: &str, label: &str) -> Vec<(String, f64)> {
    let of = |at: &u32| {
        let at = usize::try_from(*at).ok()?;
        let labels = samples.list().get(at)?.labels();
        Some((labels.get(label)?.to_owned(), *samples.values().get(at)?))
    };
    samples.list().of_metric(metric).iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Scrape};

    fn scraped(ts_ms: i64, quota: f64, feature: f64, extensive: bool) -> Reading {
        let one = |name: &str| Labels::from_pairs([("__name__", name)]);
        let feature_labels =
            Labels::from_pairs([("__name__", "etcd_server_feature_enabled"), ("name", "DistributedTracing")]);
        let mut samples = vec![
            (one("process_start_time_seconds"), 100.0),
            (one("etcd_server_quota_backend_bytes"), quota),
            (one("os_fd_limit"), 1024.0),
            (one("grpc_server_handled_total"), 5.0),
            (feature_labels, feature),
        ];
        samples.extend(extensive.then(|| (one("grpc_server_handling_seconds_count"), 5.0)));
        let mut member = super::super::tests::member(1, 1, 2);
        member.scrape = Some(Scrape {
            ts_ms,
            duration_seconds: 0.1,
            ok: true,
            body_bytes: 1,
            samples: samples.into_iter().collect(),
            dropped_series: 0,
            added_series: 0,
            clock: None,
        });
        super::super::tests::reading(ts_ms, vec![member])
    }

    #[test]
    fn settings_that_differ_are_one_event_with_what_was_and_is() {
        let mut known = Configured::default();
        assert_eq!(known.observe(&scraped(1, 2e9, 0.0, false)), []);
        assert_eq!(known.observe(&scraped(2, 2e9, 0.0, false)), []);
        // Not set yet, while it starts.
        assert_eq!(known.observe(&scraped(3, 0.0, 0.0, false)), []);
        let events = known.observe(&scraped(4, 8e9, 1.0, true));
        let details: Vec<_> = events.iter().map(|event| &event.details).collect();
        let wanted = json!({
            "feature-gate DistributedTracing": { "before": "false", "after": "true" },
            "metrics": { "before": "basic", "after": "extensive" },
            "quota-backend-bytes": { "before": "2000000000", "after": "8000000000" },
        });
        assert_eq!(details, [&wanted]);
        assert_eq!(known.observe(&scraped(5, 8e9, 1.0, true)), []);
    }

    #[test]
    fn two_witnesses_tell_one_event() {
        let seen = |first: i64, second: i64| {
            let mut known = Configured::default();
            known.observe(&scraped(first, 2e9, 0.0, false));
            known.observe(&scraped(second, 8e9, 0.0, false)).remove(0).id
        };
        assert_eq!(seen(1, 2), seen(7, 9));
    }
}
