//! What a notification says, independent of the channel.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::AckLinks;
use crate::alert::{Group, Kind};
use crate::model::unit::{human_span, rfc3339};
use crate::model::{Incident, Labels};

/// One notification about to be sent.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub group: &'a Group,
    /// The channel's configured name: Alertmanager's `receiver`.
    pub channel: &'a str,
    pub idempotency_key: &'a str,
    /// When it is sent, ms since the epoch: for signatures, which hold only for a while.
    pub sent_ms: i64,
    /// Where the report site is, or empty.
    pub external_url: &'a str,
    /// Makes the links to acknowledge with; none while nobody answers them.
    pub ack: Option<&'a AckLinks>,
    /// What the other side called the first message of this story, if it is known.
    pub reference: Option<&'a str>,
}

/// The longest short text: two parts of an SMS in GSM 7-bit, characters.
const SHORT_MAX: usize = 306;

impl Message<'_> {
    /// `[FIRING:1] EtcdMemberDown prod-eu-1 (critical)`.
    pub fn subject(&self) -> String {
        let firing = self.group.firing().count();
        let status = match self.group.kind {
            Kind::Resolved => "[RESOLVED]".to_owned(),
            Kind::Repeat => format!("[STILL FIRING:{firing}]"),
            Kind::Escalated => format!("[ESCALATED:{firing}]"),
            Kind::Taken if self.group.incidents.iter().any(Incident::awaits_somebody) => {
                format!("[FIRING:{firing}]")
            }
            Kind::Taken => format!("[ACKNOWLEDGED:{firing}]"),
            Kind::Storm => return self.storm_subject(),
            Kind::Firing => format!("[FIRING:{firing}]"),
        };
        let mut words = vec![status];
        let shared = common(self.group.incidents.iter().map(|incident| &incident.labels));
        for name in ["alertname", "cluster"] {
            words.extend(shared.get(name).cloned());
        }
        words.push(format!("({})", self.group.severity));
        if let Kind::Escalated = self.group.kind {
            words.push(self.escalation());
        }
        words.join(" ").replace(['\r', '\n'], " ")
    }

    /// `[STORM] 312 alerts in 14 clusters (critical)`.
    fn storm_subject(&self) -> String {
        let (all, firing) = (self.group.incidents.len(), self.group.firing().count());
        let clusters: BTreeSet<_> = self.group.incidents.iter().filter_map(Incident::cluster).collect();
        let what = match all.saturating_sub(firing) {
            0 => format!("{all} alerts"),
            over if over == all => format!("{all} resolved alerts"),
            over => format!("{firing} alerts, {over} resolved"),
        };
        let s = if clusters.len() == 1 { "" } else { "s" };
        format!("[STORM] {what} in {} cluster{s} ({})", clusters.len(), self.group.severity)
    }

    /// The routes' own channels are level 1.
    fn escalation(&self) -> String {
        let waited = human_span(self.group.unheeded_ms());
        format!("level {}: not acknowledged for {waited}", self.group.level.saturating_add(1))
    }

    /// What is to be said before the incidents, where the kind of the message needs words.
    pub fn lead(&self) -> Option<String> {
        match self.group.kind {
            Kind::Escalated => Some(format!("Escalated to {}.", self.escalation())),
            Kind::Storm => Some(
                "There is too much news for a message each. This is all of it; `etcd-monitor alerts` and the \
                 report list it, too."
                    .to_owned(),
            ),
            Kind::Firing | Kind::Resolved | Kind::Repeat | Kind::Taken => None,
        }
    }

    /// For channels with little room: the subject and what the first incident says.
    pub fn short_text(&self) -> String {
        let summary = self.group.incidents.first().map_or("", Incident::summary);
        shortened(&format!("{}: {summary}", self.subject()).replace(['\r', '\n'], " "), SHORT_MAX)
    }

    /// An incident's labels, by name.
    pub fn labels(&self, incident: &Incident) -> BTreeMap<String, String> {
        map(&incident.labels)
    }

    /// Where the incident is acknowledged, if that can and needs to be.
    pub fn ack_url(&self, incident: &Incident) -> Option<String> {
        self.ack?.of(incident, self.sent_ms)
    }

    /// Whether anything of it still fires.
    pub fn status(&self) -> &'static str {
        let over = match self.group.kind {
            Kind::Resolved => true,
            Kind::Storm => self.group.firing().next().is_none(),
            Kind::Firing | Kind::Repeat | Kind::Escalated | Kind::Taken => false,
        };
        if over { "resolved" } else { "firing" }
    }
}

/// The payload that Alertmanager's webhook receivers understand, version 4.
pub fn payload(message: &Message<'_>) -> Value {
    let group = message.group;
    let alerts: Vec<Value> = group.incidents.iter().map(|incident| alert(message, incident)).collect();
    json!({
        "version": "4",
        "groupKey": group.key,
        "truncatedAlerts": 0,
        "status": message.status(),
        "receiver": message.channel,
        "groupLabels": map(&group.labels),
        "commonLabels": common(group.incidents.iter().map(|incident| &incident.labels)),
        "commonAnnotations": common_annotations(&group.incidents),
        "externalURL": message.external_url,
        "alerts": alerts,
    })
}

fn alert(message: &Message<'_>, incident: &Incident) -> Value {
    let ended = !incident.state.is_active();
    let mut annotations = incident.annotations.clone();
    annotations.extend(message.ack_url(incident).map(|link| ("ack_url".to_owned(), link)));
    json!({
        "status": if ended { "resolved" } else { "firing" },
        "labels": map(&incident.labels),
        "annotations": annotations,
        "startsAt": rfc3339(incident.active_since_ms),
        // The zero time of Go says "not yet".
        "endsAt": if ended { rfc3339(incident.changed_ms) } else { "0001-01-01T00:00:00Z".to_owned() },
        "generatorURL": message.external_url,
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

/// At most `max` characters, the last of them an ellipsis where something is missing.
pub(super) fn shortened(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// # Errors
/// When it is not a number in the form of E.164.
pub(super) fn phone_number(text: &str) -> Result<(), String> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    if (7..=15).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit()) {
        Ok(())
    } else {
        Err(format!("{text:?} is not a phone number; write it as \"+4915112345678\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_with_an_ellipsis() {
        for (text, max, short) in [("abc", 3, "abc"), ("äbcd", 3, "äb…"), ("", 0, "")] {
            assert_eq!(shortened(text, max), short);
        }
    }

    #[test]
    fn phone_numbers_begin_with_the_country() {
        for (text, valid) in
            [("+4915112345678", true), ("015112345678", false), ("+49 151", false), ("+", false)]
        {
            assert_eq!(phone_number(text).is_ok(), valid, "{text}");
        }
    }
}
