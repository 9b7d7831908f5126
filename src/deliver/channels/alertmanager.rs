//! Alertmanager, API v2: the incidents as alerts, for those who route and silence there.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Configured;
use crate::deliver::address::{checked_url, end_of};
use crate::deliver::channel::Reference;
use crate::deliver::config::{Resolve, request_timeout};
use crate::deliver::http::Http;
use crate::deliver::{Channel, Message, SendError};
use crate::model::unit::{ConfigDuration, rfc3339};
use crate::model::{Incident, SecretRef};

/// `type = "alertmanager"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// Where its API begins: `https://alertmanager.example.com`, with its path prefix if it has one.
    pub url: String,
    pub bearer_token: Option<SecretRef>,
    /// Alertmanager takes an alert for resolved that it has not heard of for this long. It hears of a firing
    /// one with every notification; keep this above the route's `repeat-interval`.
    #[serde(default = "default_hold")]
    pub hold: ConfigDuration,
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default = "request_timeout")]
    pub timeout: ConfigDuration,
}

/// Twice the default `repeat-interval`.
fn default_hold() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(8 * 3600))
}

struct Alertmanager {
    http: Http,
    url: Url,
    bearer: Option<SecretString>,
    hold_ms: i64,
    timeout: Duration,
}

impl Configured for AlertmanagerConfig {
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        let base = checked_url(&self.url, self.allow_private)?;
        let url = format!("{}/api/v2/alerts", base.as_str().trim_end_matches('/'));
        Ok(Arc::new(Alertmanager {
            http: Http::new("Alertmanager", self.allow_private)?,
            url: checked_url(&url, self.allow_private)?,
            bearer: self.bearer_token.as_ref().map(resolve).transpose()?,
            hold_ms: i64::try_from(self.hold.0.as_millis()).unwrap_or(i64::MAX),
            timeout: self.timeout.0,
        }))
    }
}

impl Alertmanager {
    async fn post(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let mut request = self.http.post(self.url.clone());
        if let Some(token) = &self.bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        let until_ms = message.sent_ms.saturating_add(self.hold_ms);
        let incidents = message.group.incidents.iter();
        let alerts: Vec<Value> = incidents.map(|incident| alert(message, incident, until_ms)).collect();
        self.http.send(request.json(&alerts)).await?;
        Ok(None)
    }
}

impl Channel for Alertmanager {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        self.post(message).boxed()
    }

    fn end(&self) -> String {
        end_of(&self.url)
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn alert(message: &Message<'_>, incident: &Incident, until_ms: i64) -> Value {
    let ends_ms = if incident.state.is_active() { until_ms } else { incident.changed_ms };
    // Alertmanager refuses all alerts of a request for one with an empty label.
    let labels: std::collections::BTreeMap<_, _> =
        message.labels(incident).into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let mut alert = json!({
        "labels": labels,
        "annotations": incident.annotations,
        "startsAt": rfc3339(incident.active_since_ms.min(ends_ms)),
        "endsAt": rfc3339(ends_ms),
    });
    // It has to be a URL if it is there.
    if let (false, Some(fields)) = (message.external_url.is_empty(), alert.as_object_mut()) {
        fields.insert("generatorURL".to_owned(), message.external_url.into());
    }
    alert
}
