//! Opening channels as configuration writes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::{Channel, ChannelConfig};
use crate::model::SecretRef;
use crate::model::unit::ConfigDuration;

/// A channel that cannot be used as configured. The text holds no secret and no URL's credentials.
#[derive(Debug, thiserror::Error)]
#[error("channel {name}: {reason}")]
pub struct ChannelError {
    pub name: String,
    pub reason: String,
}

/// How a caller turns a reference into the secret; the error names the reference.
pub type Resolve<'a> = &'a (dyn Fn(&SecretRef) -> Result<SecretString, String> + 'a);

/// The deadline of one request to a service that is usually quick.
pub(super) fn request_timeout() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(5))
}

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
        match config.open(resolve) {
            Ok(channel) => {
                channels.insert(name.clone(), channel);
            }
            Err(reason) => errors.push(ChannelError { name: name.clone(), reason }),
        }
    }
    if errors.is_empty() { Ok(channels) } else { Err(errors) }
}
