//! Disk checks as jobs and commands make them: which members run here, whose turn it is, and the result in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{ClusterSetup, Config};
use crate::discover::process::{EtcdProcess, etcd_processes};
use crate::disk::{self, Assignment, Dial, DiskError, LocalMember, Machine, Neighbour, Order, ProbeOptions};
use crate::model::{
    DiskRow, DiskRun, DiskVerdict, Event, EventKind, Instance, Labels, METRIC_NAME, Severity,
};
use crate::probe::Parts;
use crate::store::disk_runs::{self, Taken, Turn};
use crate::store::{Store, StoreError, events, key};

use super::clock::Clock;
use super::{new_writer, process};

/// A check takes two minutes at most; a turn that nobody gave back ends a minute later.
const TURN_MS: i64 = 180_000;

/// What the job asks for, of a folder that a running etcd uses.
pub fn scheduled(config: &Config, directory: PathBuf, named: String) -> Order {
    Order {
        directory,
        named,
        size: None,
        with_fio: false,
        yes: false,
        look: Duration::from_secs(5),
        probe: probe_options(),
        gentle_rate: config.disk.rate,
        gentle_appends: config.disk.appends,
    }
}

/// As many appends as fio's job makes, as fast as the disk takes them.
pub fn probe_options() -> ProbeOptions {
    ProbeOptions { appends: disk::APPENDS, rate: None, longest: Duration::from_secs(20) }
}

/// The members of `clusters` as they say themselves where clients reach them.
pub struct Known(Vec<(ClusterSetup, Vec<Instance>)>);

impl Known {
    /// Asks each cluster for its members.
    pub async fn ask(config: &Config, clusters: &[ClusterSetup], clock: &Clock) -> Self {
        let parts = Parts { quorum_read: false, scrape: false, alarms: false, health: false, ..Parts::ALL };
        let looks = clusters.iter().map(async |cluster| {
            let prober = cluster.prober(&config.scrape, &Arc::default()).ok()?;
            let reading = prober.read(clock.now_ms(), parts).await;
            let of_list = reading.members.iter().flat_map(|member| &member.client_urls);
            let of_list = of_list.filter_map(|url| Instance::of_endpoint(url).ok());
            let own = reading.members.iter().map(|member| member.instance.clone());
            Some((cluster.clone(), own.chain(of_list).collect::<Vec<_>>()))
        });
        Self(futures::future::join_all(looks).await.into_iter().flatten().collect())
    }

    /// The cluster that a process belongs to, and what the member is called there.
    pub fn owner(&self, process: &EtcdProcess) -> Option<(&ClusterSetup, Instance)> {
        let instances = process.instances();
        self.0.iter().find_map(|(cluster, known)| {
            let instance = known.iter().find(|instance| instances.contains(instance))?;
            Some((cluster, instance.clone()))
        })
    }

    fn member(&self, config: &Config, neighbour: &Neighbour) -> Option<LocalMember> {
        let (cluster, instance) = self.owner(&neighbour.process)?;
        let prober = cluster.prober(&config.scrape, &Arc::default()).ok()?;
        Some(LocalMember {
            cluster: cluster.config.name.clone(),
            instance,
            prober,
            is_here: neighbour.is_here,
        })
    }
}

/// A folder of a member that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its cluster's name; absent where no configuration knows it.
    pub cluster: Option<String>,
    /// What is kept there: `data`, `wal`.
    pub what: &'static str,
    /// Where it is seen, and what etcd calls it.
    pub seen: PathBuf,
    pub named: String,
}

/// The folders that a write of each etcd of this machine waits for: that of its write-ahead log.
pub fn folders(known: &Known) -> Vec<Folder> {
    let proc = Path::new("/proc");
    let mut found = Vec::new();
    for process in etcd_processes(proc) {
        let cluster = known.owner(&process).map(|(cluster, _)| cluster.config.name.to_string());
        let setting = |flag: &str| process.settings.get(flag).filter(|value| !value.is_empty()).cloned();
        for (what, seen) in process.folders(proc) {
            let named = match what {
                "wal" => setting("wal-dir"),
                _ => setting("data-dir"),
            };
            let named = named.unwrap_or_else(|| seen.display().to_string());
            found.push(Folder { cluster: cluster.clone(), what, seen, named });
        }
    }
    found
}

/// The machine's name.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Checks a disk; nothing is kept.
///
/// # Errors
/// [`DiskError`].
pub async fn make(
    config: &Config,
    known: &Known,
    order: &Order,
    clock: &Clock,
    dial: Arc<Dial>,
) -> Result<DiskRun, DiskError> {
    let id = key::run_id(clock.now_ms(), ulid::Ulid::generate().0);
    let now_ms = || clock.now_ms();
    let member = |neighbour: &Neighbour| known.member(config, neighbour);
    let assignment = Assignment {
        order,
        machine: &Machine::default(),
        id: &id,
        host: &host(),
        member: &member,
        now_ms: &now_ms,
        dial,
    };
    disk::run(&assignment).await
}

