//! Rule groups evaluated over a source, and what comes of it committed: the part that `watch` and `evaluate`
//! share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::warn;

use super::recorded::RecordedSeries;
use crate::deliver::Deliverer;
use crate::model::{Event, Joined, Labels, Series, SeriesSource, chain};
use crate::rules::{self, Active, EvalState, RuleGroup, RuleOptions, Scope};
use crate::store::key::{self, Prefix};
use crate::store::{Create, Store, StoreError};

/// Evaluates groups and keeps their `for` state, in memory and in the store.
pub struct Judge {
    store: Store,
    deliverer: Deliverer,
    memory: Mutex<Memory>,
    scrape_interval_ms: i64,
    options: RuleOptions,
}

/// What evaluations leave for the next ones.
#[derive(Default)]
struct Memory {
    /// By group.
    states: BTreeMap<String, Remembered>,
    recorded: RecordedSeries,
}

/// The `for` state of one group.
#[derive(Default)]
struct Remembered {
    state: EvalState,
    /// Whether what an earlier process knew is in it.
    loaded: bool,
}

impl Remembered {
    /// Adds what an earlier process knew: of a condition that still holds, its beginning.
    fn join(&mut self, stored: EvalState) {
        let mut joined = stored;
        joined.recorded.append(&mut self.state.recorded);
        for (fingerprint, own) in std::mem::take(&mut self.state.active) {
            let since_ms = joined.active.get(&fingerprint).map_or(own.since_ms, |there| there.since_ms);
            let active = Active { since_ms: since_ms.min(own.since_ms), ..own };
            joined.active.insert(fingerprint, active);
        }
        *self = Self { state: joined, loaded: true };
    }
}

/// What one round did.
#[derive(Debug, Default)]
pub struct Judged {
    pub findings: usize,
    /// Incidents that began, ended or changed.
    pub transitions: usize,
    pub events: Vec<Event>,
    /// What recording rules wrote at this instant, stale markers among it: for the samples table.
    pub recorded: Vec<(Labels, f64)>,
    pub errors: Vec<String>,
}

impl Judge {
    pub fn new(store: Store, deliverer: Deliverer, scrape_interval_ms: i64, options: RuleOptions) -> Self {
        Self { store, deliverer, memory: Mutex::default(), scrape_interval_ms, options }
    }

    pub fn options(&self) -> &RuleOptions {
        &self.options
    }

    pub fn deliverer(&self) -> &Deliverer {
        &self.deliverer
    }

    /// Puts back what recording rules wrote before a restart; `recorded` are the metrics they write. Returns
    /// the other series.
    pub async fn refill(&self, series: Vec<Arc<Series>>, recorded: &BTreeSet<String>) -> Vec<Arc<Series>> {
        self.memory.lock().await.recorded.refill(series, recorded)
    }

    /// What others evaluate meanwhile is read from the store when it evaluates again.
    pub(super) async fn forget(&self) {
        self.memory.lock().await.states.clear();
    }

    /// Evaluates `groups` over `source` at `now_ms` and commits the transitions.
    pub async fn judge(
        &self,
        groups: &[RuleGroup],
        source: &dyn SeriesSource,
        scope: &Scope,
        now_ms: i64,
    ) -> Judged {
        let mut judged = Judged::default();
        let complete = match rules::completeness(source, now_ms, self.scrape_interval_ms) {
            Ok(complete) => complete,
            Err(error) => {
                judged.errors.push(format!("completeness: {error}"));
                return judged;
            }
        };
        let mut memory = self.memory.lock().await;
        let Memory { states, recorded } = &mut *memory;
        for group in groups {
            let known = states.entry(group.name.clone()).or_default();
            if !known.loaded {
                match load_state(&self.store, &group.name).await {
                    Ok(stored) => known.join(stored),
                    // `for` begins anew until the state can be read: rather late than never.
                    Err(error) => {
                        judged.errors.push(format!("state of {}: {}", group.name, chain(&error)));
                    }
                }
            }
            let state = &mut known.state;
            let source = Joined(source, &recorded.set);
            let evaluation = rules::evaluate(group, &source, now_ms, state, &self.options);
            recorded.add(&evaluation.recorded, now_ms);
            judged.recorded.extend(evaluation.recorded.iter().cloned());
            judged.errors.extend(evaluation.errors.iter().map(ToString::to_string));
            if known.loaded
                && evaluation.state != *state
                && let Err(error) = save_state(&self.store, &group.name, now_ms, &evaluation.state).await
            {
                judged.errors.push(format!("state of {}: {}", group.name, chain(&error)));
            }
            state.clone_from(&evaluation.state);
            judged.findings += evaluation.findings.len();
            let committed = self.deliverer.commit(group, &evaluation, &complete, scope, now_ms).await;
            judged.transitions += committed.transitions.len();
            judged.events.extend(committed.events);
            judged.errors.extend(committed.errors.iter().map(|error| chain(error)));
        }
        judged
    }
}

/// The newest state of a group.
async fn load_state(store: &Store, group: &str) -> Result<EvalState, StoreError> {
    let entries = store.list(&Prefix::evaluations(group)).await?;
    let newest = entries.iter().max_by_key(|entry| key::evaluation_slot_ms(&entry.key));
    let Some(newest) = newest else { return Ok(EvalState::default()) };
    let body = store.get(&newest.key).await?.unwrap_or_default();
    // A state that cannot be read is lost: conditions are taken as new.
    Ok(serde_json::from_slice(&body).unwrap_or_else(|error| {
        warn!(group, %error, "the evaluation state cannot be read, `for` starts anew");
        EvalState::default()
    }))
}

/// One object per evaluation that changed something; of two evaluators at one instant the first stays.
async fn save_state(store: &Store, group: &str, now_ms: i64, state: &EvalState) -> Result<(), StoreError> {
    let key = key::evaluation(group, now_ms);
    let body = serde_json::to_vec(state).unwrap_or_default();
    match store.create(&key, body.into()).await? {
        Create::Won | Create::Exists(_) => Ok(()),
    }
}
