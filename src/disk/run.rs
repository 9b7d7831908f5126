//! One check: what may be measured, measuring it, and judging.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pattern::Counted;
use super::{
    DiskError, Job, Machine, Neighbour, ProbeOptions, Snapshot, device, fio, neighbours, pattern, probe,
    scratch, verdict,
};
use crate::model::unit::human_bytes;
use crate::model::{ClusterName, DISK_FORMAT, DiskPattern, DiskRun, DiskTest, Instance, Reading};
use crate::probe::{Parts, Prober};

/// How long the probe of a disk that nobody else uses may take.
const PROBE_LONGEST: Duration = Duration::from_secs(20);
/// And of one that an etcd uses.
const GENTLE_LONGEST: Duration = Duration::from_secs(100);
/// This much stays free, whatever is measured.
const SPARE_BYTES: u64 = 256 << 20;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    pub directory: PathBuf,
    /// What it is called: a folder of a container is seen elsewhere than etcd names it.
    pub named: String,
    /// The size of each of fio's files, in place of the job's own.
    pub size: Option<u64>,
    /// Whether fio runs, where it is installed.
    pub with_fio: bool,
    /// Whether what a running etcd would feel is measured all the same.
    pub yes: bool,
    /// How long the device is looked at before; not at all when zero.
    pub look: Duration,
    pub probe: ProbeOptions,
    /// The most appends in a second beside a running etcd.
    pub gentle_rate: f64,
    pub gentle_appends: u64,
}

/// The member that keeps its data there, and how to ask its cluster.
pub struct LocalMember {
    pub cluster: ClusterName,
    pub instance: Instance,
    pub prober: Prober,
    /// Whether the directory is its own, not only on the same disk.
    pub is_here: bool,
}

/// An order with what it needs.
pub struct Assignment<'a> {
    pub order: &'a Order,
    pub machine: &'a Machine,
    pub id: &'a str,
    pub host: &'a str,
    /// Finds out which configured member a running etcd is.
    pub member: &'a (dyn Fn(&Neighbour) -> Option<LocalMember> + Send + Sync),
    pub now_ms: &'a (dyn Fn() -> i64 + Send + Sync),
    pub dial: Arc<Dial>,
}

/// How far a check is, and how to stop it.
#[derive(Debug, Default)]
pub struct Dial {
    stage: Mutex<Stage>,
    pub stop: CancellationToken,
}

/// What a check is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Looking,
    /// So many of so many appends.
    Probing { done: u64, of: u64 },
    /// This job of fio runs.
    Fio(&'static str),
}

impl Dial {
    /// One that is stopped by `stop`.
    pub fn stopped_by(stop: &CancellationToken) -> Self {
        Self { stop: stop.clone(), ..Self::default() }
    }

    pub fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    pub(super) fn advance(&self, done: u64, of: u64) {
        // Fifty writes are a moment; the lock is not what is measured.
        if done.is_multiple_of(50) {
            self.set(Stage::Probing { done, of });
        }
    }
}

/// Checks a disk.
///
/// # Errors
/// [`DiskError`]: what cannot be measured, or must not. fio's failures are notes of the result.
pub async fn run(assignment: &Assignment<'_>) -> Result<DiskRun, DiskError> {
    let order = assignment.order;
    let started_ms = (assignment.now_ms)();
    let device = device::device_of(assignment.machine, &order.directory)?;
    let live = neighbours(assignment.machine, &order.directory);
    let members: Vec<LocalMember> =
        live.iter().filter_map(|neighbour| (assignment.member)(neighbour)).collect();
    let mut notes = Vec::new();
    permitted(order, &live, &members, &mut notes).await?;
    let scratch = scratch::Scratch::new(&order.directory)?;
    let pattern =
        look(assignment, &device.disks, &live, members.iter().max_by_key(|member| member.is_here)).await;
    let mut tests = vec![probed(assignment, !live.is_empty()).await?];
    if order.with_fio && (live.is_empty() || order.yes) {
        room(order, device.free_bytes)?;
        fio_tests(assignment, scratch.path(), &mut tests, &mut notes).await?;
    } else if order.with_fio {
        notes.push(
            "fio's jobs were left out: an etcd runs on this disk, and would feel them; --yes runs them"
                .to_owned(),
        );
    }
    scratch.remove()?;
    let (verdict, fsync_p99, findings) = verdict::judge(&tests, &device, pattern.as_ref());
    // On a disk of several the figures are nobody's own.
    let mut owners = members.into_iter().filter(|member| member.is_here);
    let member = owners.next().filter(|_| owners.next().is_none());
    Ok(DiskRun {
        format: DISK_FORMAT,
        id: assignment.id.to_owned(),
        host: assignment.host.to_owned(),
        directory: order.named.clone(),
        cluster: member.as_ref().map(|member| member.cluster.clone()),
        instance: member.map(|member| member.instance),
        started_ms,
        finished_ms: (assignment.now_ms)(),
        tests,
        device,
        pattern,
        verdict,
        fsync_p99,
        findings,
        notes,
    })
}

