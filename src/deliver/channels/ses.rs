//! Mail by Amazon SES, API v2 (SendEmail): the mail that SMTP sends, without a mail server.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::Configured;
use crate::deliver::address::{checked_url, end_of};
use crate::deliver::aws::{Credentials, Scope};
use crate::deliver::channel::Reference;
use crate::deliver::config::{Resolve, request_timeout};
use crate::deliver::http::Http;
use crate::deliver::{Channel, Message, SendError, mail};
use crate::model::SecretRef;
use crate::model::unit::ConfigDuration;

/// `type = "ses"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SesConfig {
    pub region: String,
    /// A verified address, or one of a verified domain.
    pub from: String,
    pub to: Vec<String>,
    /// Without both keys, those of the `AWS_*` variables, as Lambda sets them.
    pub access_key_id: Option<SecretRef>,
    pub secret_access_key: Option<SecretRef>,
    pub session_token: Option<SecretRef>,
    /// Default: the region's endpoint.
    pub url: Option<String>,
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default = "request_timeout")]
    pub timeout: ConfigDuration,
}

struct Ses {
    http: Http,
    url: Url,
    region: String,
    credentials: Credentials,
    from: String,
    to: Vec<String>,
    timeout: Duration,
}

impl Configured for SesConfig {
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        if self.to.is_empty() {
            return Err("to is empty; name at least one mail address".to_owned());
        }
        for address in self.to.iter().chain([&self.from]) {
            let parsed = address.parse::<lettre::message::Mailbox>();
            parsed.map_err(|error| format!("{address:?} is not a mail address: {error}"))?;
        }
        let base = self.url.clone().unwrap_or_else(|| format!("https://email.{}.amazonaws.com", self.region));
        let url = format!("{}/v2/email/outbound-emails", base.trim_end_matches('/'));
        let keys = (&self.access_key_id, &self.secret_access_key);
        Ok(Arc::new(Ses {
            http: Http::new("SES", self.allow_private)?,
            url: checked_url(&url, self.allow_private)?,
            region: self.region.clone(),
            credentials: Credentials::resolve(keys, &self.session_token, resolve)?,
            from: self.from.clone(),
            to: self.to.clone(),
            timeout: self.timeout.0,
        }))
    }
}

impl Ses {
    async fn post(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let part = |text: String| json!({ "Data": text, "Charset": "UTF-8" });
        let body = json!({
            "FromEmailAddress": self.from,
            "Destination": { "ToAddresses": self.to },
            "Content": { "Simple": {
                "Subject": part(message.subject()),
                "Body": { "Text": part(mail::text(message)), "Html": part(mail::html(message)) },
            } },
        })
        .to_string();
        let scope = Scope {
            url: &self.url,
            region: &self.region,
            service: "ses",
            content_type: "application/json",
            body: &body,
        };
        let request = self.credentials.sign(self.http.post(self.url.clone()), &scope, message.sent_ms);
        self.http.send(request).await?;
        Ok(None)
    }
}

impl Channel for Ses {
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
