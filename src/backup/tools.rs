//! The programs of etcd that a restore needs: found, and asked for their version.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

/// `3.5`, as far as a database's format depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor(pub u32, pub u32);

impl Minor {
    /// Of a version like `3.5.30` or `3.6.0-rc.1`.
    pub fn of(version: &str) -> Option<Self> {
        let mut parts = version.split('.');
        Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A program of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub path: PathBuf,
    /// As in `3.5.30`.
    pub version: String,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    #[error("{names} is not on the PATH: install etcd's tools, or name it by {key}")]
    Missing { names: &'static str, key: &'static str },
    #[error("{path} does not say its version: {why}")]
    Silent { path: String, why: String },
    #[error(
        "{path} is of etcd {version}, and the backup of {of}: a database cannot go back to an older etcd"
    )]
    TooOld { path: String, version: String, of: String },
}

/// A program that does not answer to `--version` for so long is none of etcd's.
const PATIENCE: Duration = Duration::from_secs(10);

/// What makes a data folder of a database of etcd `version`: `etcdutl`, else `etcdctl`, which can it up to 3.5.
///
/// # Errors
/// [`ToolError`].
pub async fn restorer(
    configured: Option<&Path>,
    path: Option<&OsStr>,
    version: &str,
) -> Result<Tool, ToolError> {
    const MISSING: ToolError = ToolError::Missing { names: "etcdutl or etcdctl", key: "backup.etcdutl" };
    let candidates = candidates(configured, path, &["etcdutl", "etcdctl"]);
    newest(candidates, version, MISSING).await
}

/// The etcd that can be started from a database of etcd `version`.
///
/// # Errors
/// [`ToolError`].
pub async fn server(
    configured: Option<&Path>,
    path: Option<&OsStr>,
    version: &str,
) -> Result<Tool, ToolError> {
    const MISSING: ToolError = ToolError::Missing { names: "etcd", key: "backup.drill.etcd" };
    newest(candidates(configured, path, &["etcd"]), version, MISSING).await
}

/// What is configured alone; otherwise what the PATH has, in its order.
fn candidates(configured: Option<&Path>, path: Option<&OsStr>, names: &[&str]) -> Vec<PathBuf> {
    if let Some(configured) = configured {
        return vec![configured.to_owned()];
    }
    let folders: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    let all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.filter(|path| path.is_file()).collect()
}

/// The first that is new enough; otherwise why the first is not.
async fn newest(candidates: Vec<PathBuf>, wanted: &str, missing: ToolError) -> Result<Tool, ToolError> {
    let mut first = None;
    for path in candidates {
        let error = match tool(path).await {
            Ok(tool) if Minor::of(&tool.version) >= Minor::of(wanted) => return Ok(tool),
            Ok(Tool { path, version }) => {
                ToolError::TooOld { path: path.display().to_string(), version, of: wanted.to_owned() }
            }
            Err(error) => error,
        };
        first.get_or_insert(error);
    }
    Err(first.unwrap_or(missing))
}

async fn tool(path: PathBuf) -> Result<Tool, ToolError> {
    let silent = |why: String| ToolError::Silent { path: path.display().to_string(), why };
    // `etcd` takes the option, the others the command.
    for argument in ["--version", "version"] {
        let mut command = Command::new(&path);
        command.arg(argument).env("ETCDCTL_API", "3").kill_on_drop(true).stdin(std::process::Stdio::null());
        let answer = tokio::time::timeout(PATIENCE, command.output()).await;
        let answer = answer.map_err(|_| silent(format!("no answer in {} s", PATIENCE.as_secs())))?;
        let answer = answer.map_err(|error| silent(error.to_string()))?;
        if let Some(version) = said_version(&String::from_utf8_lossy(&answer.stdout)) {
            return Ok(Tool { path, version });
        }
    }
    Err(silent("it is no program of etcd".to_owned()))
}

/// From `etcd Version: 3.5.30`, `etcdutl version: 3.5.30`, `etcdctl version: 3.4.23`.
fn said_version(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| {
        let (before, version) = line.split_once(':')?;
        (before.starts_with("etcd") && before.to_lowercase().ends_with("version")).then_some(version.trim())
    })?;
    Minor::of(line).map(|_| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        for (text, version) in [
            ("etcd Version: 3.5.30\nGit SHA: x\nGo Version: go1.24\n", Some("3.5.30")),
            ("etcdctl version: 3.4.23\nAPI version: 3.4\n", Some("3.4.23")),
            ("etcdutl version: 3.6.0-rc.1\nAPI version: 3.6\n", Some("3.6.0-rc.1")),
            ("Go Version: go1.24\n", None),
            ("etcd Version: many\n", None),
        ] {
            assert_eq!(said_version(text).as_deref(), version, "{text}");
        }
        assert!(Minor::of("3.10.1") > Minor::of("3.9"));
    }
}
