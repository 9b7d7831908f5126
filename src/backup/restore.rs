//! Restores: a verified database in, a data folder out, by etcd's own tool.

mod steps;

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::tools::Tool;

pub use steps::{next_steps, plan};

/// What the data folder is to be. Absent settings are the tool's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    pub data_dir: PathBuf,
    pub wal_dir: Option<PathBuf>,
    pub name: Option<String>,
    pub initial_cluster: Option<String>,
    pub initial_cluster_token: Option<String>,
    pub initial_advertise_peer_urls: Option<String>,
    /// How far revisions are moved on, so that no client sees one twice.
    pub bump_revision: Option<u64>,
    /// All revisions before are compacted: clients that watch start anew.
    pub mark_compacted: bool,
    pub skip_hash_check: bool,
}

/// Why there is no data folder.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{folder} is not empty: a restore makes a new folder, and never touches one that is there")]
    NotEmpty { folder: String },
    #[error("{path} cannot be used")]
    Io { path: String, source: std::io::Error },
    #[error("{tool} failed ({status}): {said}")]
    Tool { tool: String, status: String, said: String },
}

impl Target {
    /// As the tool takes it, without the database.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--data-dir".into(), self.data_dir.clone().into()];
        let mut text = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                arguments.extend([name.into(), value.into()]);
            }
        };
        text("--name", self.name.as_ref());
        text("--initial-cluster", self.initial_cluster.as_ref());
        text("--initial-cluster-token", self.initial_cluster_token.as_ref());
        text("--initial-advertise-peer-urls", self.initial_advertise_peer_urls.as_ref());
        text("--bump-revision", self.bump_revision.map(|bump| bump.to_string()).as_ref());
        if let Some(wal_dir) = &self.wal_dir {
            arguments.extend(["--wal-dir".into(), wal_dir.clone().into()]);
        }
        if self.mark_compacted {
            arguments.push("--mark-compacted".into());
        }
        if self.skip_hash_check {
            arguments.push("--skip-hash-check".into());
        }
        arguments
    }

    /// A restore writes nowhere where something is.
    ///
    /// # Errors
    /// [`RestoreError::NotEmpty`]; also when a folder cannot be looked into.
    pub fn check(&self) -> Result<(), RestoreError> {
        for folder in std::iter::once(&self.data_dir).chain(&self.wal_dir) {
            let named = || folder.display().to_string();
            match std::fs::read_dir(folder) {
                Ok(mut entries) => {
                    if entries.next().is_some() {
                        return Err(RestoreError::NotEmpty { folder: named() });
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(RestoreError::Io { path: named(), source }),
            }
        }
        Ok(())
    }
}

/// Lets `tool` make the data folder of `database`, a file without a name. Returns what it said.
///
/// # Errors
/// [`RestoreError`]; a folder that was begun is removed then.
pub async fn restore(tool: &Tool, database: &File, target: &Target) -> Result<String, RestoreError> {
    target.check()?;
    // The tool makes the folder itself and takes none that is there, empty or not.
    for folder in std::iter::once(&target.data_dir).chain(&target.wal_dir) {
        match std::fs::remove_dir(folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(RestoreError::Io { path: folder.display().to_string(), source });
            }
            _ => {}
        }
    }
    // The file has no name; to a program of this machine it is what this process has open.
    let path = format!("/proc/{}/fd/{}", std::process::id(), database.as_raw_fd());
    let mut command = Command::new(&tool.path);
    command.args(["snapshot", "restore", &path]).args(target.arguments());
    command.env("ETCDCTL_API", "3").stdin(Stdio::null()).kill_on_drop(true);
    let named = || tool.path.display().to_string();
    let output = command.output().await.map_err(|source| RestoreError::Io { path: named(), source })?;
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if output.status.success() {
        return Ok(said);
    }
    for folder in std::iter::once(&target.data_dir).chain(&target.wal_dir) {
        remove(folder);
    }
    Err(RestoreError::Tool { tool: named(), status: output.status.to_string(), said })
}

/// What was begun is of no use; that it cannot be removed is said by the next try.
fn remove(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
}
