//! Running etcds that keep their data on the disks of a directory: who would feel it when those are measured.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::device::{Machine, disks_of};
use crate::discover::process::{EtcdProcess, etcd_processes};

/// An etcd on the same disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub process: EtcdProcess,
    /// What of it is there: `data`, `wal`.
    pub keeps: Vec<&'static str>,
    /// Whether the directory is where it does, or a folder above that.
    pub is_here: bool,
}

/// The running etcds whose data or write-ahead log lie on the disks of `directory`, or in its file system where that has
/// no disk.
pub fn neighbours(machine: &Machine, directory: &Path) -> Vec<Neighbour> {
    let disks = disks_of(machine, directory);
    let own = id(directory);
    let shares = |folder: &Path| {
        let is_same = own.zip(id(folder)).is_some_and(|(own, other)| own.0 == other.0);
        is_same || disks_of(machine, folder).iter().any(|disk| disks.contains(disk))
    };
    let is_below = |folder: &Path| own.is_some() && folder.ancestors().any(|above| id(above) == own);
    let processes = etcd_processes(&machine.proc).into_iter();
    let of_process = |process: EtcdProcess| {
        let folders = process.folders(&machine.proc);
        let keeps: Vec<&'static str> =
            folders.iter().filter(|(_, folder)| shares(folder)).map(|(what, _)| *what).collect();
        let is_here = folders.iter().any(|(_, folder)| is_below(folder));
        (!keeps.is_empty()).then_some(Neighbour { process, keeps, is_here })
    };
    processes.filter_map(of_process).collect()
}

/// What tells a file from all others, by whatever path it is seen.
fn id(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}
