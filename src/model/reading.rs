//! A reading: one health collection of one cluster. What could not be read is an error inside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ClusterId, ClusterName, Instance, Labels, MemberId, Samples};

/// One health collection of one cluster. Serialised without the samples of its scrapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub cluster: ClusterName,
    /// When the collection started, ms since the epoch, UTC.
    pub ts_ms: i64,
    pub duration_ms: u64,
    /// The id most members agree on.
    pub cluster_id: Option<ClusterId>,
    /// One entry per configured or discovered member, sorted by instance, unreachable ones too.
    pub members: Vec<MemberReading>,
    pub alarms: Vec<Alarm>,
    /// What went wrong for the cluster as a whole (a member's own errors are in its entry).
    pub errors: Vec<ReadingError>,
}

impl Reading {
    /// Voting members that answered, and voting members in all (learners do not vote).
    pub fn voters(&self) -> (usize, usize) {
        let voting = || self.members.iter().filter(|m| m.is_learner != Some(true));
        (voting().filter(|m| m.reachable()).count(), voting().count())
    }

    /// Whether a majority of voting members answered, or a linearizable read succeeded (which proves it).
    pub fn has_quorum(&self) -> bool {
        let (up, all) = self.voters();
        up > all / 2 || self.members.iter().any(|m| m.linearizable_read.as_ref().is_some_and(|r| r.ok))
    }

    /// The leader at the highest term any member reports.
    pub fn leader(&self) -> Option<(MemberId, u64)> {
        self.members
            .iter()
            .filter_map(|m| m.status.as_ref())
            .filter_map(|s| s.leader.map(|leader| (leader, s.raft_term)))
            .max_by_key(|(_, term)| *term)
    }

    /// The entry of the leader, if it is among the members read.
    pub fn leader_member(&self) -> Option<&MemberReading> {
        let (leader, _) = self.leader()?;
        self.members.iter().find(|m| m.member_id == Some(leader))
    }
}

/// What one member said, or why it did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberReading {
    pub instance: Instance,
    /// `None` until the member itself or the member list names it.
    pub member_id: Option<MemberId>,
    pub name: Option<String>,
    pub is_learner: Option<bool>,
    /// As the member list has them.
    pub peer_urls: Vec<String>,
    /// As the member list has them; empty until the member has started.
    pub client_urls: Vec<String>,
    /// Of each peer of which it is known: whether messages from it arrive here, as the last two scrapes tell.
    pub hears: BTreeMap<Instance, bool>,
    /// When this member's part started, ms since the epoch, UTC.
    pub ts_ms: i64,
    pub duration_ms: u64,
    pub status: Option<MemberStatus>,
    pub linearizable_read: Option<ReadProbe>,
    pub serializable_read: Option<ReadProbe>,
    /// What the member's health endpoints said last, by path: `health`, `livez`, `readyz`. Those that it does not have,
    /// or that nobody asked, are absent.
    #[serde(default)]
    pub health: BTreeMap<String, EndpointHealth>,
    /// `None` when `/metrics` was not due or not configured; a failed scrape is one with an error.
    pub scrape: Option<Scrape>,
    /// What the machine says that the member runs on, where that is the monitor's own, in the same readings as `scrape`:
    /// labels with `__name__`, without those of the member.
    #[serde(skip)]
    pub host: Vec<(Labels, f64)>,
    /// What the node exporter beside it says.
    #[serde(skip)]
    pub node: Option<NodeScrape>,
    pub errors: Vec<ReadingError>,
}

impl MemberReading {
    /// Whether the member answered anything at all in this reading.
    pub fn reachable(&self) -> bool {
        self.status.is_some()
            || !self.health.is_empty()
            || self.linearizable_read.as_ref().is_some_and(|r| r.ok)
            || self.serializable_read.as_ref().is_some_and(|r| r.ok)
            || self.scrape.as_ref().is_some_and(|s| s.ok)
    }

    /// A copy that says of its scrape only how it went.
    pub fn without_samples(&self) -> Self {
        let scrape = self.scrape.as_ref().map(|scrape| Scrape { samples: Samples::default(), ..*scrape });
        Self {
            instance: self.instance.clone(),
            member_id: self.member_id,
            name: self.name.clone(),
            is_learner: self.is_learner,
            peer_urls: self.peer_urls.clone(),
            client_urls: self.client_urls.clone(),
            hears: self.hears.clone(),
            ts_ms: self.ts_ms,
            duration_ms: self.duration_ms,
            status: self.status.clone(),
            linearizable_read: self.linearizable_read.clone(),
            serializable_read: self.serializable_read.clone(),
            health: self.health.clone(),
            scrape,
            host: Vec::new(),
            node: None,
            errors: self.errors.clone(),
        }
    }

