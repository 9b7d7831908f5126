//! What the store could not take: transitions and receipts kept in memory until it can.
//!
//! A full disk or a bucket out of reach must not keep an alert from people. So a transition that cannot be
//! committed counts in this process all the same, and is told; the commits are made up for, in order, once
//! the store can be written again. Another writer may have committed something else meanwhile: then its
//! states count, and people may have been told twice. A crash before that loses the transition and not the
//! alert, as the next evaluation finds the condition anew.

use std::collections::{BTreeMap, VecDeque};

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

/// A group's state, and whether the store has it.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Stored(Group),
    Waiting(Group),
}

impl Found {
    pub(super) fn group(&self) -> &Group {
        match self {
            Self::Stored(group) | Self::Waiting(group) => group,
        }
    }

    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(_))
    }

    pub(super) fn into_group(self) -> Group {
        match self {
            Self::Stored(group) | Self::Waiting(group) => group,
        }
    }
}

fn tells_of(group: &Group, fingerprint: &str) -> bool {
    group.incidents.iter().any(|incident| incident.fingerprint == fingerprint)
}

/// The waiting transitions, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    waiting: VecDeque<Transition>,
    /// How often states were dropped; what was computed before a drop may stand on nothing.
    drops: u64,
}

impl Unsaved {
    /// Whether a state of this sequence waits; then the next one must wait behind it.
    pub(super) fn holds(&self, sequence: &SequenceKey) -> bool {
        self.waiting.iter().any(|waiting| waiting.sequence() == *sequence)
    }

    /// Whether a group's state must wait: it tells of an incident that waits, and the store must not know the
    /// telling without the incident.
    pub(super) fn holds_ground_of(&self, group: &Group) -> bool {
        self.waiting.iter().any(|waiting| match waiting {
            Transition::Incident(_, incident) => tells_of(group, &incident.fingerprint),
            Transition::Group(waiting) => waiting.key == group.key,
        })
    }

    pub(super) fn drops(&self) -> u64 {
        self.drops
    }

    /// Drops a state that lost its number to another writer's, and what was built on it: the states that
    /// follow in its sequence, and those of groups that tell of it.
    fn drop_ground(&mut self, lost: &Transition) {
        self.drops += 1;
        let mut gone = vec![lost.sequence()];
        self.waiting.retain(|waiting| {
            let sequence = waiting.sequence();
            let tells = match (waiting, lost) {
                (Transition::Group(group), Transition::Incident(_, incident)) => {
                    tells_of(group, &incident.fingerprint)
                }
                _ => false,
            };
            let keep = !tells && !gone.contains(&sequence);
            if !keep {
                gone.push(sequence);
            }
            keep
        });
    }

    pub(super) fn push(&mut self, transition: Transition) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(transition);
        }
    }

    /// Replaces what the store says by what it will say.
    pub(super) fn over_incidents(&self, known: &mut Known) {
        for waiting in &self.waiting {
            if let Transition::Incident(number, incident) = waiting {
                known.insert(incident.fingerprint.clone(), (*number, incident.clone()));
            }
        }
    }

    /// As [`Self::over_incidents`], for the newest states of groups, which so become [`Found::Waiting`].
    pub(super) fn over_groups(&self, groups: &mut BTreeMap<String, Found>) {
        for waiting in &self.waiting {
            if let Transition::Group(group) = waiting {
                groups.insert(group.key.clone(), Found::Waiting(group.clone()));
            }
        }
    }

    /// The waiting state of a group with that number.
    pub(super) fn group_in(&self, sequence: &SequenceKey, number: u64) -> Option<Group> {
        self.waiting.iter().find_map(|waiting| match waiting {
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
pub(super) struct Settled(BTreeMap<(String, String), Settlement>);

#[derive(Debug)]
struct Settlement {
    /// When this process last knew, ms since the epoch.
    seen_ms: i64,
    /// The receipt that the store has yet to take.
    waiting: Option<Receipt>,
}

impl Settled {
    pub(super) fn has(&self, idempotency_key: &str, channel: &str) -> bool {
        self.0.contains_key(&(idempotency_key.to_owned(), channel.to_owned()))
    }

    /// A receipt that is in the store.
    pub(super) fn stored(&mut self, idempotency_key: &str, channel: &str, seen_ms: i64) {
        let key = (idempotency_key.to_owned(), channel.to_owned());
        self.0.insert(key, Settlement { seen_ms, waiting: None });
    }

    /// A receipt that the store did not take.
    pub(super) fn unstored(&mut self, receipt: Receipt) {
        let key = (receipt.idempotency_key.clone(), receipt.channel.clone());
        self.0.insert(key, Settlement { seen_ms: receipt.at_ms, waiting: Some(receipt) });
    }

    /// The receipt to store once the store works again.
    pub(super) fn waiting(&self, idempotency_key: &str, channel: &str) -> Option<Receipt> {
        let settlement = self.0.get(&(idempotency_key.to_owned(), channel.to_owned()))?;
        settlement.waiting.clone()
    }

    /// Forgets what is too old to be told anyway.
    pub(super) fn forget_before(&mut self, ms: i64) {
        self.0.retain(|_, settlement| settlement.seen_ms >= ms);
    }
}

impl Deliverer {
    /// Commits what waits, in order, as far as the store lets it.
    pub(super) async fn save(&self, errors: &mut Vec<DeliverError>) {
        // A second saver would take the first one's commits for another writer's.
        let Ok(_saving) = self.saving.try_lock() else { return };
        loop {
            let Some(front) = lock(&self.unsaved).waiting.front().cloned() else { return };
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
                Ok(true) => drop(lock(&self.unsaved).waiting.pop_front()),
                Ok(false) => {
                    lock(&self.unsaved).drop_ground(&front);
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
