//! The prober: one cluster's members, found and read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use futures::future::join_all;

use super::config::ScrapeConfig;
use super::target::{Heard, Limits, Target};
use crate::etcd::{Connection, EtcdError, ListedMember, MemberClient, MemberList};
use crate::model::{
    Alarm, ClusterId, ClusterName, ErrorKind, Instance, MemberId, MemberReading, Reading, ReadingError,
    StatusSource,
};

/// Which parts of a reading to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub status: bool,
    /// A linearizable and a serializable read.
    pub quorum_read: bool,
    pub scrape: bool,
    /// From one member.
    pub member_list: bool,
    /// The Alarm RPC, to one member. Alarms in Status' errors are seen without it.
    pub alarms: bool,
}

impl Parts {
    pub const ALL: Self =
        Self { status: true, quorum_read: true, scrape: true, member_list: true, alarms: true };
}

/// Reads one cluster; keeps connections and what was learned from reading to reading.
pub struct Prober {
    connection: Connection,
    limits: Limits,
    targets: BTreeMap<Instance, Target>,
    /// Endpoints that cannot even be made a client of, with why.
    unusable: BTreeMap<Instance, ReadingError>,
    listed: Option<Vec<ListedMember>>,
    alarms: BTreeSet<(String, Option<MemberId>)>,
    status_errors: BTreeSet<String>,
}

impl Prober {
    /// # Errors
    /// When no endpoint has a usable form, or a drop rule does not compile.
    pub fn new(connection: Connection, scrape: ScrapeConfig) -> Result<Self, EtcdError> {
        let drop = scrape.drop_rules();
        let drop = drop.map_err(|message| EtcdError::new("scrape", "connect", ErrorKind::Other, message))?;
        let mut prober = Self {
            connection,
            limits: Limits { config: scrape, drop },
            targets: BTreeMap::new(),
            unusable: BTreeMap::new(),
            listed: None,
            alarms: BTreeSet::new(),
            status_errors: BTreeSet::new(),
        };
        for endpoint in prober.connection.config.endpoints.clone() {
            let instance = Instance::of_endpoint(&prober.connection.config.url_of(&endpoint));
            let instance = instance
                .map_err(|error| EtcdError::new(&endpoint, "connect", ErrorKind::Other, error.to_string()))?;
            prober.add_target(instance, &endpoint, true);
        }
        Ok(prober)
    }

    pub fn cluster(&self) -> &ClusterName {
        &self.connection.config.name
    }

    fn add_target(&mut self, instance: Instance, endpoint: &str, configured: bool) {
        match MemberClient::new(&self.connection, endpoint) {
            Ok(client) => {
                self.unusable.remove(&instance);
                self.targets.insert(instance, Target::new(client, configured));
            }
            Err(error) => {
                self.unusable.insert(instance, error.for_reading(None));
            }
        }
    }

    /// Takes a reading. It never fails: what could not be read is an error inside it.
    pub async fn read(&mut self, now_ms: i64, parts: Parts) -> Reading {
        let started = Instant::now();
        if self.connection.refresh() {
            self.reconnect();
        }
        let mut heard = self.read_targets(now_ms, parts, None).await;
        let mut errors = Vec::new();
        let list_due = parts.member_list || self.listed.is_none();
        let fresh_list = if list_due { self.list_members(&heard, &mut errors).await } else { None };
        if let Some(list) = fresh_list {
            let found = self.adopt(&list);
            if !found.is_empty() {
                heard.extend(self.read_targets(now_ms, parts, Some(&found)).await);
            }
        }
        let cluster_id = majority(heard.iter().filter_map(|heard| heard.cluster_id));
        let mut members: Vec<MemberReading> =
            heard.into_iter().map(|heard| check_cluster(heard, cluster_id)).collect();
        self.add_unusable(now_ms, &mut members);
        self.name_members(&mut members);
        spread_leader(&mut members);
        members.sort_by(|a, b| a.instance.cmp(&b.instance));
        self.read_alarms(parts, &members, &mut errors).await;
        Reading {
            cluster: self.cluster().clone(),
            ts_ms: now_ms,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            cluster_id,
            members,
            member_list_known: self.listed.is_some(),
            alarms: self
                .alarms
                .iter()
                .map(|(kind, member_id)| Alarm { kind: kind.clone(), member_id: *member_id })
                .collect(),
            errors,
        }
    }

    async fn read_targets(
        &mut self,
        now_ms: i64,
        parts: Parts,
        only: Option<&BTreeSet<Instance>>,
    ) -> Vec<Heard> {
        let limits = &self.limits;
        let wanted =
            self.targets.iter_mut().filter(|(instance, _)| only.is_none_or(|only| only.contains(*instance)));
        join_all(wanted.map(|(instance, target)| target.read(instance, now_ms, parts, limits))).await
    }

