//! What rules measure beside PromQL: facts of members, flags, machines, disks, backups and benchmarks, each with a value,
//! a sentence and what shows it.

mod backups;
mod machines;
mod members;
mod settings;

use std::collections::BTreeMap;

use crate::model::{
    BackupState, BenchStanding, Check, ClusterName, DiskDevice, DiskStanding, Instance, ReadingRow,
};

/// One thing that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What rules call it: `setting.snapshot-count`.
    pub key: String,
    /// A member's instance, the cluster's name, or what else it is about.
    pub subject: String,
    pub number: Option<f64>,
    /// What it is, for rules that compare words.
    pub word: String,
    /// In one sentence, with figures.
    pub said: String,
    /// The command that shows it.
    pub shown_by: String,
    /// What `{suggested}` stands for in the rule's commands.
    pub suggested: String,
}

/// What is known of a cluster beside its series.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    /// The newest reading.
    pub rows: &'a [ReadingRow],
    /// The member list.
    pub listed: Vec<Listed>,
    /// The flags of members on machines of monitors, by the flag's name.
    pub settings: BTreeMap<Instance, BTreeMap<String, String>>,
    /// The members on this machine.
    pub locals: &'a [LocalMember],
    pub disks: &'a [DiskStanding],
    pub benches: &'a [BenchStanding],
    pub backups: Option<&'a BackupState>,
    /// Whether the job makes backups of it; `None` where the configuration is not known.
    pub is_backed_up: Option<bool>,
    /// How many channels there are; `None` where the configuration is not known.
    pub channels: Option<usize>,
}

/// A member of the member list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
}

/// A member on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalMember {
    pub instance: Instance,
    /// As etcd calls it.
    pub directory: String,
    /// Of processors, memory, kernel and control group.
    pub machine: Vec<Check>,
    pub device: DiskDevice,
    /// Of the device.
    pub disk: Vec<Check>,
}

/// What queries of rules gave, by the rule's id: subject and value.
pub(super) type Asked = BTreeMap<&'static str, Vec<(String, f64)>>;

/// What facts are made from.
pub(super) struct Known<'a> {
    pub cluster: &'a ClusterName,
    pub now_ms: i64,
    pub sources: &'a Sources<'a>,
    pub asked: &'a Asked,
}

impl Known<'_> {
    /// The version of a member, as numbers.
    fn version_of(&self, instance: &Instance) -> Option<(u64, u64, u64)> {
        let row = self.sources.rows.iter().find(|row| row.instance == *instance)?;
        members::version(row.version.as_deref()?)
    }

    /// What a rule's query gave for a member.
    fn asked_of(&self, rule: &str, instance: &Instance) -> Option<f64> {
        let (_, value) = self.asked.get(rule)?.iter().find(|(subject, _)| subject == instance.as_str())?;
        value.is_finite().then_some(*value)
    }
}

/// All facts of `cluster`; `asked` is what the rules' queries gave.
pub(super) fn all(known: &Known<'_>) -> Vec<Fact> {
    let mut facts = members::facts(known);
    facts.extend(settings::facts(known));
    facts.extend(machines::facts(known));
    facts.extend(backups::facts(known));
    facts
}

impl Fact {
    /// A number.
    fn number(key: &str, subject: &str, number: f64, said: String, shown_by: &str) -> Self {
        Self { number: Some(number), ..Self::word(key, subject, "", said, shown_by) }
    }

    /// A word.
    fn word(key: &str, subject: &str, word: &str, said: String, shown_by: &str) -> Self {
        let [key, subject, word, shown_by] = [key, subject, word, shown_by].map(str::to_owned);
        Self { key, subject, number: None, word, said, shown_by, suggested: String::new() }
    }

    fn suggest(self, suggested: impl Into<String>) -> Self {
        Self { suggested: suggested.into(), ..self }
    }
}

/// The keys of all facts that there may be.
pub fn keys() -> &'static [&'static str] {
    &[
        "cluster.voters",
        "cluster.voters-even",
        "cluster.members-per-host",
        "alarm.nospace",
        "alarm.corrupt",
        "version.different",
        "version.corrupts",
        "version.maintained",
        "version.patches-behind",
        "version.below-upgrade-floor",
        "version.gone-flags",
        "url.client-plain",
        "url.peer-plain",
        "timing.heartbeat-over-round-trip",
        "timing.election-over-round-trip",
        "timing.election-seconds-near",
        "timing.differs",
        "compaction.automatic",
        "setting.snapshot-count",
        "setting.kept-files",
        "setting.max-request-bytes",
        "setting.unsafe-no-fsync",
        "setting.force-new-cluster",
        "setting.enable-pprof",
        "setting.log-level",
        "setting.strict-reconfig-check",
        "setting.initial-corrupt-check",
        "setting.client-cert-auth",
        "setting.auto-tls",
        "host.processors",
        "host.cpu-governor",
        "host.memory",
        "host.swap",
        "host.huge-pages",
        "host.listen-backlog",
        "host.clock",
        "host.resource-limits",
        "host.cpu-throttled",
        "disk.kind",
        "disk.spinning",
        "disk.verdict",
        "disk.measured",
        "disk.fsync-tail",
        "disk.iops",
        "disk.bandwidth",
        "disk.filesystem",
        "disk.barriers",
        "disk.scheduler",
        "disk.dedicated-disk",
        "disk.other-writers",
        "backup.count",
        "backup.age",
        "backup.standing",
        "backup.restored",
        "backup.places",
        "backup.encrypted",
        "bench.verdict",
        "monitor.channels",
    ]
}
