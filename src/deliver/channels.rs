//! The channels, one file each, and the list of them.

use std::sync::Arc;

use serde::Deserialize;

use super::Channel;
use super::config::Resolve;
use crate::model::unit::ConfigDuration;

/// What a channel's section of the configuration can do.
pub(crate) trait Configured {
    /// Makes the channel ready; nothing is sent yet. The error holds no secret.
    fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String>;
}

macro_rules! channels {
    ($($kind:ident: $module:ident::$config:ident,)+) => {
        $(mod $module; pub use $module::$config;)+

        /// One `[channel.<name>]`, told apart by `type`.
        #[derive(Debug, Clone, PartialEq, Deserialize)]
        #[serde(tag = "type", rename_all = "kebab-case")]
        pub enum ChannelConfig {
            $($kind($config),)+
        }

        impl ChannelConfig {
            pub(super) fn open(&self, resolve: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
                match self {
                    $(Self::$kind(config) => Configured::open(config, resolve),)+
                }
            }
        }
    };
}

impl ChannelConfig {
    /// How long the other side takes an incident for firing that it does not hear of; `None` without such an end.
    pub fn hold(&self) -> Option<ConfigDuration> {
        match self {
            Self::Alertmanager(config) => Some(config.hold),
            _ => None,
        }
    }
}

// A new channel is a file and a line here. The kind in kebab-case is its `type`.
channels! {
    Alertmanager: alertmanager::AlertmanagerConfig,
    Exec: exec::ExecConfig,
    Pagerduty: pagerduty::PagerDutyConfig,
    Ses: ses::SesConfig,
    Slack: slack::SlackConfig,
    Smtp: smtp::SmtpConfig,
    Sns: sns::SnsConfig,
    Twilio: twilio::TwilioConfig,
    Webhook: webhook::WebhookConfig,
}
