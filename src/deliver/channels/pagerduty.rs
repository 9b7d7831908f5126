//! PagerDuty, Events API v2: one event per incident, so that each can be acknowledged and resolved by itself.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Configured;
use crate::deliver::address::{checked_url, end_of};
use crate::deliver::channel::Reference;
use crate::deliver::config::{Resolve, request_timeout};
use crate::deliver::http::{Http, all_of};
use crate::deliver::message::shortened;
use crate::deliver::{Channel, Message, SendError};
use crate::model::unit::{ConfigDuration, rfc3339};
use crate::model::{Incident, IncidentState, SecretRef, Severity};

/// `type = "pagerduty"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PagerDutyConfig {
    /// The integration key of a service with an Events API v2 integration.
    pub routing_key: SecretRef,
    /// `https://events.eu.pagerduty.com/v2/enqueue` in the EU region.
    #[serde(default = "default_url")]
    pub url: String,
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default = "request_timeout")]
    pub timeout: ConfigDuration,
}

fn default_url() -> String {
    "https://events.pagerduty.com/v2/enqueue".to_owned()
}

/// The longest `payload.summary` that the API takes, characters.
const SUMMARY_MAX: usize = 1024;
/// Events under way at once.
const PARALLEL: usize = 8;

struct PagerDuty {
    http: Http,
    url: Url,
    routing_key: SecretString,
    timeout: Duration,
}

impl Configured for PagerDutyConfig {
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        Ok(Arc::new(PagerDuty {
            http: Http::new("PagerDuty", self.allow_private)?,
            url: checked_url(&self.url, self.allow_private)?,
            routing_key: resolve(&self.routing_key)?,
            timeout: self.timeout.0,
        }))
    }
}

impl PagerDuty {
    /// Events that were accepted before another failed are sent again with it: PagerDuty joins equal keys.
    async fn post(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let mut events = Vec::new();
        for incident in &message.group.incidents {
            let body = event(message, incident, self.routing_key.expose_secret());
            let request = self.http.post(self.url.clone()).json(&body);
            events.push(async move { self.http.send(request).await.map(drop) }.boxed());
        }
        all_of(stream::iter(events).buffered(PARALLEL).collect().await)?;
        Ok(None)
    }
}

impl Channel for PagerDuty {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        self.post(message).boxed()
    }

    fn follows(&self) -> bool {
        true
    }

    /// One event per incident in any case; PagerDuty groups them itself.
    fn joins(&self) -> bool {
        false
    }

    fn end(&self) -> String {
        end_of(&self.url)
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// The key is the incident's, with its episode: a new outage is never joined to one that was closed.
fn event(message: &Message<'_>, incident: &Incident, routing_key: &str) -> Value {
    let action = match incident.state {
        IncidentState::Firing | IncidentState::Unknown => "trigger",
        IncidentState::Acked => "acknowledge",
        IncidentState::Resolved => "resolve",
    };
    let severity = match incident.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let label = |name: &str| incident.labels.get(name).unwrap_or_default();
    let source = [label("instance"), label("cluster"), "etcd-monitor"];
    let summary = format!("{} {}", label("cluster"), incident.summary());
    let link = message.external_url;
    let mut links = Vec::new();
    if !link.is_empty() {
        links.push(json!({ "href": link, "text": "etcd-monitor" }));
    }
    links.extend(message.ack_url(incident).map(|href| json!({ "href": href, "text": "Acknowledge" })));
    json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": format!("{}-{}", incident.fingerprint, incident.episode),
        "client": "etcd-monitor",
        "client_url": link,
        "links": links,
        "payload": {
            "summary": shortened(summary.trim(), SUMMARY_MAX),
            "source": source.into_iter().find(|name| !name.is_empty()),
            "severity": severity,
            "timestamp": rfc3339(incident.active_since_ms),
            "component": "etcd",
            "group": label("cluster"),
            "class": incident.alert,
            "custom_details": {
                "labels": message.labels(incident),
                "annotations": incident.annotations,
                "reason": incident.reason,
                "notification": message.idempotency_key,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Kind;
    use crate::deliver::trial;

    #[test]
    fn a_state_is_an_action_on_the_same_key() {
        let group = trial::group(Kind::Firing, "pager", 1_764_000_000_000);
        let message = Message {
            group: &group,
            channel: "pager",
            idempotency_key: "k",
            sent_ms: 0,
            external_url: "",
            ack: None,
            reference: None,
        };
        for (state, action) in [
            (IncidentState::Firing, "trigger"),
            (IncidentState::Unknown, "trigger"),
            (IncidentState::Acked, "acknowledge"),
            (IncidentState::Resolved, "resolve"),
        ] {
            let incident = Incident { state, ..group.incidents[0].clone() };
            let event = event(&message, &incident, "key");
            assert_eq!(event["event_action"], action);
            assert_eq!(event["dedup_key"], "test-1764000000000-1");
        }
    }
}
