//! One run of a benchmark: what was asked of which cluster, how long the answers took, and what the members said of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ClusterName, Instance};

/// The version of this shape, as it is stored.
pub const BENCH_FORMAT: u32 = 1;

/// One execution of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchRun {
    pub format: u32,
    /// Sorts by time.
    pub id: String,
    pub cluster: ClusterName,
    /// The name of the profile that it was a part of.
    pub profile: Option<String>,
    /// The subcommand: `put`, `range`, …
    pub operation: String,
    /// What repeats it.
    pub command: String,
    /// Every option with its value, by the name of its flag; defaults, too.
    pub options: BTreeMap<String, String>,
    pub seed: u64,
    /// Who was asked.
    pub targets: Vec<Instance>,
    pub keys: Option<BenchKeys>,
    /// ms since the epoch: of the first measured request, and of the last answer.
    pub started_ms: i64,
    pub finished_ms: i64,
    pub warm_up_seconds: f64,
    pub outcome: BenchOutcome,
    /// Why it did not go to its end, and what else is to be known of it.
    pub notes: Vec<String>,
    /// Most loads have one part; some, as reads and writes, have two.
    pub parts: Vec<BenchPart>,
    pub server: BenchServer,
    pub client: BenchClient,
    /// Of `put --check-hashkv`.
    pub hash_kv: Option<BenchHash>,
    pub clean_up: BenchCleanUp,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchOutcome {
    Complete,
    /// The longest time that it may take was over.
    Truncated,
    /// It would have harmed the cluster.
    Stopped,
    /// Somebody stopped it.
    Interrupted,
}

impl BenchOutcome {
    pub const ALL: [Self; 4] = [Self::Complete, Self::Truncated, Self::Stopped, Self::Interrupted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Truncated => "truncated",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// The keys that a load wrote or read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchKeys {
    /// Ours: nothing else is written.
    pub prefix: String,
    /// The part after the prefix, as asked for, and all of it, bytes.
    pub key_size: u64,
    pub total_key_size: u64,
    /// How many keys there are to choose from.
    pub space: u64,
}

/// What was measured of one kind of request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchPart {
    /// `put`, `reads`, `writes`, `creation`, `events`, …
    pub name: String,
    /// Requests that were answered as asked, and those that were not.
    pub ok: u64,
    pub failed: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Good answers per second.
    pub rate: f64,
    /// From when the request was to be sent. Where no rate was given, that is when it was sent.
    pub latency: BenchLatency,
    /// From when the request was really sent; absent where that is the same.
    pub uncorrected: Option<BenchLatency>,
    /// All of `latency`, ns: a HdrHistogram in its V2 format, deflated, in base64.
    pub histogram: String,
    pub by_second: Vec<BenchSecond>,
    pub errors: Vec<BenchFailure>,
}

/// Seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchLatency {
    pub fastest: f64,
    pub slowest: f64,
    pub average: f64,
    pub stddev: f64,
    /// The part of all, 0 to 1, and what it stays at or below.
    pub quantiles: Vec<(f64, f64)>,
}

impl BenchLatency {
    /// What the part `quantile` of all stays at or below, seconds; of those that are kept.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let found = self.quantiles.iter().find(|(q, _)| (q - quantile).abs() < 1e-9);
        found.map(|(_, seconds)| *seconds)
    }
}

/// Requests whose beginning fell into one second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BenchSecond {
    /// Since the beginning.
    pub at: u32,
    pub ok: u64,
    pub failed: u64,
    /// Seconds.
    pub fastest: f64,
    pub average: f64,
    pub slowest: f64,
}

/// One way to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchFailure {
    /// gRPC's name of it: `ResourceExhausted`.
    pub code: String,
    pub message: String,
    pub count: u64,
}

/// What the members said before and after.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchServer {
    pub version: Option<String>,
    pub leader: Option<Instance>,
    /// Raft terms passed while it ran: 0 when the leader stayed.
    pub leader_changes: u64,
    pub revision_before: Option<i64>,
    pub revision_after: Option<i64>,
    pub members: Vec<BenchMember>,
}

/// One member, over the measured time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchMember {
    pub instance: Instance,
    pub is_leader: bool,
    pub fsyncs: u64,
    /// Seconds; interpolated within a bucket, as PromQL does it.
    pub fsync_p99: Option<f64>,
    pub commits: u64,
    pub commit_p99: Option<f64>,
    pub slow_applies: u64,
    pub failed_proposals: u64,
    pub cpu_seconds: Option<f64>,
    /// Resident memory of the process.
    pub memory_bytes_before: Option<u64>,
    pub memory_bytes_after: Option<u64>,
    pub db_bytes_before: Option<u64>,
    pub db_bytes_after: Option<u64>,
    pub in_use_bytes_before: Option<u64>,
    pub in_use_bytes_after: Option<u64>,
}