    pub fn role(&self) -> Role {
        match (&self.status, self.member_id) {
            _ if self.is_learner == Some(true) => Role::Learner,
            (Some(status), Some(id)) if status.leader == Some(id) => Role::Leader,
            (Some(_), Some(_)) => Role::Follower,
            _ => Role::Unknown,
        }
    }
}

impl Reading {
    /// A copy that says of its scrapes only how they went: what is remembered for long must not hold samples.
    pub fn without_samples(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            ts_ms: self.ts_ms,
            duration_ms: self.duration_ms,
            cluster_id: self.cluster_id,
            members: self.members.iter().map(MemberReading::without_samples).collect(),
            alarms: self.alarms.clone(),
            errors: self.errors.clone(),
        }
    }

    /// The rows of the `readings` table: one per member.
    pub fn rows(&self) -> Vec<ReadingRow> {
        self.members.iter().map(|member| self.row(member)).collect()
    }

    fn row(&self, member: &MemberReading) -> ReadingRow {
        let status = member.status.as_ref();
        ReadingRow {
            cluster: self.cluster.clone(),
            cluster_id: self.cluster_id,
            instance: member.instance.clone(),
            member_id: member.member_id,
            name: member.name.clone(),
            ts_ms: self.ts_ms,
            duration_ms: member.duration_ms,
            reachable: member.reachable(),
            errors: member.errors.iter().chain(&self.errors).cloned().collect(),
            version: status.map(|s| s.version.clone()).filter(|v| !v.is_empty()),
            role: member.role(),
            is_learner: member.is_learner,
            deaf_to: member
                .hears
                .iter()
                .filter(|(_, heard)| !**heard)
                .map(|(peer, _)| peer.clone())
                .collect(),
            raft_term: status.map(|s| s.raft_term),
            leader: status.and_then(|s| s.leader),
            raft_index: status.map(|s| s.raft_index),
            raft_applied_index: status.map(|s| s.raft_applied_index),
            db_size_bytes: status.map(|s| s.db_size_bytes),
            db_size_in_use_bytes: status.map(|s| s.db_size_in_use_bytes),
            quota_bytes: status.and_then(|s| s.quota_bytes),
            alarms: self
                .alarms
                .iter()
                .filter(|alarm| alarm.member_id.is_none() || alarm.member_id == member.member_id)
                .map(|alarm| alarm.kind.clone())
                .collect(),
            unhealthy: member.health.iter().filter_map(|(path, said)| said.complaint(path)).collect(),
            defragmenting: member.scrape.as_ref().is_some_and(Scrape::is_defragmenting),
        }
    }
}

/// One member at one reading, as the `readings` table keeps it. What is not known is absent, never zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadingRow {
    pub cluster: ClusterName,
    pub cluster_id: Option<ClusterId>,
    pub instance: Instance,
    pub member_id: Option<MemberId>,
    pub name: Option<String>,
    /// The reading's start: equal for all members of one reading.
    pub ts_ms: i64,
    pub duration_ms: u64,
    pub reachable: bool,
    /// The member's own errors, then those of the cluster as a whole.
    pub errors: Vec<ReadingError>,
    pub version: Option<String>,
    pub role: Role,
    pub is_learner: Option<bool>,
    /// Peers that answer the monitor and whose messages do not arrive at this member.
    #[serde(default)]
    pub deaf_to: Vec<Instance>,
    pub raft_term: Option<u64>,
    pub leader: Option<MemberId>,
    pub raft_index: Option<u64>,
    pub raft_applied_index: Option<u64>,
    pub db_size_bytes: Option<u64>,
    pub db_size_in_use_bytes: Option<u64>,
    pub quota_bytes: Option<u64>,
    /// Kinds of the active alarms that name this member (or no member).
    pub alarms: Vec<String>,
    /// Health endpoints by which the member is not well, with its reasons: `/readyz: linearizable_read failed`.
    #[serde(default)]
    pub unhealthy: Vec<String>,
    /// Whether its metrics say that it defragments its database now: it serves nobody meanwhile.
    #[serde(default)]
    pub defragmenting: bool,
}

