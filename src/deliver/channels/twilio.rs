//! SMS by Twilio's Messages API.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Configured;
use crate::deliver::address::{checked_url, end_of};
use crate::deliver::channel::Reference;
use crate::deliver::config::{Resolve, request_timeout};
use crate::deliver::http::{Http, all_of, form};
use crate::deliver::message::phone_number;
use crate::deliver::{Channel, Message, SendError};
use crate::model::SecretRef;
use crate::model::unit::ConfigDuration;

/// `type = "twilio"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TwilioConfig {
    pub account_sid: String,
    pub auth_token: SecretRef,
    /// A number or sender id of the account.
    pub from: String,
    /// Numbers as `+4915112345678`.
    pub to: Vec<String>,
    #[serde(default = "default_url")]
    pub url: String,
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default = "request_timeout")]
    pub timeout: ConfigDuration,
}

fn default_url() -> String {
    "https://api.twilio.com".to_owned()
}

struct Twilio {
    http: Http,
    url: Url,
    account_sid: String,
    auth_token: SecretString,
    from: String,
    to: Vec<String>,
    timeout: Duration,
}

impl Configured for TwilioConfig {
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        let sid = &self.account_sid;
        if sid.is_empty() || !sid.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("account-sid {sid:?} is not the id of an account"));
        }
        if self.to.is_empty() {
            return Err("to is empty; name at least one number".to_owned());
        }
        self.to.iter().try_for_each(|number| phone_number(number))?;
        let base = self.url.trim_end_matches('/');
        let url = format!("{base}/2010-04-01/Accounts/{sid}/Messages.json");
        Ok(Arc::new(Twilio {
            http: Http::new("Twilio", self.allow_private)?,
            url: checked_url(&url, self.allow_private)?,
            account_sid: sid.clone(),
            auth_token: resolve(&self.auth_token)?,
            from: self.from.clone(),
            to: self.to.clone(),
            timeout: self.timeout.0,
        }))
    }
}

impl Twilio {
    async fn post(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let text = message.short_text();
        let sends = self.to.iter().map(|to| {
            let body = form(&[("To", to), ("From", &self.from), ("Body", &text)]);
            let request = self
                .http
                .post(self.url.clone())
                .basic_auth(&self.account_sid, Some(self.auth_token.expose_secret()))
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body);
            async move { self.http.send(request).await.map(drop) }
        });
        all_of(futures::future::join_all(sends).await)?;
        Ok(None)
    }
}

impl Channel for Twilio {
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
