//! Where fio's files lie: a folder in the directory that is measured, which the next check removes when this one could not.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};

use super::DiskError;

/// What the names of all our files begin with.
pub const PREFIX: &str = ".etcd-monitor-disk-check-";

/// The file whose lock says that a check runs. The kernel gives it back when the process ends, however it does.
const LOCK: &str = "lock";

/// A killed process is gone within moments; one in the kernel's deepest sleep may not be.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder of our own; dropping it removes it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one in `directory`, after what killed checks left there is removed.
    ///
    /// # Errors
    /// [`DiskError::Busy`] while another check of the directory runs; [`DiskError::Path`].
    pub fn new(directory: &Path) -> Result<Self, DiskError> {
        clean(directory)?;
        let path = directory.join(format!("{PREFIX}{}", ulid::Ulid::generate()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(DiskError::at(&path))?;
        let made = File::create(path.join(LOCK)).and_then(|file| {
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            Ok(file)
        });
        match made {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                fs::remove_dir_all(&path).ok();
                Err(DiskError::at(path)(error))
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder with all that is in it.
    ///
    /// # Errors
    /// When something stays.
    pub fn remove(self) -> Result<(), DiskError> {
        fs::remove_dir_all(&self.path).map_err(DiskError::at(&self.path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

/// Removes what checks left in `directory` that were killed: how many folders.
///
/// # Errors
/// [`DiskError::Busy`] where one runs; [`DiskError::Path`] where something cannot be removed.
pub fn clean(directory: &Path) -> Result<usize, DiskError> {
    let entries = fs::read_dir(directory).map_err(DiskError::at(directory))?;
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(DiskError::at(directory))?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
            // A probe that ended between making its file and taking its name away.
            fs::remove_file(&path).map_err(DiskError::at(&path))?;
            removed += 1;
            continue;
        }
        let lock = File::open(path.join(LOCK)).ok();
        if let Some(lock) = &lock
            && rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            return Err(DiskError::Busy { directory: directory.to_owned(), holder: path });
        }
        end_orphans(&path);
        fs::remove_dir_all(&path).map_err(DiskError::at(&path))?;
        removed += 1;
    }
    Ok(removed)
}

/// Ends the fio that outlived the check it belonged to: it would go on writing into a folder that is gone. The folder's
/// name is nobody else's, so no other process has it as an argument of its own.
fn end_orphans(path: &Path) {
    let wanted = format!("--directory={}", path.display());
    let began = Instant::now();
    loop {
        let orphans: Vec<Pid> = processes_with(&wanted);
        if orphans.is_empty() || began.elapsed() > PATIENCE {
            return;
        }
        for orphan in orphans {
            rustix::process::kill_process(orphan, Signal::KILL).ok();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn processes_with(argument: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    })
    .filter_map(Pid::from_raw)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_check_left_is_removed_and_what_runs_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("member"), b"etcd's").expect("written");
        let left = folder.path().join(format!("{PREFIX}LEFT"));
        fs::create_dir(&left).expect("made");
        fs::write(left.join(LOCK), b"").expect("written");
        fs::write(left.join("wal-fsync-test.0.0"), vec![0; 10_000]).expect("written");
        fs::write(folder.path().join(format!("{PREFIX}probe-X")), b"x").expect("written");
        assert_eq!(clean(folder.path()).expect("cleans"), 2);
        let running = Scratch::new(folder.path()).expect("made");
        let error = Scratch::new(folder.path()).expect_err("one runs");
        assert!(matches!(error, DiskError::Busy { .. }), "{error}");
        assert!(running.path().exists());
        running.remove().expect("removed");
        let names: Vec<_> =
            fs::read_dir(folder.path()).expect("there").flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["member"]);
    }

    #[test]
    fn a_process_that_still_writes_there_is_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let left = folder.path().join(format!("{PREFIX}LEFT"));
        fs::create_dir(&left).expect("made");
        let argument = format!("--directory={}", left.display());
        let mut child = std::process::Command::new("sh")
            // The shell itself waits, and so keeps its arguments.
            .args(["-c", "read line", "fio", argument.as_str()])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("starts");
        assert_eq!(clean(folder.path()).expect("cleans"), 1);
        assert!(!child.wait().expect("ended").success());
    }
}
