//! Running etcds that keep their data on the disks of a directory: who would feel it when those are measured.

use std::io::{self, ErrorKind};
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
/// no disk. One whose folders must not be looked at counts as one of them: a wrong no would harm it.
pub fn neighbours(machine: &Machine, directory: &Path) -> Vec<Neighbour> {
    let disks = disks_of(machine, directory);
    let own = id(directory).ok();
    let shares = |folder: &Path| match id(folder) {
        Ok(other) => {
            let is_same = own.is_some_and(|own| own.0 == other.0);
            is_same || disks_of(machine, folder).iter().any(|disk| disks.contains(disk))
        }
        // Any other error: the process, or its folder, went meanwhile.
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    };
    let is_below = |folder: &Path| own.is_some() && folder.ancestors().any(|above| id(above).ok() == own);
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
fn id(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A process as the kernel shows it, whose root is ours.
    fn etcd(proc: &Path, pid: u32, data: &Path) {
        let folder = proc.join(pid.to_string());
        fs::create_dir_all(&folder).expect("made");
        symlink("/", folder.join("root")).expect("a link");
        fs::write(folder.join("cmdline"), format!("etcd\0--data-dir={}\0", data.display())).expect("written");
        fs::write(folder.join("environ"), "").expect("written");
        fs::write(folder.join("stat"), format!("{pid} (etcd) S 1 {}", "0 ".repeat(17) + "4711 0 0"))
            .expect("written");
    }

    #[test]
    fn an_etcd_on_the_same_file_system_is_a_neighbour_and_one_elsewhere_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (proc, data) = (folder.path().join("proc"), folder.path().join("data"));
        fs::create_dir_all(data.join("m1/member")).expect("made");
        fs::create_dir(folder.path().join("beside")).expect("made");
        etcd(&proc, 7, &data.join("m1"));
        etcd(&proc, 8, Path::new("/proc"));
        etcd(&proc, 9, &data.join("gone"));
        let machine = Machine { proc, sys: folder.path().join("sys") };
        let found = |directory: &Path| -> Vec<(u32, bool)> {
            let found = neighbours(&machine, directory).into_iter();
            found.map(|neighbour| (neighbour.process.pid, neighbour.is_here)).collect()
        };
        assert_eq!(found(&data.join("m1")), [(7, true)]);
        assert_eq!(found(&data), [(7, true)], "a folder above it");
        assert_eq!(found(&folder.path().join("beside")), [(7, false)]);
    }
}
