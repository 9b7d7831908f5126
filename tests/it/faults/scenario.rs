//! What a scenario file says: which cluster, what is done to it when, and what must be heard of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use etcd_monitor::model::EventKind;
use etcd_monitor::model::unit::{ByteSize, ConfigDuration};
use serde::Deserialize;

/// One file of `tests/faults/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without its ending.
    #[serde(skip)]
    pub name: String,
    /// What goes wrong, for people.
    pub title: String,
    #[serde(default)]
    pub cluster: Cluster,
    /// From the first reading to the last.
    pub lasts: ConfigDuration,
    /// How often members are inspected, each time with their hashes; not at all by default.
    pub inspect: Option<ConfigDuration>,
    #[serde(default)]
    pub step: Vec<Step>,
    /// What people must hear of.
    #[serde(default)]
    pub expect: Vec<Expectation>,
    /// Consequences that may be told beside, and need not: alerts by name.
    #[serde(default)]
    pub may: Vec<String>,
    /// True news of severity `info` that may be told beside.
    #[serde(default)]
    pub news: Vec<String>,
    /// Kinds of events that must be stored.
    #[serde(default)]
    pub events: Vec<String>,
    /// What advice says first of what it did not say before the fault; nothing new where there is none.
    #[serde(default)]
    pub advise: Vec<Advised>,
    /// `make test` runs it on a real cluster, too.
    #[serde(default)]
    pub live: bool,
}

/// A rule of advice, and from the first reading on when it has to come first.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Advised {
    pub at: ConfigDuration,
    pub first: String,
}

/// How the cluster is made.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Cluster {
    /// One of each member.
    pub versions: Vec<String>,
    /// A network namespace for each member, with links that can be cut.
    pub hosts: bool,
    /// Peers reach each member through a proxy that can delay.
    pub links: bool,
    /// Client and peer ports with certificates of both sides.
    pub tls: bool,
    /// Users and roles; the monitor logs in as `monitor`, who has the role `root`.
    pub auth: bool,
    pub quota: Option<ByteSize>,
    /// Writes are synced.
    pub synced: bool,
    /// The monitor scrapes a metrics port of its own, through a proxy that can be closed.
    pub metrics_port: bool,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            versions: vec!["3.5.30".to_owned(); 3],
            hosts: false,
            links: false,
            tls: false,
            auth: false,
            quota: None,
            synced: false,
            metrics_port: false,
        }
    }
}

/// Something is done to the cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// After the first reading.
    pub at: ConfigDuration,
    #[serde(flatten)]
    pub action: Action,
}

/// What can be done. A member is named by what it is at that moment, or `it` for the one that the step before named.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// SIGKILL.
    Kill {
        member: Whom,
    },
    /// SIGTERM, and up again at once.
    Restart {
        member: Whom,
    },
    /// Up again after a kill.
    Start {
        member: Whom,
    },
    /// SIGSTOP.
    Pause {
        member: Whom,
    },
    /// SIGCONT.
    Resume {
        member: Whom,
    },
    /// No packet passes between it and the others, both ways.
    Isolate {
        member: Whom,
    },
    /// It does not hear the leader any more, who hears it.
    Deafen {
        member: Whom,
    },
    /// Of the packets that reach it, these are lost.
    Drop {
        member: Whom,
        percent: u8,
    },
    /// All links are whole again.
    Heal,
    /// Each piece of what peers send it comes this much later.
    Delay {
        member: Whom,
        by: ConfigDuration,
    },
    /// Every fdatasync takes this much longer.
    SlowDisk {
        member: Whom,
        by: ConfigDuration,
    },
    /// Disks are fast again.
    FastDisk,
    /// Writes values until the database has so many hundredths of its quota, or refuses them.
    Fill {
        to: Option<u64>,
    },
    /// Compacts, defragments all members and takes the alarm away.
    MakeRoom,
    /// Plants an alarm.
    Alarm {
        kind: String,
        member: Whom,
    },
    /// Takes all alarms away.
    Disarm,
    /// Changes a value in the member's database while it is down.
    Corrupt {
        member: Whom,
    },
    Defragment {
        member: Whom,
    },
    /// A learner joins.
    Join,
    /// The one that joined becomes a voter.
    Promote,
    /// The member is removed, and another one joins in its place.
    Replace {
        member: Whom,
    },
    /// Leadership is moved twice within a second.
    PingPong,
    /// Servers show a certificate that has expired.
    ExpireCertificates,
    /// Servers show new certificates of the same CA.
    RotateCertificates,
    /// The monitor's user loses its role.
    Revoke,
    /// The monitor's user has its role again.
    Grant,
    /// Nobody answers at the member's metrics port.
    CloseMetrics {
        member: Whom,
    },
    OpenMetrics,
    /// What the member's metrics port answers is dated so much later, as on a machine whose clock is ahead.
    AdvanceClock {
        member: Whom,
        by: ConfigDuration,
    },
}

/// A member, as it is at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    Leader,
    /// The first that is none and runs.
    Follower,
    /// The one that the step before named.
    It,
    First,
    Second,
    Third,
}

/// People must hear of this, within that time.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expectation {
    pub alert: String,
    pub severity: String,
    /// From the step that causes it until a channel has it.
    pub within: ConfigDuration,
    /// Which step causes it, from 1; 0 for what is so from the start.
    #[serde(default = "first")]
    pub step: usize,
    /// Its end must be told before the scenario ends.
    #[serde(default)]
    pub resolves: bool,
}

fn first() -> usize {
    1
}

/// Where the scenarios are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")
}

/// All scenarios, in the order of their names.
pub fn all() -> Vec<Scenario> {
    let files = std::fs::read_dir(folder()).expect("tests/faults");
    let files = files.map(|file| file.expect("readable").path());
    let names: BTreeSet<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    names.iter().map(|path| load(path)).collect()
}

fn load(path: &Path) -> Scenario {
    let text = std::fs::read_to_string(path).expect("readable");
    let mut scenario: Scenario =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    scenario.name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    for kind in &scenario.events {
        assert!(EventKind::parse(kind).is_some(), "{}: no event is called {kind:?}", scenario.name);
    }
    for expected in &scenario.expect {
        assert!(expected.step <= scenario.step.len(), "{}: no such step", scenario.name);
    }
    scenario
}
