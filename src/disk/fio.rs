//! fio: its jobs as etcd's users know them, and running one.

mod parse;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

pub use self::parse::parse;
use super::DiskError;
use super::run::Dial;
use crate::model::DiskTest;

/// A job of fio, by the name that it gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// What etcd's write-ahead log does: appends of 2300 bytes, each made durable.
    WalFsync,
    /// Sequential reads and writes of 4 KiB, as pages of the database.
    Db,
    /// Pages of the database at random places, made durable 32 at a time, as its commits are.
    RandomWrite,
}

impl Job {
    pub const ALL: [Self; 3] = [Self::WalFsync, Self::Db, Self::RandomWrite];

    pub fn name(self) -> &'static str {
        match self {
            Self::WalFsync => "wal-fsync-test",
            Self::Db => "db-test",
            Self::RandomWrite => "random-write-test",
        }
    }

    /// The longest it may take: together with the probe below two minutes.
    pub fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Self::WalFsync => 45,
            Self::Db => 25,
            Self::RandomWrite => 12,
        })
    }

    /// fio's options; `size` takes the place of the job's own.
    pub fn arguments(self, directory: &Path, size: Option<u64>) -> Vec<String> {
        let directory = format!("--directory={}", directory.display());
        let size =
            |own: &str| format!("--size={}", size.map_or_else(|| own.to_owned(), |size| size.to_string()));
        let name = format!("--name={}", self.name());
        match self {
            Self::WalFsync => vec![
                "--rw=write".to_owned(),
                "--ioengine=sync".to_owned(),
                "--fdatasync=1".to_owned(),
                directory,
                size("22m"),
                "--bs=2300".to_owned(),
                name,
            ],
            Self::Db => vec![
                "--rw=readwrite".to_owned(),
                "--ioengine=posixaio".to_owned(),
                directory,
                size("1g"),
                "--bs=4k".to_owned(),
                "--iodepth=32".to_owned(),
                name,
            ],
            Self::RandomWrite => vec![
                "--rw=randwrite".to_owned(),
                "--ioengine=posixaio".to_owned(),
                "--fdatasync=32".to_owned(),
                directory,
                size("64m"),
                "--bs=4k".to_owned(),
                "--iodepth=32".to_owned(),
                name,
            ],
        }
    }

    /// What its file takes.
    pub fn bytes(self, size: Option<u64>) -> u64 {
        size.unwrap_or(match self {
            Self::WalFsync => 22 << 20,
            Self::Db => 1 << 30,
            Self::RandomWrite => 64 << 20,
        })
    }

    /// The command as one types it, for the directory itself.
    pub fn command(self, directory: &Path, size: Option<u64>) -> String {
        format!("fio {}", self.arguments(directory, size).join(" "))
    }
}

/// The version of the fio that is installed, `fio-3.33`; nothing where there is none.
pub async fn version() -> Option<String> {
    let said = Command::new("fio").arg("--version").stdin(Stdio::null()).output().await.ok()?;
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    (said.status.success() && text.starts_with("fio-")).then_some(text)
}

/// Runs a job of what is called `directory` with its files in `scratch`; when its time is over, or the dial is stopped, fio says what it has.
///
/// # Errors
/// [`DiskError::Fio`] when it does not start, fails, or says nothing that can be read.
pub async fn run(
    job: Job,
    directory: &Path,
    scratch: &Path,
    size: Option<u64>,
    dial: &Dial,
) -> Result<DiskTest, DiskError> {
    let mut child = Command::new("fio")
        .arg("--output-format=json")
        .args(job.arguments(scratch, size))
        // Its own state files go where we remove them.
        .current_dir(scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| DiskError::Fio(format!("cannot be started: {error}")))?;
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let read = async {
        let (mut said, mut complained) = (String::new(), String::new());
        let from_out = async {
            if let Some(out) = &mut out {
                out.read_to_string(&mut said).await.ok();
            }
        };
        let from_err = async {
            if let Some(err) = &mut err {
                err.read_to_string(&mut complained).await.ok();
            }
        };
        futures::future::join(from_out, from_err).await;
        (said, complained)
    };
    tokio::pin!(read);
    let mut is_truncated = false;
    let until = tokio::time::sleep(job.longest());
    let (said, complained) = tokio::select! {
        read = &mut read => read,
        () = ended(until, dial) => {
            is_truncated = true;
            interrupt(child.id());
            // fio ends its job and writes its report; a disk that hangs holds it.
            let rest = tokio::time::timeout(Duration::from_secs(10), &mut read).await;
            rest.map_err(|_| DiskError::Fio(format!("{} does not end: the disk hangs", job.name())))?
        }
    };
    let status = child.wait().await.map_err(|error| DiskError::Fio(error.to_string()))?;
    if dial.stop.is_cancelled() {
        return Err(DiskError::Stopped);
    }
    let mut test = parse(&said).map_err(|problem| {
        let complaint = complained.lines().chain(said.lines()).find(|line| !line.trim().is_empty());
        DiskError::Fio(format!(
            "{}: {problem}; {status}; {}",
            job.name(),
            complaint.unwrap_or("it says nothing")
        ))
    })?;
    test.command = job.command(directory, size);
    test.is_truncated = is_truncated;
    Ok(test)
}

async fn ended(until: tokio::time::Sleep, dial: &Dial) {
    tokio::select! {
        () = until => {}
        () = dial.stop.cancelled() => {}
    }
}

fn interrupt(pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        rustix::process::kill_process(pid, Signal::INT).ok();
    }
}
