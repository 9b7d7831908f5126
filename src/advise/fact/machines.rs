//! Facts of machines and their disks, and of benchmarks: what checks found, live or by the last run.

use super::{Fact, Known};
use crate::model::{Check, DiskDevice, DiskKind, DiskRun, Level};

/// What a check measured, and not only what the device is.
const MEASURED: [&str; 4] = ["fsync-tail", "iops", "bandwidth", "other-writers"];

const PREFLIGHT: &str = "etcd-monitor preflight --no-disk";

pub(super) fn facts(known: &Known<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    for local in known.sources.locals {
        let subject = local.instance.as_str();
        facts.extend(local.machine.iter().filter_map(|check| of_check("host", subject, check, PREFLIGHT)));
        let shown = format!("etcd-monitor disk check --no-fio --directory {}", local.directory);
        facts.extend(of_device(subject, &local.device, &local.disk, &shown));
        let of_it = |run: &&DiskRun| run.instance.as_ref() == Some(&local.instance);
        let measured = known.sources.disks.iter().map(|standing| &standing.newest).find(of_it);
        let (word, said) = match measured {
            Some(_) => ("measured", "the disk was measured".to_owned()),
            None => ("never", format!("nobody has measured the disk of {}", local.directory)),
        };
        let fact = Fact::word("disk.measured", subject, word, said, "etcd-monitor disk history");
        facts.push(fact.suggest(local.directory.clone()));
    }
    for run in known.sources.disks.iter().map(|standing| &standing.newest) {
        facts.extend(of_run(known, run));
    }
    for bench in known.sources.benches {
        let said = match bench.why.as_str() {
            "" => format!("{}: {}", bench.newest.operation, bench.verdict),
            why => format!("{}: {why}", bench.newest.operation),
        };
        let shown = format!("etcd-monitor bench history --cluster {}", known.cluster);
        facts.push(Fact::word("bench.verdict", known.cluster.as_str(), bench.verdict, said, &shown));
    }
    facts
}

/// What is unknown is no fact.
fn of_check(kind: &str, subject: &str, check: &Check, shown_by: &str) -> Option<Fact> {
    (check.level != Level::Unknown).then(|| {
        let key = format!("{kind}.{}", check.id);
        Fact::word(&key, subject, check.level.as_str(), check.found.clone(), shown_by)
            .suggest(check.advice.clone())
    })
}

fn of_device(subject: &str, device: &DiskDevice, checks: &[Check], shown_by: &str) -> Vec<Fact> {
    let disks = if device.disks.is_empty() { device.filesystem.clone() } else { device.disks.join(", ") };
    let said = match checks.iter().find(|check| check.id == "disk-kind") {
        Some(check) => check.found.clone(),
        None => format!("{disks} is {}", device.kind.as_str()),
    };
    let mut facts = vec![Fact::word("disk.kind", subject, device.kind.as_str(), said, shown_by)];
    // What is below a virtual disk only the host knows.
    let spins = match device.kind {
        DiskKind::Hdd => Some("yes"),
        DiskKind::Nvme | DiskKind::Ssd => Some("no"),
        DiskKind::Virtual | DiskKind::Memory | DiskKind::Network | DiskKind::Unknown => None,
    };
    let said = facts.first().map_or_else(String::new, |kind| kind.said.clone());
    facts.extend(spins.map(|word| Fact::word("disk.spinning", subject, word, said, shown_by)));
    let of_device = |check: &&Check| !MEASURED.contains(&check.id.as_str());
    facts.extend(
        checks.iter().filter(of_device).filter_map(|check| of_check("disk", subject, check, shown_by)),
    );
    // The check is there only where they are off.
    if !checks.iter().any(|check| check.id == "barriers") {
        let said = format!("{} is mounted with barriers", device.mount_point);
        facts.push(Fact::word("disk.barriers", subject, "pass", said, shown_by));
    }
    facts
}

fn of_run(known: &Known<'_>, run: &DiskRun) -> Vec<Fact> {
    let subject = run.instance.as_ref().map_or(run.host.as_str(), |instance| instance.as_str());
    let shown = format!("etcd-monitor disk show {}", run.id);
    let mut facts: Vec<Fact> = run
        .findings
        .iter()
        .filter(|check| MEASURED.contains(&check.id.as_str()))
        .filter_map(|check| of_check("disk", subject, check, &shown))
        .collect();
    if let Some(fsync) = run.findings.iter().find(|check| check.id == "fsync") {
        let said = format!("{}: {}", run.directory, fsync.found);
        let fact = Fact::word("disk.verdict", subject, run.verdict.as_str(), said, &shown);
        facts.push(fact.suggest(run.directory.clone()));
    }
    // What is seen now is newer than what was seen at the check.
    let is_local = known.sources.locals.iter().any(|local| run.instance.as_ref() == Some(&local.instance));
    if !is_local {
        facts.extend(of_device(subject, &run.device, &run.findings, &shown));
    }
    facts
}
