//! Delivery: from findings to people, at least once.
//!
//! Owns: committing incident and group transitions ([`Deliverer::commit`]), sending what has no receipt
//! ([`Deliverer::sweep`]), claims, receipts, retries, the circuit breaker and the channels.
//! Refuses: deciding what is told to whom (`alert` does), evaluating rules, resolving secret references.
//!
//! A group's transition is the outbox, a receipt the proof that one of its notifications was accepted. An
//! incident's and its group's transition are two creates; a crash between them loses nothing, as every sweep
//! compares the incidents with what the groups have told. Claims only keep two processes from sending the
//! same thing: when claims or receipts cannot be read or written, the notification is sent all the same.
//! So is one whose transition itself cannot be committed: it waits in memory for the store to work again.

mod ack_link;
mod address;
mod attempt;
mod aws;
mod breaker;
mod channel;
pub mod channels;
mod commit;
mod config;
mod dead_man;
mod http;
mod lanes;
mod mail;
mod message;
mod receipts;
mod recent;
mod silences;
mod standing;
mod storm;
mod sweep;
mod trial;
mod unsaved;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use ack_link::{AckLinks, AckSource, LinkError, Signed, check_ack_secret};
pub use channel::{Channel, Reference, SendError};
pub use channels::ChannelConfig;
pub use commit::{Committed, Person};
pub use config::{ChannelError, open};
pub use dead_man::{DeadMan, DeadManConfig};
pub use mail::escaped;
pub use message::{Message, payload};
pub use receipts::{Receipt, ReceiptOutcome};
pub use silences::{expire_silence, put_silence, read_silences};
pub use standing::StandingSilences;
pub use sweep::{Failure, SweepReport};
pub use trial::Trial;

use crate::alert::{Group, Routes, Silence};
use crate::model::{Event, Incident};
use crate::store::sequence::Newest;
use crate::store::{Store, Writer};
use breaker::Breaker;
use lanes::Lanes;
use unsaved::{Settled, Unsaved};

/// Why a commit or sweep could not do all it should.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    #[error("{what} {key}")]
    Store { what: &'static str, key: String, source: crate::store::StoreError },
    #[error("silences: {reason}; what the file said before stays in effect")]
    SilenceFile { reason: String },
    #[error("the system gives no random bytes")]
    NoRandomness,
    #[error("silence {id}: other writers kept winning; try again")]
    SilenceContended { id: String },
    #[error("incident {fingerprint}: other writers kept winning; the next evaluation tries again")]
    Contended { fingerprint: String },
}

/// Commits transitions and sends notifications. One per process; sharing it shares the breakers.
pub struct Deliverer {
    store: Store,
    writer: Writer,
    channels: BTreeMap<String, Arc<dyn Channel>>,
    routes: Routes,
    /// Where the report site is, or empty: messages link to it.
    external_url: String,
    storm: storm::Storm,
    standing: Arc<StandingSilences>,
    ack_source: Option<AckSource>,
    /// Made once the key is known.
    ack_links: Mutex<Option<AckLinks>>,
    breakers: Mutex<HashMap<String, Breaker>>,
    /// By channel.
    lanes: HashMap<String, Lanes>,
    /// The newest state of every incident with its number, as this process last saw it. Appending checks
    /// against the store, so an outdated entry costs a retry and never a wrong transition.
    known: Mutex<Option<BTreeMap<String, (u64, Incident)>>>,
    /// What messages may say came before an incident.
    recent: Mutex<recent::Recent>,
    /// What of the store need not be read again.
    newest_incidents: Newest<Incident>,
    newest_groups: Newest<Group>,
    /// By group, the number of the transition up to which everything has a receipt in the store.
    complete: Mutex<BTreeMap<String, u64>>,
    /// The newest state of every group, as last read: what is told of while the store cannot be read.
    known_groups: Mutex<BTreeMap<String, Group>>,
    /// The store's silences as last read.
    known_silences: Mutex<Vec<Silence>>,
    unsaved: Mutex<Unsaved>,
    saving: tokio::sync::Mutex<()>,
    settled: Mutex<Settled>,
    /// Idempotency key and channel of what this process is sending right now.
    in_flight: Mutex<BTreeSet<(String, String)>>,
}

impl Deliverer {
    /// `channels` by their configured name; `routes` name them.
    pub fn new(
        store: Store,
        writer: Writer,
        channels: BTreeMap<String, Arc<dyn Channel>>,
        routes: Routes,
    ) -> Self {
        let follow = channels.iter().filter(|(_, channel)| channel.follows());
        let followers: Vec<String> = follow.map(|(name, _)| name.clone()).collect();
        let routes = routes.with_followers(&followers);
        let lanes = channels.iter().map(|(name, channel)| (name.clone(), Lanes::new(channel.width())));
        Self {
            store,
            writer,
            lanes: lanes.collect(),
            channels,
            routes,
            external_url: String::new(),
            storm: storm::Storm::default(),
            standing: Arc::default(),
            ack_source: None,
            ack_links: Mutex::default(),
            breakers: Mutex::default(),
            known: Mutex::default(),
            recent: Mutex::default(),
            newest_incidents: Newest::default(),
            newest_groups: Newest::default(),
            complete: Mutex::default(),
            known_groups: Mutex::default(),
            known_silences: Mutex::default(),
            unsaved: Mutex::default(),
            saving: tokio::sync::Mutex::default(),
            settled: Mutex::default(),
            in_flight: Mutex::default(),
        }
    }

    /// Takes note of what happened: incidents that fire afterwards say that it came before them.
    pub fn remember_events(&self, events: &[Event]) {
        lock(&self.recent).add(events);
    }

    /// Adds silences to those of the store.
    #[must_use]
    pub fn with_standing_silences(mut self, standing: Arc<StandingSilences>) -> Self {
        self.standing = standing;
        self
    }

    /// Lets the messages link to the report site.
    #[must_use]
    pub fn with_external_url(mut self, url: Option<String>) -> Self {
        self.external_url = url.unwrap_or_default();
        self
    }
}

/// The data behind these locks is replaced whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
