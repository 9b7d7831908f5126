//! Mail over SMTP: one thread per story of a group.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::Configured;
use crate::deliver::channel::Reference;
use crate::deliver::config::Resolve;
use crate::deliver::{Channel, Message, SendError, mail};
use crate::model::unit::ConfigDuration;
use crate::model::{SecretRef, chain};

/// How the connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmtpSecurity {
    /// Port 587: plain, then STARTTLS, which is required.
    #[default]
    Starttls,
    /// Port 465: TLS from the first byte.
    Tls,
    /// Port 25, not protected. Credentials are refused.
    None,
}

/// `type = "smtp"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SmtpConfig {
    pub host: String,
    /// Default by `security`: 587, 465 or 25.
    pub port: Option<u16>,
    #[serde(default)]
    pub security: SmtpSecurity,
    /// PEM file of the CA that signed the server's certificate, if the system does not know it.
    pub ca_file: Option<std::path::PathBuf>,
    pub username: Option<String>,
    pub password: Option<SecretRef>,
    pub from: String,
    pub to: Vec<String>,
    #[serde(default = "default_timeout")]
    pub timeout: ConfigDuration,
}

fn default_timeout() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(10))
}

/// SMTP codes for "log in first" and "not with these credentials" (RFC 4954 §6).
const LOGIN_REFUSED: [u16; 4] = [530, 534, 535, 538];

/// A mail server, ready to send through.
struct SmtpChannel {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    /// Host and port.
    server: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    timeout: Duration,
}

impl Configured for SmtpConfig {
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        SmtpChannel::new(self, resolve).map(|channel| Arc::new(channel) as _)
    }
}

impl SmtpChannel {
    fn new(config: &SmtpConfig, resolve: Resolve<'_>) -> Result<Self, String> {
        let mailbox = |text: &String| {
            text.parse::<Mailbox>().map_err(|error| format!("{text:?} is not a mail address: {error}"))
        };
        let to: Vec<Mailbox> = config.to.iter().map(mailbox).collect::<Result<_, _>>()?;
        if to.is_empty() {
            return Err("to is empty; name at least one mail address".to_owned());
        }
        let tls = match config.security {
            SmtpSecurity::Starttls => Tls::Required(tls_parameters(config)?),
            SmtpSecurity::Tls => Tls::Wrapper(tls_parameters(config)?),
            SmtpSecurity::None => Tls::None,
        };
        let port = config.port.unwrap_or(match config.security {
            SmtpSecurity::Starttls => 587,
            SmtpSecurity::Tls => 465,
            SmtpSecurity::None => 25,
        });
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(port)
            .tls(tls)
            .timeout(Some(config.timeout.0));
        builder = match (&config.username, &config.password) {
            (None, None) => builder,
            (Some(_), Some(_)) if config.security == SmtpSecurity::None => {
                return Err("a password is not sent over an unprotected connection; set security".to_owned());
            }
            (Some(user), Some(password)) => {
                let password = resolve(password)?;
                builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()))
            }
            _ => return Err("username and password go together".to_owned()),
        };
        let from = mailbox(&config.from)?;
        let server = format!("{}:{port}", config.host);
        Ok(Self { transport: builder.build(), server, from, to, timeout: config.timeout.0 })
    }

    /// The mail itself. Equal notifications have equal message ids, so that mail systems can drop repeats.
    fn mail(&self, message: &Message<'_>) -> Result<Mail, lettre::error::Error> {
        let domain = self.from.email.domain();
        let thread = format!("<{}.etcd-monitor@{domain}>", message.group.thread_key());
        let id = format!("<{}.etcd-monitor@{domain}>", message.idempotency_key);
        let mut mail = Mail::builder()
            .from(self.from.clone())
            .subject(message.subject())
            .message_id(Some(id))
            .in_reply_to(thread.clone())
            .references(thread)
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("X-Etcd-Monitor-Key", message.idempotency_key));
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        mail.multipart(MultiPart::alternative_plain_html(mail::text(message), mail::html(message)))
    }

    async fn post(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let mail = self.mail(message).map_err(|error| SendError::Permanent { reason: error.to_string() })?;
        self.transport.send(mail).await.map(|_| None).map_err(|error| {
            let said = chain(&error);
            // A refused login says nothing of the message, which is sent once the password is right.
            let login = error.status().is_some_and(|code| LOGIN_REFUSED.contains(&u16::from(code)));
            if login {
                let reason =
                    format!("the mail server refuses the login; check username and password: {said}");
                SendError::Transient { reason, retry_after: None }
            } else if error.is_permanent() {
                SendError::Permanent { reason: format!("the mail server said no: {said}") }
            } else {
                SendError::Transient { reason: format!("the mail server said no: {said}"), retry_after: None }
            }
        })
    }
}

impl Channel for SmtpChannel {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        self.post(message).boxed()
    }

    /// Mail providers refuse many connections of one sender.
    fn width(&self) -> usize {
        4
    }

    fn end(&self) -> String {
        self.server.clone()
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn tls_parameters(config: &SmtpConfig) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca_file {
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let certificate =
            Certificate::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| format!("TLS: {error}"))
}