/// Takes the turn of every cluster that has an etcd on the disks of `directory`: one of a cluster's disks is measured at a
/// time, from whichever machine. Who has one of them, while somebody has.
///
/// # Errors
/// When the store cannot be written.
pub async fn take_turns(
    store: &Store,
    known: &Known,
    directory: &Path,
    clock: &Clock,
) -> anyhow::Result<Result<Vec<Taken>, Turn>> {
    let live = disk::neighbours(&Machine::default(), directory);
    let owners = live.iter().filter_map(|neighbour| known.owner(&neighbour.process));
    // In one order, so that two who need the same turns do not hold one each.
    let clusters: BTreeSet<&str> = owners.map(|(cluster, _)| cluster.config.name.as_str()).collect();
    let writer = new_writer(clock)?;
    let mut taken = Vec::new();
    for cluster in clusters {
        let now_ms = clock.now_ms();
        let turn =
            Turn { host: host(), process: process::name(), until_ms: now_ms + TURN_MS, is_over: false };
        match disk_runs::take_turn(store, &writer, cluster, turn, now_ms, &process::is_gone).await? {
            Ok(one) => taken.push(one),
            Err(turn) => {
                give_back(store, taken, clock).await?;
                return Ok(Err(turn));
            }
        }
    }
    Ok(Ok(taken))
}

/// Gives turns back.
///
/// # Errors
/// When the store cannot be written; the turns end by themselves then.
pub async fn give_back(store: &Store, taken: Vec<Taken>, clock: &Clock) -> anyhow::Result<()> {
    let writer = new_writer(clock)?;
    for one in taken {
        disk_runs::give_back(store, &writer, one).await?;
    }
    Ok(())
}

/// Writes a result and, where it is of a member, its event.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn keep(store: &Store, run: &DiskRun, clock: &Clock) -> anyhow::Result<()> {
    let writer = new_writer(clock)?;
    let before = history(store, clock.now_ms()).await?.remove(&place(&run.host, &run.directory));
    let before = before.and_then(|rows| rows.last().map(|row| row.verdict));
    disk_runs::keep(store, &writer, clock.now_ms(), run).await?;
    if let Some(event) = told(run, before) {
        events::write(store, &writer, clock.now_ms(), &[event]).await?;
    }
    Ok(())
}

/// The event of a check of a member's disk; `before` is what the check before it said.
fn told(run: &DiskRun, before: Option<DiskVerdict>) -> Option<Event> {
    let cluster = run.cluster.clone()?;
    let subject = run.instance.as_ref().map_or_else(|| run.host.clone(), ToString::to_string);
    let changed = before.filter(|before| *before != run.verdict);
    let was = changed.map_or(String::new(), |before| format!("; it was {}", disk::text::words(before)));
    let severity = match (changed, run.verdict) {
        (None, _) | (_, DiskVerdict::ProductionReady | DiskVerdict::Unknown) => Severity::Info,
        (_, DiskVerdict::Warning) => Severity::Warning,
        (_, DiskVerdict::Critical) => Severity::Critical,
    };
    Some(Event {
        id: Event::id_of(&cluster, EventKind::DiskChecked, &subject, &run.id),
        cluster,
        ts_ms: run.finished_ms,
        kind: EventKind::DiskChecked,
        severity,
        subject,
        actor: None,
        text: format!("disk checked: {}{was}", disk::text::sentence(run)),
        details: serde_json::json!({
            "id": run.id, "host": run.host, "directory": run.directory, "verdict": run.verdict,
            "before": before, "fsync_p99_seconds": run.fsync_p99,
        }),
    })
}

/// How far back checks are looked at.
const HISTORY_MS: i64 = 400 * 86_400_000;

/// A directory of a machine.
pub type Place = (String, String);

fn place(host: &str, directory: &str) -> Place {
    (host.to_owned(), directory.to_owned())
}

/// The tests of all checks, by place, oldest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn history(store: &Store, now_ms: i64) -> Result<BTreeMap<Place, Vec<DiskRow>>, StoreError> {
    let rows = disk_runs::range(store, now_ms - HISTORY_MS, now_ms + 60_000).await?;
    let mut places: BTreeMap<Place, Vec<DiskRow>> = BTreeMap::new();
    for row in rows {
        places.entry(place(&row.host, &row.directory)).or_default().push(row);
    }
    Ok(places)
}

/// The series that rules read of a check of a member's disk; `what` is kept there.
pub fn series(run: &DiskRun, what: &str) -> Vec<(Labels, f64)> {
    let (Some(cluster), Some(instance)) = (&run.cluster, &run.instance) else { return Vec::new() };
    let labels = |name: &str, more: &[(&str, &str)]| {
        let own = [
            (METRIC_NAME, name),
            ("cluster", cluster.as_str()),
            ("instance", instance.as_str()),
            ("directory", what),
        ];
        Labels::from_pairs(own.into_iter().chain(more.iter().copied()))
    };
    let mut series = Vec::new();
    let sync = run.tests.iter().find(|test| test.name == disk::PROBE).and_then(|test| test.sync.as_ref());
    for (text, quantile) in [("0.5", 0.5), ("0.99", 0.99), ("0.999", 0.999)] {
        if let Some(value) = sync.and_then(|sync| sync.quantile(quantile)) {
            series.push((labels("etcd_monitor_disk_fsync_seconds", &[("quantile", text)]), value));
        }
    }
    let verdict = match run.verdict {
        DiskVerdict::ProductionReady => 0.0,
        DiskVerdict::Warning => 1.0,
        DiskVerdict::Critical => 2.0,
        // Nothing was found out: the last that was stays.
        DiskVerdict::Unknown => return series,
    };
    series.push((labels("etcd_monitor_disk_verdict", &[]), verdict));
    series
}
