//! What a channel is.

use std::time::Duration;

use futures::future::BoxFuture;

use super::Message;

/// Why a message was not accepted. The text never holds credentials or the path of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Trying again can help.
    #[error("{reason}")]
    Transient { reason: String, retry_after: Option<Duration> },
    /// The other side will not take this message however often it is sent.
    #[error("refused: {reason}")]
    Permanent { reason: String },
    /// Too old to be of use; it will not be tried again.
    #[error("given up: no try was accepted within {hours} h")]
    Expired { hours: i64 },
}

/// A way to reach people.
pub trait Channel: Send + Sync {
    /// Sends one message, once. The caller retries.
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<(), SendError>>;

    /// The longest one send may take.
    fn timeout(&self) -> Duration;
}
