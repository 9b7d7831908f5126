//! A local program: the webhook's JSON on its standard input.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::Configured;
use crate::deliver::channel::Reference;
use crate::deliver::config::{Resolve, request_timeout};
use crate::deliver::{Channel, Message, SendError, payload};
use crate::model::unit::ConfigDuration;

/// `type = "exec"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExecConfig {
    /// The program, by its absolute path, and its arguments. No shell reads them.
    pub command: Vec<String>,
    /// Added to what every notification sets. The monitor's own environment, which may hold secrets, is not
    /// passed on.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The program is killed when this is over, with all that it started.
    #[serde(default = "request_timeout")]
    pub timeout: ConfigDuration,
}

/// How a program says that this message will never do (sysexits.h: EX_DATAERR). Any other failure is tried
/// again.
const REFUSED: i32 = 65;
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

struct Exec {
    program: PathBuf,
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
    timeout: Duration,
}

impl Configured for ExecConfig {
    fn open(&self, _: Resolve<'_>) -> Result<Arc<dyn Channel>, String> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err("command is empty; name a program".to_owned());
        };
        let program = PathBuf::from(program);
        if !program.is_absolute() {
            return Err(format!("the program {program:?} is not an absolute path"));
        }
        if !program.is_file() {
            return Err(format!("there is no program {}", program.display()));
        }
        let (arguments, env) = (arguments.to_vec(), self.env.clone());
        Ok(Arc::new(Exec { program, arguments, env, timeout: self.timeout.0 }))
    }
}

impl Exec {
    async fn run(&self, message: &Message<'_>) -> Result<Reference, SendError> {
        let failed = |what: &str, error: std::io::Error| {
            SendError::transient(format!("the program {} {what}: {error}", self.program.display()))
        };
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .envs(&self.env)
            .env("ETCD_MONITOR_STATUS", message.status())
            .env("ETCD_MONITOR_SEVERITY", message.group.severity.to_string())
            .env("ETCD_MONITOR_SUBJECT", message.subject().replace('\0', ""))
            .env("ETCD_MONITOR_KEY", message.idempotency_key)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            // Its own group, so that what it started ends with it.
            .process_group(0)
            .spawn()
            .map_err(|error| failed("does not start", error))?;
        let mut group = ProcessGroup::of(&child);
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read is judged by its exit code alone.
            let _ = stdin.write_all(payload(message).to_string().as_bytes()).await;
        }
        let status = child.wait().await.map_err(|error| failed("is lost", error))?;
        group.ended();
        let reason = format!("the program {} ended with {status}", self.program.display());
        match status.code() {
            Some(0) => Ok(None),
            Some(REFUSED) => Err(SendError::Permanent { reason }),
            _ => Err(SendError::transient(reason)),
        }
    }
}

/// A program and all that it started, ended when this goes first.
struct ProcessGroup(Option<rustix::process::Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok());
        Self(leader.and_then(rustix::process::Pid::from_raw))
    }

    /// The program ended by itself, and its number may soon be another's.
    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody asked yet how the leader ended, so the number is still its own.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

impl Channel for Exec {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        self.run(message).boxed()
    }

    fn end(&self) -> String {
        self.program.display().to_string()
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}
