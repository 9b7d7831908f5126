//! The dead man's switch: a sign of life to a service that tells people when none comes any more.
//!
//! Who watches decides whether there is something to speak for; this only sends.

use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::SendError;
use super::address::checked_url;
use super::config::{Resolve, request_timeout};
use super::http::Http;
use crate::model::SecretRef;
use crate::model::unit::ConfigDuration;

/// The `[dead-man]` section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeadManConfig {
    /// Gets an empty POST; use `url-secret` if it holds a token, as it does at most services.
    pub url: Option<String>,
    pub url_secret: Option<SecretRef>,
    /// Tell the service to wait for two or three of these before it calls somebody.
    #[serde(default = "default_interval")]
    pub interval: ConfigDuration,
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default = "request_timeout")]
    pub timeout: ConfigDuration,
}

fn default_interval() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(60))
}

/// A switch, ready to be held.
pub struct DeadMan {
    http: Http,
    url: Url,
    interval: Duration,
    timeout: Duration,
}

impl DeadMan {
    /// # Errors
    /// What is wrong with the configuration; the text holds no secret.
    pub fn open(config: &DeadManConfig, resolve: Resolve<'_>) -> Result<Self, String> {
        let text = match (&config.url, &config.url_secret) {
            (Some(url), None) => SecretString::from(url.clone()),
            (None, Some(secret)) => resolve(secret)?,
            _ => return Err("needs one of url and url-secret".to_owned()),
        };
        if config.interval.0 < Duration::from_secs(1) {
            return Err("interval must be at least 1s".to_owned());
        }
        Ok(Self {
            http: Http::new("the dead man's switch", config.allow_private)?,
            url: checked_url(text.expose_secret(), config.allow_private)?,
            interval: config.interval.0,
            timeout: config.timeout.0,
        })
    }

    /// How often it wants to be heard of.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Says that everything is seen to. Not repeated: the next one comes soon, and its absence is the message.
    ///
    /// # Errors
    /// When the service did not take it.
    pub async fn ping(&self) -> Result<(), SendError> {
        let request = self.http.post(self.url.clone()).timeout(self.timeout);
        self.http.send(request).await.map(drop)
    }
}