/// Whether the running etcds can bear it: those of a cluster with no member to lose must not be slowed down.
async fn permitted(
    order: &Order,
    live: &[Neighbour],
    members: &[LocalMember],
    notes: &mut Vec<String>,
) -> Result<(), DiskError> {
    for neighbour in live {
        let pid = neighbour.process.pid;
        let instances = neighbour.process.instances();
        let member = members.iter().find(|member| instances.contains(&member.instance));
        let Some(member) = member else {
            let why = format!(
                "an etcd that no configuration has runs on this disk (process {pid}), so nobody can say whether its cluster can bear a slow member"
            );
            if !order.yes {
                return Err(DiskError::Unfit(format!(
                    "{why}; name its cluster with --endpoints or in the configuration, or add --yes"
                )));
            }
            notes.push(why);
            continue;
        };
        let reading = member.prober.read(0, Parts { scrape: false, health: false, ..Parts::ALL }).await;
        match margin(&reading) {
            Some(margin) if margin > 0 => {}
            // One member alone never has a margin; whoever has such a cluster may ask.
            Some(_) if order.yes && reading.voters() == (1, 1) => {
                notes.push(format!(
                    "{} has one member: what it waits for, all its clients do",
                    member.cluster
                ));
            }
            Some(_) if reading.voters() == (1, 1) => {
                let cluster = &member.cluster;
                return Err(DiskError::Unfit(format!(
                    "cluster {cluster} has one member: all its clients would feel it; add --yes"
                )));
            }
            _ => {
                let (up, all) = reading.voters();
                return Err(DiskError::Unfit(format!(
                    "{up} of {all} voting members of cluster {} answer: it has no member to lose, so no disk of its members is measured",
                    member.cluster
                )));
            }
        }
    }
    Ok(())
}

/// How many members more may fail; nothing without a quorum.
fn margin(reading: &Reading) -> Option<usize> {
    let (up, all) = reading.voters();
    reading.leader()?;
    up.checked_sub(all / 2 + 1)
}

async fn look(
    assignment: &Assignment<'_>,
    disks: &[String],
    live: &[Neighbour],
    member: Option<&LocalMember>,
) -> Option<DiskPattern> {
    let order = assignment.order;
    if order.look.is_zero() || disks.is_empty() {
        return None;
    }
    let counted = async |at_ms| match member {
        Some(member) => Some(Counted::of(&member.prober.read(at_ms, Parts::ALL).await, &member.instance)),
        None => None,
    };
    let etcd_before = counted((assignment.now_ms)()).await;
    let before = snapshot(assignment.machine).await?;
    tokio::select! {
        () = tokio::time::sleep(order.look) => {}
        () = assignment.dial.stop.cancelled() => return None,
    }
    let after = snapshot(assignment.machine).await?;
    let etcd_after = counted((assignment.now_ms)()).await;
    let pids: Vec<u32> = live.iter().map(|neighbour| neighbour.process.pid).collect();
    pattern::pattern(&before, &after, disks, &pids, etcd_before.zip(etcd_after))
}

async fn snapshot(machine: &Machine) -> Option<Snapshot> {
    let machine = machine.clone();
    tokio::task::spawn_blocking(move || pattern::snapshot(&machine)).await.ok()
}

async fn probed(assignment: &Assignment<'_>, is_live: bool) -> Result<DiskTest, DiskError> {
    let order = assignment.order;
    let options = if is_live {
        let rate = Some(order.gentle_rate.min(order.probe.rate.unwrap_or(f64::INFINITY)));
        ProbeOptions { appends: order.gentle_appends.min(order.probe.appends), rate, longest: GENTLE_LONGEST }
    } else {
        ProbeOptions { longest: PROBE_LONGEST.min(order.probe.longest), ..order.probe }
    };
    let (directory, dial) = (order.directory.clone(), Arc::clone(&assignment.dial));
    let made = tokio::task::spawn_blocking(move || probe(&directory, options, &dial)).await;
    let test = made.map_err(|error| DiskError::Unfit(format!("the probe ended: {error}")))??;
    if assignment.dial.stop.is_cancelled() {
        return Err(DiskError::Stopped);
    }
    // Where it was seen through another process's root, nobody sees it again.
    let command = format!("etcd-monitor disk check --no-fio --directory={}", order.named);
    Ok(DiskTest { command, ..test })
}

/// Whether fio's largest file fits.
fn room(order: &Order, free: u64) -> Result<(), DiskError> {
    let needed: u64 = Job::ALL.iter().map(|job| job.bytes(order.size)).max().unwrap_or(0) + SPARE_BYTES;
    if free >= needed {
        return Ok(());
    }
    let [free, needed] = [free, needed].map(|bytes| human_bytes(bytes as f64));
    Err(DiskError::NoSpace { directory: order.directory.clone(), free, needed })
}

async fn fio_tests(
    assignment: &Assignment<'_>,
    scratch: &Path,
    tests: &mut Vec<DiskTest>,
    notes: &mut Vec<String>,
) -> Result<(), DiskError> {
    let order = assignment.order;
    if fio::version().await.is_none() {
        notes
            .push("fio's jobs were left out: it is not installed; on Debian: apt-get install fio".to_owned());
        return Ok(());
    }
    for job in Job::ALL {
        assignment.dial.set(Stage::Fio(job.name()));
        match fio::run(job, Path::new(&order.named), scratch, order.size, &assignment.dial).await {
            Ok(test) => tests.push(test),
            Err(DiskError::Stopped) => return Err(DiskError::Stopped),
            Err(error) => notes.push(error.to_string()),
        }
        // One file at a time: the largest is a gibibyte.
        for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(job.name()) {
                std::fs::remove_file(entry.path()).ok();
            }
        }
    }
    Ok(())
}
