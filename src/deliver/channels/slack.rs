//! Slack: an incoming webhook, or an app's token, with which one story is one thread whose first message
//! turns green at the end.

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
use crate::alert::Kind;
use crate::deliver::message::shortened;
use crate::deliver::recent::BEFORE;
use crate::deliver::{Channel, Message, SendError};
use crate::model::unit::ConfigDuration;
use crate::model::{Incident, SecretRef};

/// `type = "slack"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SlackConfig {
    /// The URL of an incoming webhook, which is a secret; or `token` and `channel`.
    pub url_secret: Option<SecretRef>,
    /// A bot token (`xoxb-…`) with the right `chat:write`.
    pub token: Option<SecretRef>,
    /// The id of a channel that the bot is a member of, `C…`.
    pub channel: Option<String>,
    #[serde(default = "default_url")]
    pub api_url: String,
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default = "request_timeout")]
    pub timeout: ConfigDuration,
}

fn default_url() -> String {
    "https://slack.com/api".to_owned()
}

/// Limits of Slack's blocks, characters; a message takes 50 blocks.
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3000;
const INCIDENTS_MAX: usize = 20;
/// What `chat.postMessage` says with 200 when it is not the message's fault.
const CAN_PASS: [&str; 11] = [
    "ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout",
    "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive",
];

enum Way {
    IncomingWebhook(Url),
    Api { post: Url, update: Url, token: SecretString, channel: String },
}

struct Slack {
    http: Http,
    way: Way,
    timeout: Duration,
}

/// The part of an answer that matters.
#[derive(Deserialize)]
struct Answer {
    ok: bool,
    error: Option<String>,
    channel: Option<String>,
    ts: Option<String>,
}

impl Configured for SlackConfig {
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        let way = match (&self.url_secret, &self.token, &self.channel) {
            (Some(url), None, None) => {
                Way::IncomingWebhook(checked_url(resolve(url)?.expose_secret(), self.allow_private)?)
            }
            (None, Some(token), Some(channel)) => {
                let method = |name| {
                    let url = format!("{}/{name}", self.api_url.trim_end_matches('/'));
                    checked_url(&url, self.allow_private)
                };
                let (post, update) = (method("chat.postMessage")?, method("chat.update")?);
                Way::Api { post, update, token: resolve(token)?, channel: channel.clone() }
            }
            _ => return Err("needs url-secret, or token and channel".to_owned()),
        };
        let http = Http::new("Slack", self.allow_private)?;
        Ok(Arc::new(Slack { http, way, timeout: self.timeout.0 }))
    }
}

impl Slack {
    async fn tell(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let body = body(message);
        match &self.way {
            Way::IncomingWebhook(url) => {
                self.http.send(self.http.post(url.clone()).json(&body)).await?;
                Ok(None)
            }
            Way::Api { post, update, token, channel } => {
                let first = message.reference.and_then(|first| first.split_once('/'));
                if message.group.kind == Kind::Taken {
                    return self.repaint(update, token, first, &body, message).await;
                }
                let mut reply = with(&body, "channel", first.map_or(channel.as_str(), |(channel, _)| channel));
                if let Some((_, ts)) = first {
                    reply = with(&reply, "thread_ts", ts);
                }
                let answer = self.call(post, token, reply).await?;
                let Some((channel, ts)) = first else {
                    return Ok(answer.channel.zip(answer.ts).map(|(channel, ts)| format!("{channel}/{ts}")));
                };
                // People were told by the reply; that the first message keeps its colour is no failure.
                let repainted = with(&with(&body, "channel", channel), "ts", ts);
                let _ = self.call(update, token, repainted).await;
                Ok(message.reference.map(str::to_owned))
            }
        }
    }

    /// Shows in the first message who has it in hand. That is no news worth a reply.
    async fn repaint(
        &self,
        update: &Url,
        token: &SecretString,
        first: Option<(&str, &str)>,
        body: &Value,
        message: &Message<'_>,
    ) -> Result<Reference, SendError> {
        if let Some((channel, ts)) = first {
            self.call(update, token, with(&with(body, "channel", channel), "ts", ts)).await?;
        }
        Ok(message.reference.map(str::to_owned))
    }

