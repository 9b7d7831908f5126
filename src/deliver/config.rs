//! Channels as configuration writes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;

use super::Channel;
use super::channels::{SmtpChannel, SmtpConfig, WebhookChannel, WebhookConfig};
use crate::model::SecretRef;

/// One `[channel.<name>]`, told apart by `type`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ChannelConfig {
    Webhook(WebhookConfig),
    Smtp(SmtpConfig),
}

/// A channel that cannot be used as configured. The text holds no secret and no URL's credentials.
#[derive(Debug, thiserror::Error)]
#[error("channel {name}: {reason}")]
pub struct ChannelError {
    pub name: String,
    pub reason: String,
}

/// How a caller turns a reference into the secret; the error names the reference.
pub type Resolve<'a> = &'a (dyn Fn(&SecretRef) -> Result<SecretString, String> + 'a);

/// Makes every configured channel ready; nothing is sent yet.
///
/// # Errors
/// Every channel that cannot be made ready.
pub fn open(
    configs: &BTreeMap<String, ChannelConfig>,
    resolve: Resolve<'_>,
) -> Result<BTreeMap<String, Arc<dyn Channel>>, Vec<ChannelError>> {
    let mut channels: BTreeMap<String, Arc<dyn Channel>> = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, config) in configs {
        let opened: Result<Arc<dyn Channel>, String> = match config {
            ChannelConfig::Webhook(config) => {
                WebhookChannel::new(config, resolve).map(|channel| Arc::new(channel) as _)
            }
            ChannelConfig::Smtp(config) => {
                SmtpChannel::new(config, resolve).map(|channel| Arc::new(channel) as _)
            }
        };
        match opened {
            Ok(channel) => {
                channels.insert(name.clone(), channel);
            }
            Err(reason) => errors.push(ChannelError { name: name.clone(), reason }),
        }
    }
    if errors.is_empty() { Ok(channels) } else { Err(errors) }
}
