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

impl SendError {
    /// Try again whenever you like.
    pub(super) fn transient(reason: String) -> Self {
        Self::Transient { reason, retry_after: None }
    }
}

/// What the other side calls the message that began the story, to reply to it; `None` where it has no name.
pub type Reference = Option<String>;

/// A way to reach people.
pub trait Channel: Send + Sync {
    /// Sends one message, once. The caller retries.
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>>;

    /// The longest one send may take.
    fn timeout(&self) -> Duration;

    /// How many messages it takes at once, of different groups.
    fn width(&self) -> usize {
        8
    }

    /// Whether many messages may be joined to one in a storm. Not where each incident is handled by itself at
    /// the other side.
    fn joins(&self) -> bool {
        true
    }

    /// Whether it keeps book of who has an incident in hand: only then it gets messages of that kind.
    fn follows(&self) -> bool {
        false
    }

    /// The server or program that it ends at: what fails with it. Empty: nothing else ends there.
    fn end(&self) -> String {
        String::new()
    }

    /// Whether the messages of one story refer to its first, see [`Message::reference`].
    fn refers(&self) -> bool {
        false
    }
}