    async fn call(&self, url: &Url, token: &SecretString, body: Value) -> Result<Answer, SendError> {
        let request = self.http.post(url.clone()).bearer_auth(token.expose_secret()).json(&body);
        let bytes = self.http.send(request).await?;
        let Ok(answer) = serde_json::from_slice::<Answer>(&bytes) else {
            return Err(SendError::transient("what answered for Slack does not speak its API".to_owned()));
        };
        if answer.ok {
            return Ok(answer);
        }
        let said = answer.error.unwrap_or_default();
        let reason = format!("Slack said {:?}", shortened(&said, 80));
        if CAN_PASS.contains(&said.as_str()) {
            Err(SendError::transient(reason))
        } else {
            Err(SendError::Permanent { reason })
        }
    }
}

impl Channel for Slack {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        self.tell(message).boxed()
    }

    fn end(&self) -> String {
        match &self.way {
            Way::IncomingWebhook(url) | Way::Api { post: url, .. } => end_of(url),
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The first message of a story can be repainted, a webhook's cannot.
    fn follows(&self) -> bool {
        self.refers()
    }

    fn refers(&self) -> bool {
        matches!(self.way, Way::Api { .. })
    }
}

fn with(body: &Value, name: &str, value: &str) -> Value {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
    body
}

fn body(message: &Message<'_>) -> Value {
    let incidents = &message.group.incidents;
    let subject = message.subject();
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": shortened(&subject, HEADER_MAX), "emoji": false },
    })];
    blocks.extend(message.lead().map(|lead| {
        json!({ "type": "section", "text": { "type": "mrkdwn", "text": escaped(&lead) } })
    }));
    blocks.extend(incidents.iter().take(INCIDENTS_MAX).map(|incident| {
        json!({ "type": "section", "text": { "type": "mrkdwn", "text": section(message, incident) } })
    }));
    let more = incidents.len().saturating_sub(INCIDENTS_MAX);
    let mut foot = vec![format!("etcd-monitor, {}", message.idempotency_key)];
    if more > 0 {
        foot.insert(0, format!("and {more} more"));
    }
    if !message.external_url.is_empty() {
        foot.push(escaped(message.external_url));
    }
    blocks.push(json!({
        "type": "context",
        "elements": [{ "type": "mrkdwn", "text": foot.join(" · ") }],
    }));
    let color = match message.status() {
        "resolved" => "#067647",
        _ if incidents.iter().any(Incident::awaits_somebody) => "#b42318",
        _ => "#b54708",
    };
    json!({
        "text": escaped(&subject),
        "attachments": [{ "color": color, "fallback": escaped(&subject), "blocks": blocks }],
        "unfurl_links": false,
    })
}

fn section(message: &Message<'_>, incident: &Incident) -> String {
    let mut lines = vec![format!("*{}*", marked(incident.summary())), escaped(&incident.status())];
    // Before the text that may be long, as what is too long is cut.
    lines.extend(message.ack_url(incident).map(|link| format!("<{}|Acknowledge>", escaped(&link))));
    let before = incident.annotations.get(BEFORE);
    lines.extend(before.map(|text| format!("What came before: {}", escaped(text))));
    let annotations = ["description", "runbook", "runbook_url"];
    lines.extend(annotations.iter().filter_map(|name| incident.annotations.get(*name)).map(|text| escaped(text)));
    let labels = incident.labels.canonical().replace('`', "'");
    lines.push(format!("`{}`", escaped(&labels)));
    // An entity that is cut in two would be read as text; that is ugly and harmless.
    shortened(&lines.join("\n"), SECTION_MAX)
}

/// Text that stays on its line and within its stars.
fn marked(text: &str) -> String {
    escaped(text.replace(['*', '\n', '\r'], " ").trim())
}

/// Slack's three control characters: without them no mention, link or date can be made.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
