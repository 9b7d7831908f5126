//! etcd to [`Reading`]: one health collection of a cluster, of which every part may fail on its own.
//!
//! Owns: which members there are, what is asked of each (all at once, so that a slow one delays nobody),
//! `/metrics` and its text format, the view without rights, the series the monitor derives, and the events
//! between two readings.
//! Refuses: writing to etcd, the clock, and judging (that is `rules`).

mod alarms;
mod changes;
mod clock;
mod config;
mod degraded;
pub mod derived;
pub mod exposition;
mod fetch;
mod health;
mod host;
mod late;
mod links;
mod member;
mod node;
mod targets;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::etcd::wire::MemberListResponse;
use crate::etcd::{ClusterConfig, EtcdError, Login, Member};
use crate::model::{Alarm, ClusterId, ClusterName, ErrorKind, MemberId, Reading, ReadingError};

use late::Late;

pub use changes::{Known, changes};
pub use config::ScrapeConfig;
pub use exposition::SeriesPool;
pub use host::Machine;

/// What a reading shall hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// Status of every member; alarms as its errors tell them.
    pub status: bool,
    /// A linearizable and a serializable read at every member.
    pub quorum_read: bool,
    /// `/metrics` of every member.
    pub scrape: bool,
    /// The member list, from one member. Until it was read once, it is read with every status.
    pub member_list: bool,
    /// The Alarm RPC now; without it, it is sent when Status.errors change and every 5 minutes.
    pub alarms: bool,
    /// The health endpoints of every member.
    pub health: bool,
    /// How long a slow member is waited for. What comes later is in a later reading: meanwhile its Status is as it was
    /// last, until the call fails. Without it every answer is waited for until its own deadline.
    pub patience: Option<Duration>,
}

impl Parts {
    pub const ALL: Self = Self {
        status: true,
        quorum_read: true,
        scrape: true,
        member_list: true,
        alarms: true,
        health: true,
        patience: None,
    };
}

/// Where the readings of one cluster come from: from etcd, or from what was read before.
pub trait ReadingSource: Send + Sync {
    /// One collection, started at `now_ms` (ms since the epoch). What could not be read is an error inside it.
    fn read(&self, now_ms: i64, parts: Parts) -> BoxFuture<'_, Reading>;
}

impl ReadingSource for Prober {
    fn read(&self, now_ms: i64, parts: Parts) -> BoxFuture<'_, Reading> {
        Box::pin(Self::read(self, now_ms, parts))
    }
}

/// Reads one cluster, again and again. Keeps connections, series texts and what the last readings told.
#[derive(Debug)]
pub struct Prober {
    cluster: ClusterName,
    limits: member::Limits,
    state: Arc<Mutex<State>>,
    listing: Late<Option<ReadingError>>,
}

#[derive(Debug)]
struct State {
    targets: targets::Targets,
    /// A member list was read once.
    listed: bool,
    /// Who is asked for the list next: each in turn, so that it costs all the same.
    list_turn: usize,
    alarms: alarms::Watch,
    links: links::Links,
}

/// Wait before the next member is asked for the list too.
const HEDGE: Duration = Duration::from_millis(300);

impl Prober {
    /// Nothing is sent yet. `login` is the resolved [`ClusterConfig::auth`].
    ///
    /// # Errors
    /// [`EtcdError::Config`].
    pub fn new(
        config: &ClusterConfig,
        login: Option<&Login>,
        scrape: &ScrapeConfig,
    ) -> Result<Self, EtcdError> {
        Self::sharing(config, login, scrape, &Arc::default())
    }

    /// As [`Prober::new`], for one of several clusters: the series that they have in common are held once.
    ///
    /// # Errors
    /// [`EtcdError::Config`].
    pub fn sharing(
        config: &ClusterConfig,
        login: Option<&Login>,
        scrape: &ScrapeConfig,
        pool: &Arc<SeriesPool>,
    ) -> Result<Self, EtcdError> {
        config.check()?;
        let keep = scrape.keep().map_err(|e| EtcdError::Config {
            cluster: config.name.clone(),
            key: "scrape.drop",
            problem: e.to_string(),
        })?;
        let (timeout, max_body_bytes) = (scrape.timeout.0, scrape.max_body.0);
        let limits = member::Limits { timeout, max_body_bytes, keep, machine: None };
        let targets = targets::Targets::new(config, login, Arc::clone(pool))?;
        let state = State {
            targets,
            listed: false,
            list_turn: 0,
            alarms: alarms::Watch::default(),
            links: links::Links::default(),
        };
        Ok(Self {
            cluster: config.name.clone(),
            limits,
            state: Arc::new(Mutex::new(state)),
            listing: Late::default(),
        })
    }

