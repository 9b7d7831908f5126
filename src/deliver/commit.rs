//! Committing what an evaluation found: incident transitions first, then their groups'.

use std::collections::{BTreeMap, BTreeSet};

use super::unsaved::{Found, Transition};
use super::{DeliverError, Deliverer, lock};
use crate::alert::group::Quiet;
use crate::alert::{Group, Observation, Speakers, event_of, group, incident};
use crate::model::{Event, Finding, Incident, chain};
use crate::rules::{Absence, Completeness, Evaluation, RuleGroup, Scope, absence};
use crate::store::events;
use crate::store::key::{Prefix, SequenceKey};
use crate::store::sequence::{self, Appended};

/// What one commit did.
#[derive(Debug, Default)]
pub struct Committed {
    /// The new states that this process created.
    pub transitions: Vec<Incident>,
    /// One for each beginning and end among them.
    pub events: Vec<Event>,
    pub errors: Vec<DeliverError>,
}

/// What a person does with an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    Acknowledges,
    GivesBack,
}

/// How often a transition is computed anew after another writer won.
const TRIES: u32 = 4;

/// Every incident's newest state, by fingerprint, with its number in the sequence.
pub(super) type Known = BTreeMap<String, (u64, Incident)>;

impl Deliverer {
    /// Turns one evaluation of `rules` into transitions. Nothing is read from or written to the store when
    /// nothing changed. Failures are in the result: what could not be committed counts all the same, and is
    /// committed once the store can be written.
    pub async fn commit(
        &self,
        rules: &RuleGroup,
        evaluation: &Evaluation,
        completeness: &Completeness,
        scope: &Scope,
        now_ms: i64,
    ) -> Committed {
        let mut committed = Committed::default();
        self.save(&mut committed.errors).await;
        let known = self.known(&mut committed.errors).await;
        let mut found: BTreeSet<String> = BTreeSet::new();
        for finding in &evaluation.findings {
            found.insert(finding.fingerprint());
            self.observe(&finding.fingerprint(), &known, now_ms, &mut committed, |_| found_again(finding))
                .await;
        }
        let missing = known.values().filter(|(_, incident)| {
            incident.state.is_active()
                && incident.group == rules.name
                && !found.contains(&incident.fingerprint)
        });
        for (_, missed) in missing {
            let judge = |incident: Option<&Incident>| match incident {
                None => Observation::Clear,
                Some(incident) => match absence(incident, rules, evaluation, completeness, scope) {
                    Absence::Clear => Observation::Clear,
                    Absence::Incomplete(reason) => Observation::Incomplete(reason),
                    Absence::Removed(reason) => Observation::Removed(reason),
                },
            };
            self.observe(&missed.fingerprint, &known, now_ms, &mut committed, judge).await;
        }
        if !committed.transitions.is_empty() {
            self.regroup(now_ms, &mut committed.errors).await;
        }
        committed.events = committed.transitions.iter().filter_map(event_of).collect();
        committed
    }

    /// Resolves the incidents of rule groups that are no longer configured.
    pub async fn retire(&self, groups: &BTreeSet<String>, now_ms: i64) -> Committed {
        let mut committed = Committed::default();
        let known = self.known(&mut committed.errors).await;
        let orphans = known
            .values()
            .filter(|(_, incident)| incident.state.is_active() && !groups.contains(&incident.group));
        for (_, orphan) in orphans {
            let removed =
                |_: Option<&Incident>| Observation::Removed(format!("rule group {} removed", orphan.group));
            self.observe(&orphan.fingerprint, &known, now_ms, &mut committed, removed).await;
        }
        if !committed.transitions.is_empty() {
            self.regroup(now_ms, &mut committed.errors).await;
        }
        committed.events = committed.transitions.iter().filter_map(event_of).collect();
        committed
    }

