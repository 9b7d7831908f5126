//! Webhook: Alertmanager's JSON by POST, signed on request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Configured;
use crate::deliver::address::{checked_url, end_of};
use crate::deliver::channel::Reference;
use crate::deliver::config::{Resolve, request_timeout};
use crate::deliver::http::Http;
use crate::deliver::{Channel, Message, SendError, payload};
use crate::model::SecretRef;
use crate::model::unit::ConfigDuration;

/// `type = "webhook"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to; use `url-secret` if it holds a token.
    pub url: Option<String>,
    pub url_secret: Option<SecretRef>,
    /// Signs time and body: header `X-Etcd-Monitor-Signature: t=<Unix seconds>,sha256=<hexadecimal>`, the
    /// HMAC-SHA256 of the seconds, a dot and the body.
    pub hmac_secret: Option<SecretRef>,
    /// Sent as `Authorization: Bearer …`.
    pub bearer_token: Option<SecretRef>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Addresses that the Internet cannot reach, and plain http, are meant.
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default = "request_timeout")]
    pub timeout: ConfigDuration,
}

const SIGNATURE: HeaderName = HeaderName::from_static("x-etcd-monitor-signature");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

struct Webhook {
    http: Http,
    url: Url,
    hmac_key: Option<hmac::Key>,
    bearer: Option<SecretString>,
    headers: HeaderMap,
    timeout: Duration,
}

impl Configured for WebhookConfig {
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        let text = match (&self.url, &self.url_secret) {
            (Some(url), None) => SecretString::from(url.clone()),
            (None, Some(secret)) => resolve(secret)?,
            _ => return Err("needs one of url and url-secret".to_owned()),
        };
        let url = checked_url(text.expose_secret(), self.allow_private)?;
        let secret = |reference: &Option<SecretRef>| reference.as_ref().map(resolve).transpose();
        let hmac_key = secret(&self.hmac_secret)?
            .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()));
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName =
                name.parse().map_err(|_| format!("the header name {name:?} is not valid"))?;
            let value: HeaderValue =
                value.parse().map_err(|_| format!("the value of the header {name} is not valid"))?;
            headers.insert(name, value);
        }
        Ok(Arc::new(Webhook {
            http: Http::new("the webhook", self.allow_private)?,
            url,
            hmac_key,
            bearer: secret(&self.bearer_token)?,
            headers,
            timeout: self.timeout.0,
        }))
    }
}

impl Webhook {
    async fn post(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let body = payload(message).to_string();
        let mut request = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, message.idempotency_key);
        if let Some(key) = &self.hmac_key {
            request = request.header(SIGNATURE, signature(key, message.sent_ms / 1000, &body));
        }
        if let Some(token) = &self.bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        self.http.send(request.body(body)).await?;
        Ok(None)
    }
}

impl Channel for Webhook {
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

/// The time is signed with the body, so that a receiver can tell a message that somebody sends again.
fn signature(key: &hmac::Key, seconds: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},sha256={}", crate::deliver::aws::hexadecimal(tag.as_ref()))
}