/// The hash of all keys at one member after a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchHash {
    pub hash: u32,
    pub endpoint: Instance,
    /// What it took.
    pub seconds: f64,
    pub db_bytes: Option<u64>,
}

/// The machine that the load came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchClient {
    pub cpus: u64,
    pub memory_bytes: Option<u64>,
    /// What the load cost here.
    pub cpu_seconds: Option<f64>,
    /// Whether a target ran on the same machine, and so shared its processors.
    pub is_local: bool,
}

/// What became of what was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchCleanUp {
    pub keys_deleted: u64,
    /// Left by earlier runs that were killed.
    pub leftovers_deleted: u64,
    /// When asked for.
    pub compacted_revision: Option<i64>,
    /// Why something is left; the next run deletes it.
    pub problem: Option<String>,
}

impl BenchRun {
    /// What another run must have in common with it to be compared: everything that is asked for, but the seed, how much
    /// of it, and where to.
    pub fn signature(&self) -> String {
        let apart = ["seed", "total", "duration", "max-time", "endpoints", "sample", "precise", "warm-up"];
        let options = self.options.iter().filter(|(name, _)| !apart.contains(&name.as_str()));
        let options: Vec<String> = options.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {}", self.operation, options.join(" "))
    }
}

/// One part of a run, as the table keeps it: what history, comparisons and pages read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    pub cluster: ClusterName,
    pub id: String,
    pub part: String,
    /// When the run began, ms since the epoch.
    pub ts_ms: i64,
    pub profile: Option<String>,
    pub operation: String,
    /// What it has in common with runs that it may be compared with.
    pub signature: String,
    pub command: String,
    pub outcome: BenchOutcome,
    pub version: Option<String>,
    /// Whether requests were due at a given rate.
    pub is_paced: bool,
    pub ok: u64,
    pub failed: u64,
    pub seconds: f64,
    pub rate: f64,
    pub average: f64,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub slowest: f64,
    pub uncorrected_p99: Option<f64>,
    /// Of the leader.
    pub fsync_p99: Option<f64>,
    pub commit_p99: Option<f64>,
    pub leader_changes: u64,
}

impl BenchRow {
    /// Whether it may be compared: it has answers, and nothing but time cut it.
    pub fn is_conclusive(&self) -> bool {
        matches!(self.outcome, BenchOutcome::Complete | BenchOutcome::Truncated) && self.ok > 0
    }
}

impl BenchRun {
    /// The rows of the table.
    pub fn rows(&self) -> Vec<BenchRow> {
        let leader = self.server.members.iter().find(|member| member.is_leader);
        let row = |part: &BenchPart| BenchRow {
            cluster: self.cluster.clone(),
            id: self.id.clone(),
            part: part.name.clone(),
            ts_ms: self.started_ms,
            profile: self.profile.clone(),
            operation: self.operation.clone(),
            signature: self.signature(),
            command: self.command.clone(),
            outcome: self.outcome,
            version: self.server.version.clone(),
            is_paced: part.uncorrected.is_some(),
            ok: part.ok,
            failed: part.failed,
            seconds: part.seconds,
            rate: part.rate,
            average: part.latency.average,
            p50: part.latency.quantile(0.5),
            p90: part.latency.quantile(0.9),
            p99: part.latency.quantile(0.99),
            p999: part.latency.quantile(0.999),
            slowest: part.latency.slowest,
            uncorrected_p99: part.uncorrected.as_ref().and_then(|latency| latency.quantile(0.99)),
            fsync_p99: leader.and_then(|leader| leader.fsync_p99),
            commit_p99: leader.and_then(|leader| leader.commit_p99),
            leader_changes: self.server.leader_changes,
        };
        self.parts.iter().map(row).collect()
    }
}

/// What is known of one kind of run, of one of its parts: the newest, and those before it.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchStanding {
    pub newest: BenchRow,
    /// `unknown`, `same`, `better`, `suspected`, `regression`.
    pub verdict: &'static str,
    /// The verdict in a sentence, with its threshold; empty where there is nothing to compare with.
    pub why: String,
    /// Of the runs of the kind, oldest first: when, how many a second, p99 in seconds.
    pub history: Vec<(i64, f64, Option<f64>)>,
}