    /// Marks an active incident as taken on, or given back, by `who`; `fingerprint` may be cut to what is
    /// unique. One that is in that state already stays as it is.
    ///
    /// # Errors
    /// When the store cannot be read or written. `Ok(None)`: no single active incident has that fingerprint.
    pub async fn by_person(
        &self,
        fingerprint: &str,
        person: Person,
        who: &str,
        now_ms: i64,
    ) -> Result<Option<Incident>, DeliverError> {
        let known = self.reload().await?;
        let mut fitting = known.values().filter(|(_, incident)| {
            incident.state.is_active() && incident.fingerprint.starts_with(fingerprint)
        });
        let (Some((_, incident)), None) = (fitting.next(), fitting.next()) else { return Ok(None) };
        let mut committed = Committed::default();
        let observed = |_: Option<&Incident>| match person {
            Person::Acknowledges => Observation::Acknowledged(who.to_owned()),
            Person::GivesBack => Observation::GivenBack(who.to_owned()),
        };
        self.observe(&incident.fingerprint, &known, now_ms, &mut committed, observed).await;
        let events: Vec<Event> = committed.transitions.iter().filter_map(event_of).collect();
        // The incident itself says who has it; the history can do without.
        if !events.is_empty()
            && let Err(error) = events::write(&self.store, &self.writer, now_ms, &events).await
        {
            tracing::warn!(error = chain(&error), "what somebody did with an incident is not in the history");
        }
        match committed.errors.pop() {
            Some(error) => Err(error),
            None => Ok(Some(committed.transitions.pop().unwrap_or_else(|| incident.clone()))),
        }
    }

