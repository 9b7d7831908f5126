//! What the store could not take: transitions and receipts kept in memory until it can.
//!
//! A full disk or a bucket out of reach must not keep an alert from people. So a transition that cannot be
//! committed counts in this process all the same, and is told; the commits are made up for, in order, once
//! the store can be written again. Another writer may have committed something else meanwhile: then its
//! states count, and people may have been told twice. A crash before that loses the transition and not the
//! alert, as the next evaluation finds the condition anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::commit::Known;
use super::{DeliverError, Deliverer, Receipt, lock};
use crate::alert::Group;
use crate::model::Incident;
use crate::store::key::SequenceKey;
use crate::store::sequence::{self, Appended};

/// Transitions waiting, at most: each alert of a bad day several times over.
const WAITING_MAX: usize = 10_000;

/// A state that is not in the store yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Transition {
    /// With its number in the sequence.
    Incident(u64, Incident),
    Group(Group),
}

impl Transition {
    fn sequence(&self) -> SequenceKey {
        match self {
            Self::Incident(_, incident) => SequenceKey::incident(&incident.fingerprint),
            Self::Group(group) => SequenceKey::group(&group.key),
        }
    }
}

/// The waiting transitions, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unsaved(VecDeque<Transition>);

impl Unsaved {
    /// Whether a state of this sequence waits; then the next one must wait behind it.
    pub(super) fn holds(&self, sequence: &SequenceKey) -> bool {
        self.0.iter().any(|waiting| waiting.sequence() == *sequence)
    }

    pub(super) fn push(&mut self, transition: Transition) {
        if self.0.len() < WAITING_MAX {
            self.0.push_back(transition);
        }
    }

    /// Replaces what the store says by what it will say.
    pub(super) fn over_incidents(&self, known: &mut Known) {
        for waiting in &self.0 {
            if let Transition::Incident(number, incident) = waiting {
                known.insert(incident.fingerprint.clone(), (*number, incident.clone()));
            }
        }
    }

    /// As [`Self::over_incidents`], for the newest states of groups.
    pub(super) fn over_groups(&self, groups: &mut BTreeMap<String, Group>) {
        for waiting in &self.0 {
            if let Transition::Group(group) = waiting {
                groups.insert(group.key.clone(), group.clone());
            }
        }
    }

    /// The waiting state of a group with that number.
    pub(super) fn group(&self, key: &str, number: u64) -> Option<&Group> {
        self.0.iter().find_map(|waiting| match waiting {
            Transition::Group(group) if group.key == key && group.number == number => Some(group),
            _ => None,
        })
    }

    /// As [`Self::group`], by the group's sequence.
    pub(super) fn group_in(&self, sequence: &SequenceKey, number: u64) -> Option<Group> {
        self.0.iter().find_map(|waiting| match waiting {
            Transition::Group(group) if group.number == number && waiting.sequence() == *sequence => {
                Some(group.clone())
            }
            _ => None,
        })
    }
}

/// What this process knows to be done with, so that a store which cannot be read or written makes nobody
/// be told again and again.
#[derive(Debug, Default)]
pub(super) struct Settled(BTreeMap<(String, String), Option<Receipt>>);

impl Settled {
    pub(super) fn has(&self, idempotency_key: &str, channel: &str) -> bool {
        self.0.contains_key(&(idempotency_key.to_owned(), channel.to_owned()))
    }

    /// A receipt that is in the store.
    pub(super) fn stored(&mut self, idempotency_key: &str, channel: &str) {
        self.0.insert((idempotency_key.to_owned(), channel.to_owned()), None);
    }

    /// A receipt that the store did not take.
    pub(super) fn unstored(&mut self, receipt: Receipt) {
        self.0.insert((receipt.idempotency_key.clone(), receipt.channel.clone()), Some(receipt));
    }

    /// The receipt to store now that the store works again.
    pub(super) fn waiting(&self, idempotency_key: &str, channel: &str) -> Option<Receipt> {
        self.0.get(&(idempotency_key.to_owned(), channel.to_owned())).cloned().flatten()
    }

    /// Forgets all but the notifications that a sweep still looks at.
    pub(super) fn retain(&mut self, idempotency_keys: &BTreeSet<String>) {
        self.0.retain(|(key, _), _| idempotency_keys.contains(key));
    }
}

impl Deliverer {
    /// Commits what waits, in order, as far as the store lets it.
    pub(super) async fn save(&self, errors: &mut Vec<DeliverError>) {
        // A second saver would take the first one's commits for another writer's.
        let Ok(_saving) = self.saving.try_lock() else { return };
        loop {
            let Some(front) = lock(&self.unsaved).0.front().cloned() else { return };
            let sequence = front.sequence();
            let saved = match &front {
                Transition::Incident(number, incident) => {
                    let appended =
                        sequence::append(&self.store, &sequence, *number, incident, &self.writer).await;
                    appended.map(|appended| is_there(&appended, *number, incident))
                }
                Transition::Group(group) => {
                    let appended =
                        sequence::append(&self.store, &sequence, group.number, group, &self.writer).await;
                    appended.map(|appended| is_there(&appended, group.number, group))
                }
            };
            match saved {
                Ok(true) => drop(lock(&self.unsaved).0.pop_front()),
                Ok(false) => {
                    // Another writer's states count, and ours that follow have lost their ground.
                    lock(&self.unsaved).0.retain(|waiting| waiting.sequence() != sequence);
                    *lock(&self.known) = None;
                }
                Err(source) => {
                    let key = sequence.prefix().as_str().to_owned();
                    errors.push(DeliverError::Store { what: "commit, kept in memory for now,", key, source });
                    return;
                }
            }
        }
    }
}

/// Whether our state is in the sequence: an earlier try may have been written although it failed.
fn is_there<T: PartialEq>(appended: &Appended<T>, number: u64, state: &T) -> bool {
    match appended {
        Appended::Won => true,
        Appended::Lost(there) => there.as_ref().is_some_and(|(at, there)| *at == number && there == state),
    }
}