/// A member's part in raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Leader,
    Follower,
    Learner,
    Unknown,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a [`MemberStatus`] came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusSource {
    /// The Maintenance.Status RPC.
    Rpc,
    /// `/metrics`, because the RPC was denied; fields that it lacks are empty.
    Metrics,
}

/// A member's view of itself and of raft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    pub source: StatusSource,
    pub version: String,
    pub db_size_bytes: u64,
    pub db_size_in_use_bytes: u64,
    /// From Status on 3.6+, else from `etcd_server_quota_backend_bytes`.
    pub quota_bytes: Option<u64>,
    /// `None` while the member knows no leader (id 0 on the wire).
    pub leader: Option<MemberId>,
    pub raft_term: u64,
    pub raft_index: u64,
    pub raft_applied_index: u64,
    pub revision: Option<i64>,
    /// Status.errors: alarms and `etcdserver: no leader` as the member words them.
    pub errors: Vec<String>,
}

/// One read of a key as a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadProbe {
    /// True also when the read was refused for missing rights: the member had to ask the quorum to know.
    pub ok: bool,
    pub seconds: f64,
}

/// An active alarm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alarm {
    /// `NOSPACE`, `CORRUPT`, or the number etcd gave.
    pub kind: String,
    pub member_id: Option<MemberId>,
}

/// What one health endpoint of a member said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointHealth {
    pub healthy: bool,
    /// Why not, in the member's words.
    pub reason: Option<String>,
}

impl EndpointHealth {
    /// What is wrong by the endpoint at `path`, in one line; `None` when nothing is.
    fn complaint(&self, path: &str) -> Option<String> {
        let reason = self.reason.as_deref().unwrap_or("not healthy");
        (!self.healthy).then(|| format!("/{path}: {reason}"))
    }
}

/// How far a member's clock is from the monitor's, at most `within_seconds` off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Positive where the member's clock is ahead.
    pub seconds: f64,
    pub within_seconds: f64,
}

/// One fetch of a node exporter's metrics: those that the product uses.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeScrape {
    /// Its start, ms since the epoch, UTC.
    pub ts_ms: i64,
    /// Labels with `__name__` and `job`, without `cluster` and `instance`.
    pub samples: Samples,
}

/// One fetch of a member's `/metrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scrape {
    /// The scrape's start, ms since the epoch, UTC: the time of all its samples.
    pub ts_ms: i64,
    pub duration_seconds: f64,
    /// False when nothing usable came; then `samples` is empty.
    pub ok: bool,
    /// Decoded size.
    pub body_bytes: u64,
    /// Labels with `__name__`, without `cluster`, `instance` and `job`.
    #[serde(skip)]
    pub samples: Samples,
    /// Series cut off by the cap or by drop rules.
    pub dropped_series: u64,
    /// Kept series that the member's last good scrape did not have.
    pub added_series: u64,
    /// By the `Date` of this answer and of those before it.
    #[serde(default)]
    pub clock: Option<ClockOffset>,
}

impl Scrape {
    /// Versions before 3.4.18 and 3.5.1 do not say so.
    fn is_defragmenting(&self) -> bool {
        self.samples.first("etcd_disk_defrag_inflight").is_some_and(|(_, value)| value > 0.0)
    }
}

/// What kind of failure a [`ReadingError`] is; alerts and pages group by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Refused, reset, unresolvable.
    Unreachable,
    Timeout,
    /// Handshake failed: unknown CA, wrong name, expired or missing certificate.
    Tls,
    /// Wrong user name or password, or a missing login.
    Auth,
    /// Logged in, but the user lacks a right.
    Denied,
    /// The member belongs to another cluster than its peers.
    WrongCluster,
    /// The answer is not what etcd sends.
    Malformed,
    /// Larger than the cap.
    TooLarge,
    Other,
}

impl ErrorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Denied => "denied",
            Self::WrongCluster => "wrong-cluster",
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::Other => "other",
        }
    }
}

/// A failure met while reading; the reading goes on without that part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingError {
    pub kind: ErrorKind,
    /// What was tried: `status`, `member-list`, `alarms`, `linearizable-read`, `metrics`, `health`, `connect`.
    pub during: String,
    /// One line for people; names the endpoint, never a secret.
    pub message: String,
    /// For [`ErrorKind::Denied`]: the right that is missing, in etcd's words.
    pub missing_right: Option<String>,
}