    fn reconnect(&mut self) {
        let known: Vec<(Instance, String, bool)> = self
            .targets
            .iter()
            .map(|(instance, target)| (instance.clone(), target.client.url().to_owned(), target.configured))
            .collect();
        for (instance, url, configured) in known {
            self.add_target(instance, &url, configured);
        }
    }

    /// The member list from the first member that gives it, those that answered first.
    async fn list_members(&mut self, heard: &[Heard], errors: &mut Vec<ReadingError>) -> Option<MemberList> {
        let cluster_id = majority(heard.iter().filter_map(|heard| heard.cluster_id));
        let able = heard
            .iter()
            .filter(|h| h.reading.reachable() && (h.cluster_id.is_none() || h.cluster_id == cluster_id));
        let instances: Vec<Instance> = able.map(|h| h.reading.instance.clone()).collect();
        let mut failed = None;
        for instance in instances {
            let Some(target) = self.targets.get_mut(&instance) else { continue };
            match target.client.member_list().await {
                Ok(list) => return Some(list),
                Err(error) => failed = Some(error.for_reading(Some("Cluster.MemberList"))),
            }
        }
        errors.extend(failed);
        None
    }

    /// Takes over a member list: new members become targets, discovered ones that are gone are dropped.
    /// Returns the new instances.
    fn adopt(&mut self, list: &MemberList) -> BTreeSet<Instance> {
        self.listed = Some(list.members.clone());
        let mut found = BTreeSet::new();
        if !self.connection.config.discover_members {
            return found;
        }
        for member in &list.members {
            if self.instance_of(member).is_some() {
                continue;
            }
            let Some(url) = member.client_urls.first() else { continue };
            if let Ok(instance) = Instance::of_endpoint(url) {
                self.add_target(instance.clone(), url, false);
                found.insert(instance);
            }
        }
        let kept: BTreeSet<Instance> = list.members.iter().filter_map(|m| self.instance_of(m)).collect();
        self.targets.retain(|instance, target| target.configured || kept.contains(instance));
        self.unusable.retain(|instance, _| {
            self.targets.contains_key(instance) || kept.contains(instance) || !found.contains(instance)
        });
        found
    }

    /// Under which instance a listed member is read: by its id, or by one of its client URLs.
    fn instance_of(&self, member: &ListedMember) -> Option<Instance> {
        let by_id =
            self.targets.iter().find(|(_, target)| target.id == Some(member.id)).map(|(i, _)| i.clone());
        by_id.or_else(|| {
            let urls = member.client_urls.iter().filter_map(|url| Instance::of_endpoint(url).ok());
            urls.into_iter()
                .find(|instance| self.targets.contains_key(instance) || self.unusable.contains_key(instance))
        })
    }

    fn add_unusable(&self, now_ms: i64, members: &mut Vec<MemberReading>) {
        for (instance, error) in &self.unusable {
            if members.iter().all(|member| member.instance != *instance) {
                members.push(MemberReading { errors: vec![error.clone()], ..silent(instance, now_ms) });
            }
        }
        // Members that never started have no client URL and no name, yet they vote.
        for member in self.listed.iter().flatten().filter(|m| m.client_urls.is_empty()) {
            if members.iter().any(|known| known.member_id == Some(member.id)) {
                continue;
            }
            if let Ok(instance) = format!("unstarted-{}:0", member.id).parse() {
                let message = format!("member {} is in the member list but has not started", member.id);
                let error = ReadingError {
                    kind: ErrorKind::Unreachable,
                    during: "member-list".to_owned(),
                    message,
                    missing_right: None,
                };
                members.push(MemberReading {
                    member_id: Some(member.id),
                    is_learner: Some(member.is_learner),
                    errors: vec![error],
                    ..silent(&instance, now_ms)
                });
            }
        }
    }

    /// Fills in what the member list knows of members that did not say it themselves.
    fn name_members(&self, members: &mut [MemberReading]) {
        for listed in self.listed.iter().flatten() {
            let instance = self.instance_of(listed);
            let known = members
                .iter_mut()
                .find(|m| m.member_id == Some(listed.id) || instance.as_ref() == Some(&m.instance));
            let Some(member) = known else { continue };
            member.member_id = member.member_id.or(Some(listed.id));
            member.is_learner = member.is_learner.or(Some(listed.is_learner));
            member.name = Some(listed.name.clone()).filter(|name| !name.is_empty());
        }
    }

