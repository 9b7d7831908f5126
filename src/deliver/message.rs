//! What a notification says, independent of the channel.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::alert::{Group, Kind};
use crate::model::unit::rfc3339;
use crate::model::{Incident, Labels};

/// One notification about to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub group: &'a Group,
    /// The channel's configured name: Alertmanager's `receiver`.
    pub channel: &'a str,
    pub idempotency_key: &'a str,
}

impl Message<'_> {
    /// `[FIRING:1] EtcdMemberDown prod-eu-1 (critical)`.
    pub fn subject(&self) -> String {
        let firing = self.group.firing().count();
        let status = match self.group.kind {
            Kind::Resolved => "[RESOLVED]".to_owned(),
            Kind::Repeat => format!("[STILL FIRING:{firing}]"),
            Kind::Firing => format!("[FIRING:{firing}]"),
        };
        let mut words = vec![status];
        let shared = common(self.group.incidents.iter().map(|incident| &incident.labels));
        for name in ["alertname", "cluster"] {
            words.extend(shared.get(name).cloned());
        }
        words.push(format!("({})", self.group.severity));
        words.join(" ").replace(['\r', '\n'], " ")
    }

    /// Whether anything of it still fires.
    pub fn status(&self) -> &'static str {
        if self.group.kind == Kind::Resolved { "resolved" } else { "firing" }
    }
}

/// The payload that Alertmanager's webhook receivers understand, version 4.
pub fn payload(message: &Message<'_>) -> Value {
    let group = message.group;
    let alerts: Vec<Value> = group.incidents.iter().map(alert).collect();
    json!({
        "version": "4",
        "groupKey": group.key,
        "truncatedAlerts": 0,
        "status": message.status(),
        "receiver": message.channel,
        "groupLabels": map(&group.labels),
        "commonLabels": common(group.incidents.iter().map(|incident| &incident.labels)),
        "commonAnnotations": common_annotations(&group.incidents),
        "externalURL": "",
        "alerts": alerts,
    })
}

fn alert(incident: &Incident) -> Value {
    let ended = !incident.state.is_active();
    json!({
        "status": if ended { "resolved" } else { "firing" },
        "labels": map(&incident.labels),
        "annotations": incident.annotations,
        "startsAt": rfc3339(incident.active_since_ms),
        // The zero time of Go says "not yet".
        "endsAt": if ended { rfc3339(incident.changed_ms) } else { "0001-01-01T00:00:00Z".to_owned() },
        "generatorURL": "",
        "fingerprint": incident.fingerprint,
    })
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect()
}

fn common<'a>(sets: impl Iterator<Item = &'a Labels>) -> BTreeMap<String, String> {
    shared(sets.map(map))
}

fn common_annotations(incidents: &[Incident]) -> BTreeMap<String, String> {
    shared(incidents.iter().map(|incident| incident.annotations.clone()))
}

fn shared(mut maps: impl Iterator<Item = BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut shared = maps.next().unwrap_or_default();
    for map in maps {
        shared.retain(|name, value| map.get(name) == Some(value));
    }
    shared
}
