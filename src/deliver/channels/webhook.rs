//! Webhook: Alertmanager's JSON by POST, signed on request.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::deliver::config::Resolve;
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
    /// Signs the body: header `X-Etcd-Monitor-Signature: sha256=<HMAC-SHA256 in hexadecimal>`.
    pub hmac_secret: Option<SecretRef>,
    /// Sent as `Authorization: Bearer …`.
    pub bearer_token: Option<SecretRef>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default = "default_timeout")]
    pub timeout: ConfigDuration,
}

fn default_timeout() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(5))
}

const SIGNATURE: HeaderName = HeaderName::from_static("x-etcd-monitor-signature");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A webhook, ready to send. Redirects are not followed: they would carry the signature elsewhere.
pub struct WebhookChannel {
    client: Client,
    url: Url,
    hmac_key: Option<hmac::Key>,
    bearer: Option<SecretString>,
    headers: HeaderMap,
    timeout: Duration,
}

impl WebhookChannel {
    pub(crate) fn new(config: &WebhookConfig, resolve: Resolve<'_>) -> Result<Self, String> {
        let text = match (&config.url, &config.url_secret) {
            (Some(url), None) => SecretString::from(url.clone()),
            (None, Some(secret)) => resolve(secret)?,
            _ => return Err("needs one of url and url-secret".to_owned()),
        };
        let url: Url = text.expose_secret().parse().map_err(|_| "its url is not a valid URL".to_owned())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its url is neither http nor https".to_owned());
        }
        let secret = |reference: &Option<SecretRef>| reference.as_ref().map(resolve).transpose();
        let hmac_key = secret(&config.hmac_secret)?
            .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()));
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let name: HeaderName =
                name.parse().map_err(|_| format!("the header name {name:?} is not valid"))?;
            let value: HeaderValue =
                value.parse().map_err(|_| format!("the value of the header {name} is not valid"))?;
            headers.insert(name, value);
        }
        // The one TLS provider of the program; that it is installed already is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        let (bearer, timeout) = (secret(&config.bearer_token)?, config.timeout.0);
        Ok(Self { client, url, hmac_key, bearer, headers, timeout })
    }

    async fn post(&self, message: &Message<'_>) -> Result<(), SendError> {
        let body = payload(message).to_string();
        let mut request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, message.idempotency_key);
        if let Some(key) = &self.hmac_key {
            request = request.header(SIGNATURE, signature(key, body.as_bytes()));
        }
        if let Some(token) = &self.bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        let answer = request
            .body(body)
            .send()
            .await
            .map_err(|error| SendError::Transient { reason: cause(error), retry_after: None })?;
        judge(answer.status(), answer.headers())
    }
}

impl Channel for WebhookChannel {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        self.post(message).boxed()
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn signature(key: &hmac::Key, body: &[u8]) -> String {
    let tag = hmac::sign(key, body);
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// The innermost cause, without the URL, whose path may hold a token.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("cannot reach the webhook: {innermost}")
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), SendError> {
    let reason = format!("the webhook answered {}", status.as_u16());
    // What asks for patience, and what is the server's fault, can pass.
    let can_pass = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if status.is_success() {
        Ok(())
    } else if can_pass {
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Err(SendError::Transient { reason, retry_after: seconds.map(Duration::from_secs) })
    } else {
        Err(SendError::Permanent { reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_rfc_4231_says() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        assert_eq!(
            signature(&key, b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn status_codes_say_whether_to_try_again() {
        for (status, retry_after, again) in [
            (200, None, None),
            (202, None, None),
            (302, None, Some(false)),
            (400, None, Some(false)),
            (404, None, Some(false)),
            (408, None, Some(true)),
            (429, Some("7"), Some(true)),
            (500, None, Some(true)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(seconds) = retry_after {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
            }
            let judged = judge(StatusCode::from_u16(status).expect("a status"), &headers);
            let found = judged.as_ref().err().map(|error| matches!(error, SendError::Transient { .. }));
            assert_eq!(found, again, "{status}");
            if let Err(SendError::Transient { retry_after: wait, .. }) = judged {
                assert_eq!(wait.is_some(), retry_after.is_some(), "{status}");
            }
        }
    }
}
