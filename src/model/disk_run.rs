//! One check of a disk: how fast it makes data durable, what it is, what it does besides, and what that means for etcd.

use serde::{Deserialize, Serialize};

use super::{Check, ClusterName, Instance, Level};

/// The version of this shape, as it is stored.
pub const DISK_FORMAT: u32 = 1;

/// One execution of a disk check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskRun {
    pub format: u32,
    /// Sorts by time.
    pub id: String,
    /// The machine's name.
    pub host: String,
    pub directory: String,
    /// The cluster and the member that keeps its data there; absent where none does.
    pub cluster: Option<ClusterName>,
    pub instance: Option<Instance>,
    /// ms since the epoch.
    pub started_ms: i64,
    pub finished_ms: i64,
    pub tests: Vec<DiskTest>,
    pub device: DiskDevice,
    /// What the device did before anything was measured.
    pub pattern: Option<DiskPattern>,
    pub verdict: DiskVerdict,
    /// What the verdict is made of, seconds: the slowest of the tests that make data durable as etcd does.
    pub fsync_p99: Option<f64>,
    pub findings: Vec<Check>,
    /// What is to be known besides: tests that were left out, and why.
    pub notes: Vec<String>,
}

/// Whether etcd may keep its data there; ordered, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskVerdict {
    ProductionReady,
    Warning,
    Critical,
    /// Too little was measured.
    Unknown,
}

impl DiskVerdict {
    pub const ALL: [Self; 4] = [Self::ProductionReady, Self::Warning, Self::Critical, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProductionReady => "production-ready",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == text)
    }
}

impl From<DiskVerdict> for Level {
    fn from(verdict: DiskVerdict) -> Self {
        match verdict {
            DiskVerdict::ProductionReady => Self::Pass,
            DiskVerdict::Warning => Self::Warning,
            DiskVerdict::Critical => Self::Critical,
            DiskVerdict::Unknown => Self::Unknown,
        }
    }
}

/// What one program measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskTest {
    /// `probe`, or the name of fio's job.
    pub name: String,
    /// What measured: `etcd-monitor 1.0.0`, `fio-3.33`.
    pub tool: String,
    /// What repeats it.
    pub command: String,
    pub seconds: f64,
    /// Whether its time was over before its end.
    pub is_truncated: bool,
    pub read: Option<DiskFlow>,
    pub write: Option<DiskFlow>,
    /// What making data durable took: `fdatasync` after each write.
    pub sync: Option<DiskLatency>,
}

/// One direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskFlow {
    pub ios: u64,
    pub bytes: u64,
    pub iops: f64,
    pub bytes_per_second: f64,
    pub latency: DiskLatency,
}

/// Seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskLatency {
    pub count: u64,
    pub fastest: f64,
    pub average: f64,
    pub slowest: f64,
    /// The part of all, 0 to 1, and what it stays at or below.
    pub quantiles: Vec<(f64, f64)>,
}

impl DiskLatency {
    /// What the part `quantile` of all stays at or below, seconds; of those that are kept.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let found = self.quantiles.iter().find(|(q, _)| (q - quantile).abs() < 1e-9);
        found.map(|(_, seconds)| *seconds)
    }
}

/// What a device is, by what the kernel says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    Nvme,
    Ssd,
    Hdd,
    /// A disk of a virtual machine: what is behind it, the host knows.
    Virtual,
    /// Data are gone when the machine is.
    Memory,
    /// Another machine's.
    Network,
    #[default]
    Unknown,
}