    /// Reads the machine, too, where members run on it.
    #[must_use]
    pub fn on(mut self, machine: Machine) -> Self {
        self.limits.machine = Some(machine);
        self
    }

    /// One collection, started at `now_ms` (ms since the epoch). Never fails: what could not be read is an
    /// error inside the reading.
    pub async fn read(&self, now_ms: i64, parts: Parts) -> Reading {
        let start = Instant::now();
        let mut errors = Vec::new();
        if parts.member_list || (parts.status && !self.state().listed) {
            // With old targets the reading goes on without it.
            let patience = parts.patience.filter(|_| self.state().listed).map(|_| HEDGE);
            let refreshed = refresh_members(Arc::clone(&self.state));
            errors.extend(self.listing.within(patience, refreshed).await.flatten());
        }
        let targets: Vec<_> = self.state().targets.all().cloned().collect();
        let mut probed =
            join_all(targets.iter().map(|target| member::probe(target, now_ms, parts, &self.limits))).await;
        degraded::share_leader(&mut probed);
        let cluster_id = majority(&probed);
        let members = separate(probed, cluster_id, &mut errors);
        let mut reading = Reading {
            cluster: self.cluster.clone(),
            ts_ms: now_ms,
            duration_ms: 0,
            cluster_id,
            members,
            alarms: Vec::new(),
            errors,
        };
        self.state().links.observe(&mut reading);
        let (alarms, failure) = self.alarms(&reading, &targets, parts).await;
        reading.alarms = alarms;
        reading.errors.extend(failure);
        reading.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        reading
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    async fn alarms(
        &self,
        reading: &Reading,
        targets: &[targets::Target],
        parts: Parts,
    ) -> (Vec<Alarm>, Option<ReadingError>) {
        let ask = self.state().alarms.due(reading, parts.alarms);
        let mut failure = None;
        if ask {
            let answering = |t: &&targets::Target| {
                reading.members.iter().any(|m| m.instance == t.instance && m.status.is_some())
            };
            if let Some(Ok(member)) = targets.iter().find(answering).map(|t| &t.member) {
                let asked = member.alarms();
                let answer = match parts.patience {
                    None => asked.await,
                    Some(patience) => tokio::time::timeout(patience, asked)
                        .await
                        .unwrap_or_else(|_| Err(EtcdError::timeout(member.url(), "alarms", patience))),
                };
                match answer {
                    Ok(answer) => self.state().alarms.confirmed(reading.ts_ms, &answer.alarms),
                    Err(e) => {
                        failure = Some(e.to_reading_error("alarms", "Maintenance.Alarm: any logged-in user"));
                        self.state().alarms.failed(reading.ts_ms);
                    }
                }
            }
        }
        (self.state().alarms.now(reading), failure)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for the member list: the first time all endpoints (to learn who is behind each), later one,
/// and the next where it is slow.
async fn refresh_members(state: Arc<Mutex<State>>) -> Option<ReadingError> {
    let (members, first): (Vec<Member>, bool) = {
        let mut state = lock(&state);
        let mut targets: Vec<_> = state.targets.all().collect();
        targets.sort_by_key(|t| t.configured.unwrap_or(usize::MAX));
        let mut members: Vec<Member> =
            targets.into_iter().filter_map(|t| t.member.as_ref().ok()).cloned().collect();
        let turn = state.list_turn.checked_rem(members.len()).unwrap_or(0);
        if state.listed {
            members.rotate_left(turn);
            state.list_turn = turn + 1;
        }
        (members, !state.listed)
    };
    let mut asked: FuturesUnordered<_> = members
        .iter()
        .enumerate()
        .map(|(n, member)| async move {
            if !first && n > 0 {
                tokio::time::sleep(HEDGE * u32::try_from(n).unwrap_or(u32::MAX)).await;
            }
            let answer = match member.member_list(true).await {
                Ok(answer) => Ok((answer, true)),
                // Without a quorum the member's own memory is better than nothing.
                Err(e) if e.kind() == ErrorKind::Timeout => {
                    member.member_list(false).await.map(|answer| (answer, false))
                }
                Err(e) => Err(e),
            };
            (n, member, answer)
        })
        .collect();
    let mut answers = Vec::new();
    let mut failure = None;
    // The first time, those that are slower than the fastest by much are not waited for.
    let mut patience: Option<tokio::time::Instant> = None;
    loop {
        let next = match patience {
            None => asked.next().await,
            Some(until) => tokio::time::timeout_at(until, asked.next()).await.unwrap_or(None),
        };
        match next {
            None => break,
            Some((n, member, Ok(answer))) => {
                answers.push((n, member.clone(), answer));
                if !first {
                    break;
                }
                patience.get_or_insert_with(|| tokio::time::Instant::now() + HEDGE);
            }
            Some((_, _, Err(e))) => failure = Some(e),
        }
    }
    if answers.is_empty() {
        return failure.map(|e| e.to_reading_error("member-list", "Cluster.MemberList: any logged-in user"));
    }
    answers.sort_by_key(|(n, _, _)| *n);
    take_lists(&state, answers.into_iter().map(|(_, member, answer)| (member, answer)).collect());
    None
}

/// Only the list of the cluster that most answers belong to counts, and of these a confirmed one.
fn take_lists(state: &Mutex<State>, answers: Vec<(Member, (MemberListResponse, bool))>) {
    let id_of = |list: &MemberListResponse| list.header.unwrap_or_default().cluster_id;
    let Some(cluster) = most_common(answers.iter().map(|(_, (list, _))| id_of(list))) else { return };
    let mut state = lock(state);
    let mut best: Option<(MemberListResponse, bool)> = None;
    for (member, (list, confirmed)) in answers {
        if id_of(&list) != cluster || list.members.is_empty() {
            continue;
        }
        let id = list.header.unwrap_or_default().member_id;
        state.targets.saw(member.instance(), MemberId(id));
        if best.as_ref().is_none_or(|(_, was)| confirmed && !was) {
            best = Some((list, confirmed));
        }
    }
    if let Some((list, confirmed)) = best {
        state.targets.update(&list.members, confirmed);
        state.listed = true;
    }
}

fn most_common<T: Ord + Copy>(items: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    // Of equally many the first seen wins, so the order of the endpoints decides.
    let mut best: Option<(T, usize)> = None;
    let items: Vec<T> = items.collect();
    for item in &items {
        *counts.entry(*item).or_default() += 1;
    }
    for item in items {
        let count = counts.get(&item).copied().unwrap_or(0);
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((item, count));
        }
    }
    best.map(|(item, _)| item)
}

fn majority(probed: &[member::Probed]) -> Option<ClusterId> {
    let mut ranked: Vec<_> = probed.iter().filter_map(|p| Some((p.rank, p.cluster_id?))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    most_common(ranked.into_iter().map(|(_, id)| id))
}

/// The cluster's members, sorted by instance; endpoints that turn out to be none become errors.
fn separate(
    probed: Vec<member::Probed>,
    cluster_id: Option<ClusterId>,
    errors: &mut Vec<ReadingError>,
) -> Vec<crate::model::MemberReading> {
    let any_listed = probed.iter().any(|p| p.listed);
    let mut members = Vec::new();
    for mut p in probed {
        let foreign = p.cluster_id.filter(|id| cluster_id.is_some_and(|ours| ours != *id));
        if let (Some(theirs), Some(ours)) = (foreign, cluster_id) {
            let message = format!(
                "{} belongs to cluster {theirs}, the other members to {ours}; it is not counted as a member",
                p.reading.instance
            );
            p.reading.errors.push(member::error(ErrorKind::WrongCluster, "status", message));
            errors.append(&mut p.reading.errors);
            continue;
        }
        // The list is known and does not have it: it is an address, not a member that is down.
        if any_listed && !p.listed && p.reading.status.is_none() && !p.reading.errors.is_empty() {
            errors.append(&mut p.reading.errors);
            continue;
        }
        members.push(p.reading);
    }
    members
}