    /// Alarms stand in Status' errors on every poll; the RPC, which costs etcd a proposal, confirms when they
    /// change, and is all there is where Status is denied.
    async fn read_alarms(&mut self, parts: Parts, members: &[MemberReading], errors: &mut Vec<ReadingError>) {
        let statuses: Vec<_> = members.iter().filter_map(|m| m.status.as_ref()).collect();
        let by_rpc = statuses.iter().filter(|status| status.source == StatusSource::Rpc).count();
        let said: BTreeSet<String> =
            statuses.iter().flat_map(|status| status.errors.iter().cloned()).collect();
        let changed = said != self.status_errors;
        if by_rpc > 0 {
            self.alarms = said.iter().filter_map(|text| alarm_of(text)).collect();
        }
        self.status_errors = said;
        let denied = by_rpc == 0 && !statuses.is_empty() && parts.member_list;
        if !(parts.alarms || changed || denied) {
            return;
        }
        let Some(instance) = members.iter().find(|m| m.status.is_some()).map(|m| m.instance.clone()) else {
            return;
        };
        let Some(target) = self.targets.get_mut(&instance) else { return };
        match target.client.alarms().await {
            Ok(alarms) => {
                self.alarms = alarms.into_iter().map(|alarm| (alarm.kind, alarm.member_id)).collect();
            }
            Err(error) => errors.push(error.for_reading(Some("Maintenance.Alarm"))),
        }
    }
}

fn silent(instance: &Instance, now_ms: i64) -> MemberReading {
    MemberReading {
        instance: instance.clone(),
        member_id: None,
        name: None,
        is_learner: None,
        ts_ms: now_ms,
        duration_ms: 0,
        status: None,
        linearizable_read: None,
        serializable_read: None,
        health: None,
        scrape: None,
        errors: Vec::new(),
    }
}

/// The id that most answers carry; at a tie the smaller one, so that readings agree.
fn majority(ids: impl Iterator<Item = ClusterId>) -> Option<ClusterId> {
    let mut counts: BTreeMap<ClusterId, usize> = BTreeMap::new();
    ids.for_each(|id| *counts.entry(id).or_default() += 1);
    counts.into_iter().max_by_key(|(id, count)| (*count, std::cmp::Reverse(*id))).map(|(id, _)| id)
}

/// A member of another cluster keeps its errors and loses its say.
fn check_cluster(heard: Heard, cluster_id: Option<ClusterId>) -> MemberReading {
    let mut reading = heard.reading;
    if let (Some(own), Some(expected)) = (heard.cluster_id, cluster_id)
        && own != expected
    {
        let message =
            format!("{} is a member of cluster {own}, the others are of {expected}", reading.instance);
        reading.errors.insert(
            0,
            ReadingError {
                kind: ErrorKind::WrongCluster,
                during: "status".to_owned(),
                message,
                missing_right: None,
            },
        );
        let (instance, ts_ms, errors) = (reading.instance, reading.ts_ms, reading.errors);
        return MemberReading { errors, ..silent(&instance, ts_ms) };
    }
    reading
}

/// Where Status is denied only the leader knows that it leads; the others of its term follow it.
fn spread_leader(members: &mut [MemberReading]) {
    let leaders: HashMap<u64, MemberId> = members
        .iter()
        .filter_map(|m| m.status.as_ref())
        .filter(|s| s.source == StatusSource::Metrics)
        .filter_map(|s| Some((s.raft_term, s.leader?)))
        .collect();
    for status in members.iter_mut().filter_map(|m| m.status.as_mut()) {
        if status.source == StatusSource::Metrics && status.leader.is_none() {
            status.leader = leaders.get(&status.raft_term).copied();
        }
    }
}

/// `memberID:9372538179322589801 alarm:NOSPACE ` as Status' errors have it.
fn alarm_of(text: &str) -> Option<(String, Option<MemberId>)> {
    let kind = text.split_whitespace().find_map(|word| word.strip_prefix("alarm:"))?;
    let member = text.split_whitespace().find_map(|word| word.strip_prefix("memberID:"));
    Some((kind.to_owned(), member.and_then(|id| id.parse().ok()).map(MemberId)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_read_from_the_errors_of_status() {
        let nospace = alarm_of("memberID:9372538179322589801 alarm:NOSPACE ");
        assert_eq!(nospace, Some(("NOSPACE".to_owned(), Some(MemberId(9_372_538_179_322_589_801)))));
        assert_eq!(alarm_of("etcdserver: no leader"), None);
    }

    #[test]
    fn most_answers_decide_which_cluster_it_is() {
        let ids = |ids: &[u64]| majority(ids.iter().copied().map(ClusterId));
        assert_eq!(ids(&[1, 2, 2]), Some(ClusterId(2)));
        assert_eq!(ids(&[2, 1]), Some(ClusterId(1)));
        assert_eq!(ids(&[]), None);
    }
}