    async fn observe<'a>(
        &self,
        fingerprint: &str,
        known: &Known,
        now_ms: i64,
        committed: &mut Committed,
        observation: impl Fn(Option<&Incident>) -> Observation<'a>,
    ) {
        let sequence = SequenceKey::incident(fingerprint);
        let mut newest = known.get(fingerprint).cloned();
        for _ in 0..TRIES {
            let (number, previous) = newest.as_ref().map_or((0, None), |(n, incident)| (*n, Some(incident)));
            let Some(next) = incident::step(previous, &observation(previous), now_ms) else { return };
            let next = self.with_what_came_before(next);
            let number = number.saturating_add(1);
            let waits = lock(&self.unsaved).holds(&sequence);
            let appended = match waits {
                true => None,
                false => Some(sequence::append(&self.store, &sequence, number, &next, &self.writer).await),
            };
            match appended {
                Some(Ok(Appended::Won)) => {}
                Some(Ok(Appended::Lost(there))) => {
                    newest = there;
                    if let Some((number, incident)) = &newest {
                        self.remember(*number, incident);
                    }
                    continue;
                }
                failed @ (None | Some(Err(_))) => {
                    if let Some(Err(source)) = failed {
                        committed.errors.push(store_error(
                            "commit incident",
                            sequence.prefix().as_str(),
                            source,
                        ));
                    }
                    lock(&self.unsaved).push(Transition::Incident(number, next.clone()));
                }
            }
            self.remember(number, &next);
            committed.transitions.push(next);
            return;
        }
        committed.errors.push(DeliverError::Contended { fingerprint: fingerprint.to_owned() });
    }

    fn with_what_came_before(&self, next: Incident) -> Incident {
        let known = lock(&self.known);
        let others = known.iter().flat_map(BTreeMap::values).map(|(_, incident)| incident);
        lock(&self.recent).told(next, others)
    }

    fn remember(&self, number: u64, incident: &Incident) {
        if let Some(known) = lock(&self.known).as_mut() {
            known.insert(incident.fingerprint.clone(), (number, incident.clone()));
        }
    }

    /// The incidents as last seen. When they were never read and cannot be, there are none: then what is
    /// found counts as new, and is told rather twice than not at all.
    async fn known(&self, errors: &mut Vec<DeliverError>) -> Known {
        let known = lock(&self.known).clone();
        match known {
            Some(known) => known,
            None => self.reload().await.unwrap_or_else(|error| {
                errors.push(error);
                let mut known = Known::new();
                lock(&self.unsaved).over_incidents(&mut known);
                known
            }),
        }
    }

    pub(super) async fn reload(&self) -> Result<Known, DeliverError> {
        let incidents = self
            .newest_incidents
            .read(&self.store, &Prefix::incidents())
            .await
            .map_err(|source| store_error("read", Prefix::incidents().as_str(), source))?;
        let mut known: Known = incidents
            .into_iter()
            .map(|(_, number, incident)| (incident.fingerprint.clone(), (number, incident)))
            .collect();
        lock(&self.unsaved).over_incidents(&mut known);
        *lock(&self.known) = Some(known.clone());
        Ok(known)
    }

    /// Appends a transition to every group that has something to tell. Races are lost silently: the winner
    /// computed the same from the same incidents, or the next sweep finds what is missing.
    pub(super) async fn regroup(&self, now_ms: i64, errors: &mut Vec<DeliverError>) {
        let drops = lock(&self.unsaved).drops();
        let known = self.known(errors).await;
        let all: Vec<&Incident> = known.values().map(|(_, incident)| incident).collect();
        let groups = self.groups(errors).await;
        let silences = self.silences(now_ms, errors).await;
        let speakers = Speakers::new(&self.routes.inhibit, &all, now_ms);
        let quiet = Quiet { speakers: &speakers, silences: &silences };
        let mut members: BTreeMap<String, Vec<&Incident>> = BTreeMap::new();
        for incident in &all {
            for route in self.routes.of(&incident.labels) {
                members.entry(route.group_key(incident)).or_default().push(incident);
            }
        }
        for (key, members) in members {
            let previous = groups.get(&key).map(Found::group);
            let route = members.first().and_then(|first| {
                self.routes.of(&first.labels).into_iter().find(|route| route.group_key(first) == key)
            });
            let Some(route) = route else { continue };
            let step = group::step(previous, route, &members, quiet, now_ms);
            if let Some(next) = step {
                self.append_group(next, drops, errors).await;
            }
        }
    }

    /// `drops` is what the incidents were read after: a state dropped since may be what `next` tells of, and
    /// the next regrouping knows better.
    async fn append_group(&self, mut next: Group, drops: u64, errors: &mut Vec<DeliverError>) {
        // What is told before it is committed may lose its number to another writer's transition, which says
        // something else and so needs another key.
        let id = self.writer.id().to_string();
        let mark = format!("{}{:x}", id.get(id.len() / 2..).unwrap_or_default(), self.writer.nonce());
        for notification in &mut next.notifications {
            notification.idempotency_key = format!("{}-{mark}", notification.idempotency_key);
        }
        let sequence = SequenceKey::group(&next.key);
        let (waits, outdated) = {
            let unsaved = lock(&self.unsaved);
            (unsaved.holds_ground_of(&next), unsaved.drops() != drops)
        };
        if outdated {
            return;
        }
        if !waits {
            match sequence::append(&self.store, &sequence, next.number, &next, &self.writer).await {
                Ok(Appended::Lost(_)) => return,
                Ok(Appended::Won) => {
                    lock(&self.known_groups).insert(next.key.clone(), next);
                    return;
                }
                Err(source) => errors.push(store_error("commit group", sequence.prefix().as_str(), source)),
            }
        }
        lock(&self.unsaved).push(Transition::Group(next));
    }

    /// The newest state of every group, by key; as last read where they cannot be read now.
    pub(super) async fn groups(&self, errors: &mut Vec<DeliverError>) -> BTreeMap<String, Found> {
        match self.newest_groups.read(&self.store, &Prefix::groups()).await {
            Ok(groups) => {
                *lock(&self.known_groups) =
                    groups.into_iter().map(|(_, _, group)| (group.key.clone(), group)).collect();
            }
            Err(source) => errors.push(store_error("read", Prefix::groups().as_str(), source)),
        }
        let stored = lock(&self.known_groups).clone().into_iter();
        let mut groups: BTreeMap<String, Found> =
            stored.map(|(key, group)| (key, Found::Stored(group))).collect();
        lock(&self.unsaved).over_groups(&mut groups);
        groups
    }
}

fn found_again(finding: &Finding) -> Observation<'_> {
    Observation::Found(finding)
}

pub(super) fn store_error(what: &'static str, key: &str, source: crate::store::StoreError) -> DeliverError {
    DeliverError::Store { what, key: key.to_owned(), source }
}
