//! The real binary, as a person or an init system starts it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A command line of the program, without the machine's own `ETCDCTL_*` and `ETCD_MONITOR*` variables.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-monitor"));
    for (name, _) in std::env::vars() {
        if name.starts_with("ETCDCTL_") || name.starts_with("ETCD_MONITOR") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// A command line of the program in a mount namespace of its own, in which `setup` ran first: mounts that end
/// with it. Needs root.
pub fn isolated(setup: &str, arguments: &[&str]) -> Command {
    wrapped(&["unshare", "--mount", "sh", "-ec", &format!("{setup}\nexec \"$@\""), "sh"], arguments)
}

/// A command line of the program behind a `wrapper` that becomes it.
fn wrapped(wrapper: &[&str], arguments: &[&str]) -> Command {
    let program = command(arguments);
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// All files under a folder, sorted.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Runs a command to its end.
pub fn output(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary starts")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A daemon with its log. Dropping it kills it, by id.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn start(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(folder, command(arguments), environment)
    }

    /// In a mount namespace of its own, in which `setup` ran first.
    pub fn isolated(folder: &Path, setup: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(folder, isolated(setup, arguments), environment)
    }

    /// In the mount namespace of this one.
    pub fn beside(&self, folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(folder, wrapped(&["nsenter", &self.namespace()], arguments), environment)
    }

    /// Runs a command to its end in the mount namespace of this one.
    pub fn output_beside(&self, arguments: &[&str]) -> Output {
        wrapped(&["nsenter", &self.namespace()], arguments).output().expect("nsenter is part of util-linux")
    }

    fn namespace(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.child.id())
    }

    /// A file as this process sees it. (A path that is resolved first leads back to ours.)
    pub fn view(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.child.id(), path.display()))
    }

    fn spawn(folder: &Path, mut command: Command, environment: &[(&str, &str)]) -> Self {
        let log = folder.join("daemon.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).expect("log file");
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::from(file));
        Self { child: command.spawn().expect("the binary starts"), log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL.
    /// SIGHUP.
    pub fn hang_up(&self) {
        let status = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(mut self, patience: Duration) -> Option<i32> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it did not stop within {patience:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