impl DiskKind {
    pub const ALL: [Self; 7] =
        [Self::Nvme, Self::Ssd, Self::Hdd, Self::Virtual, Self::Memory, Self::Network, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Ssd => "ssd",
            Self::Hdd => "hdd",
            Self::Virtual => "virtual",
            Self::Memory => "memory",
            Self::Network => "network",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The file system of a directory, and the device below it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskDevice {
    /// As the kernel calls it: `nvme0n1p1`; empty where there is none, as below tmpfs.
    pub name: String,
    /// The disks below it, without partitions and mappings: `nvme0n1`.
    pub disks: Vec<String>,
    pub kind: DiskKind,
    pub model: Option<String>,
    pub is_rotational: Option<bool>,
    /// The I/O scheduler in use.
    pub scheduler: Option<String>,
    /// `write back`, `write through`.
    pub write_cache: Option<String>,
    /// What lies between the file system and the disks: `crypt`, `lvm`, `raid1`.
    pub mappings: Vec<String>,
    pub filesystem: String,
    pub mount_point: String,
    pub mount_options: Vec<String>,
    pub size_bytes: u64,
    pub free_bytes: u64,
    /// Other file systems on the same disks, by where they are mounted.
    pub also_mounted: Vec<String>,
}

/// What a device did for some seconds, and who.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskPattern {
    pub seconds: f64,
    pub reads_per_second: f64,
    pub writes_per_second: f64,
    pub read_bytes_per_second: f64,
    pub written_bytes_per_second: f64,
    /// Of a request, bytes; absent without any.
    pub read_size: Option<f64>,
    pub write_size: Option<f64>,
    /// Of a request, seconds, with the time in the queue.
    pub read_wait: Option<f64>,
    pub write_wait: Option<f64>,
    /// Requests under way, on average.
    pub queue_depth: f64,
    /// The part of the time with any under way, 0 to 1.
    pub busy: f64,
    /// Requests to make data durable; absent where the kernel does not count them.
    pub flushes_per_second: Option<f64>,
    /// By etcd's own counters: WAL fsyncs, and commits of its database; absent without an etcd here.
    pub etcd_fsyncs_per_second: Option<f64>,
    pub etcd_commits_per_second: Option<f64>,
    /// What of the writes is etcd's own, bytes per second; absent without one.
    pub etcd_written_bytes_per_second: Option<f64>,
    /// Who else on this machine writes to disks, the most first: name with process id, bytes per second.
    pub writers: Vec<(String, f64)>,
}

/// One test of a check, as the table keeps it: what history and pages read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskRow {
    pub host: String,
    pub id: String,
    pub test: String,
    /// When the check began, ms since the epoch.
    pub ts_ms: i64,
    pub cluster: Option<ClusterName>,
    pub instance: Option<Instance>,
    pub directory: String,
    pub device: String,
    pub kind: DiskKind,
    pub filesystem: String,
    /// Of the whole check.
    pub verdict: DiskVerdict,
    /// Of making data durable, seconds.
    pub sync_p50: Option<f64>,
    pub sync_p95: Option<f64>,
    pub sync_p99: Option<f64>,
    pub sync_p999: Option<f64>,
    pub read_iops: Option<f64>,
    pub read_bytes_per_second: Option<f64>,
    pub read_p99: Option<f64>,
    pub write_iops: Option<f64>,
    pub write_bytes_per_second: Option<f64>,
    pub write_p99: Option<f64>,
}

impl DiskRun {
    /// The rows of the table.
    pub fn rows(&self) -> Vec<DiskRow> {
        let row = |test: &DiskTest| {
            let sync = |quantile| test.sync.as_ref().and_then(|sync| sync.quantile(quantile));
            let p99 = |flow: &Option<DiskFlow>| flow.as_ref().and_then(|flow| flow.latency.quantile(0.99));
            DiskRow {
                host: self.host.clone(),
                id: self.id.clone(),
                test: test.name.clone(),
                ts_ms: self.started_ms,
                cluster: self.cluster.clone(),
                instance: self.instance.clone(),
                directory: self.directory.clone(),
                device: self.device.name.clone(),
                kind: self.device.kind,
                filesystem: self.device.filesystem.clone(),
                verdict: self.verdict,
                sync_p50: sync(0.5),
                sync_p95: sync(0.95),
                sync_p99: sync(0.99),
                sync_p999: sync(0.999),
                read_iops: test.read.as_ref().map(|flow| flow.iops),
                read_bytes_per_second: test.read.as_ref().map(|flow| flow.bytes_per_second),
                read_p99: p99(&test.read),
                write_iops: test.write.as_ref().map(|flow| flow.iops),
                write_bytes_per_second: test.write.as_ref().map(|flow| flow.bytes_per_second),
                write_p99: p99(&test.write),
            }
        };
        self.tests.iter().map(row).collect()
    }
}

/// What is known of one directory of one machine: the newest check, and those before it.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskStanding {
    pub newest: DiskRun,
    /// Oldest first: when, the fsync p99 in seconds, the verdict.
    pub history: Vec<(i64, Option<f64>, DiskVerdict)>,
}
