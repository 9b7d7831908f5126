//! The channels of the simulation: each answers as its mood is and remembers what it took, and when.

use std::sync::Mutex;
use std::time::Duration;

use etcd_monitor::deliver::{Channel, Message, Reference, SendError};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

/// How a channel answers now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Works,
    Fails,
    Refuses,
    Hangs,
    /// Takes the message and does not answer.
    TakesAndHangs,
    /// Asks for a pause.
    Pauses(Duration),
}

pub struct Receiver {
    mood: Mutex<Mood>,
    /// In order.
    taken: Mutex<Vec<Taken>>,
}

/// A message that a channel took.
#[derive(Debug, Clone)]
pub struct Taken {
    pub at: Instant,
    pub group: String,
    pub number: u64,
    pub idempotency_key: String,
    /// Fingerprint and episode of what fires.
    pub firing: Vec<(String, u64)>,
    /// Whether the sender heard that it was taken.
    pub answered: bool,
}

impl Receiver {
    pub fn new() -> Self {
        Self { mood: Mutex::new(Mood::Works), taken: Mutex::default() }
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().expect("no panic").clone()
    }

    fn take(&self, message: &Message<'_>, answered: bool) {
        let firing = message.group.firing().map(|i| (i.fingerprint.clone(), i.episode));
        let taken = Taken {
            at: Instant::now(),
            group: message.group.key.clone(),
            number: message.group.number,
            idempotency_key: message.idempotency_key.to_owned(),
            firing: firing.collect(),
            answered,
        };
        self.taken.lock().expect("no panic").push(taken);
    }
}

impl Channel for Receiver {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        async move {
            tokio::task::yield_now().await;
            let mood = *self.mood.lock().expect("no panic");
            let transient = |retry_after| SendError::Transient { reason: "busy".to_owned(), retry_after };
            match mood {
                Mood::Works => {
                    self.take(message, true);
                    Ok(None)
                }
                Mood::Fails => Err(transient(None)),
                Mood::Pauses(wait) => Err(transient(Some(wait))),
                Mood::Refuses => Err(SendError::Permanent { reason: "gone".to_owned() }),
                Mood::Hangs => futures::future::pending().await,
                Mood::TakesAndHangs => {
                    self.take(message, false);
                    futures::future::pending().await
                }
            }
        }
        .boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(2)
    }
}
