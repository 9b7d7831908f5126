//! The channels, one file each.

mod smtp;
mod webhook;

pub use smtp::{SmtpChannel, SmtpConfig, SmtpSecurity};
pub use webhook::{WebhookChannel, WebhookConfig};
