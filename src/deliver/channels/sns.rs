//! Amazon SNS: SMS to numbers, or a message to a topic.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use serde::Deserialize;

use super::Configured;
use crate::deliver::address::{checked_url, end_of};
use crate::deliver::aws::{Credentials, Scope};
use crate::deliver::channel::Reference;
use crate::deliver::config::{Resolve, request_timeout};
use crate::deliver::http::{Http, all_of, form};
use crate::deliver::message::phone_number;
use crate::deliver::{Channel, Message, SendError};
use crate::model::SecretRef;
use crate::model::unit::ConfigDuration;

/// `type = "sns"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SnsConfig {
    pub region: String,
    /// Numbers as `+4915112345678`; or `topic-arn`.
    #[serde(default)]
    pub to: Vec<String>,
    pub topic_arn: Option<String>,
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

struct Sns {
    http: Http,
    url: Url,
    region: String,
    credentials: Credentials,
    /// The parameter that names the receiver, and its value.
    targets: Vec<(&'static str, String)>,
    timeout: Duration,
}

impl Configured for SnsConfig {
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        self.to.iter().try_for_each(|number| phone_number(number))?;
        let numbers = self.to.iter().map(|number| ("PhoneNumber", number.clone()));
        let targets: Vec<_> =
            numbers.chain(self.topic_arn.iter().map(|arn| ("TopicArn", arn.clone()))).collect();
        if targets.is_empty() {
            return Err("needs to (phone numbers) or topic-arn".to_owned());
        }
        let url = self.url.clone().unwrap_or_else(|| format!("https://sns.{}.amazonaws.com/", self.region));
        let keys = (&self.access_key_id, &self.secret_access_key);
        Ok(Arc::new(Sns {
            http: Http::new("SNS", self.allow_private)?,
            url: checked_url(&url, self.allow_private)?,
            region: self.region.clone(),
            credentials: Credentials::resolve(keys, &self.session_token, resolve)?,
            targets,
            timeout: self.timeout.0,
        }))
    }
}

impl Sns {
    async fn post(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let text = message.short_text();
        let sends = self.targets.iter().map(|(parameter, value)| {
            let body = form(&[
                ("Action", "Publish"),
                ("Version", "2010-03-31"),
                (*parameter, value),
                ("Message", &text),
            ]);
            let scope = Scope {
                url: &self.url,
                region: &self.region,
                service: "sns",
                content_type: "application/x-www-form-urlencoded",
                body: &body,
            };
            let request = self.credentials.sign(self.http.post(self.url.clone()), &scope, message.sent_ms);
            async move { self.http.send(request).await.map(drop) }
        });
        all_of(futures::future::join_all(sends).await)?;
        Ok(None)
    }
}

impl Channel for Sns {
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
