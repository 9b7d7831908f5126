//! Restores on trial (level 3): an etcd is started from a backup, on loopback, and asked whether it holds the same.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmType, Client, ConnectOptions, GetOptions};
use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret as _;
use tokio::process::{Child, Command};

use super::check::{CheckError, room};
use super::database::{Damage, Progress, Sample, sample};
use super::restore::{RestoreError, Target, restore};
use super::tools::Tool;
use super::{Drill, Found, Hex};
use crate::etcd::Login;

/// With what and of what.
pub struct Setup<'a> {
    pub etcd: &'a Tool,
    pub etcdutl: &'a Tool,
    /// Where the data folder is made, and removed again.
    pub scratch: &'a Path,
    /// Of the cluster, where authentication was on when it was saved.
    pub login: Option<&'a Login>,
    /// The database, verified, and what was found in it.
    pub database: &'a File,
    pub found: &'a Found,
    /// Where programs are looked for.
    pub path: Option<&'a OsStr>,
    /// When the backup began to be fetched: recovery is counted from there.
    pub began: Instant,
}

/// Why a drill says nothing of the backup, or that it is no good.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The backup's fault.
    #[error("the restored etcd differs: {0}")]
    Differs(String),
    #[error("etcd {version} did not start from it: {said}")]
    Start { version: String, said: String },
    #[error("the restored etcd does not answer")]
    Client(#[from] etcd_client::Error),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("{path} cannot be used")]
    Io { path: String, source: std::io::Error },
    #[error(
        "authentication was on when it was saved, and [cluster.backup-auth] says no user with the root role"
    )]
    NoLogin,
}

/// Keys that are looked for.
const SAMPLES: usize = 64;
/// A start reads the whole database once.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const STARTS_WITHIN_PER_GIB: Duration = Duration::from_secs(60);
/// Beside the database: the log that etcd allots beforehand, and what the trial writes.
const BESIDE_BYTES: u64 = 256 << 20;
const FOLDER: &str = "etcd-monitor-drill-";

/// Restores the database, starts an etcd from it, and compares: HashKV, keys at random, and whether it takes a write.
///
/// # Errors
/// [`DrillError`]; of these only [`DrillError::Differs`] speaks against the backup.
pub async fn drill(setup: &Setup<'_>) -> Result<Drill, DrillError> {
    let Setup { scratch, found, .. } = setup;
    sweep(scratch);
    room(scratch, found.bytes + BESIDE_BYTES)?;
    let folder = Folder::new(scratch)?;
    let database = setup.database.try_clone().map_err(|source| io_error(scratch, source))?;
    let samples = tokio::task::spawn_blocking(move || sample(&database, SAMPLES, &Progress::default())).await;
    let samples = samples.map_err(|_| CheckError::Bug)??;
    // Ports are free until somebody else takes them: then others are tried.
    let mut started = start(setup, &folder).await;
    for _ in 0..2 {
        if matches!(&started, Err(DrillError::Start { said, .. }) if said.contains("address already in use"))
        {
            started = start(setup, &folder).await;
        }
    }
    let mut etcd = started?;
    let outcome = compare(setup, &mut etcd.client, &samples).await;
    // Killed and waited for, so that the folder can go.
    let _ = etcd.child.kill().await;
    let sampled_keys = outcome?;
    Ok(Drill {
        recovery_ms: i64::try_from(etcd.answered.duration_since(setup.began).as_millis()).unwrap_or(i64::MAX),
        etcd_version: setup.etcd.version.clone(),
        sampled_keys,
    })
}

/// An etcd that runs and has answered.
struct Started {
    child: Child,
    client: Client,
    answered: Instant,
}

async fn start(setup: &Setup<'_>, folder: &Folder) -> Result<Started, DrillError> {
    let (client_port, peer_port) = free_ports().map_err(|source| io_error(&folder.0, source))?;
    let (client_url, peer_url) =
        (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    let data_dir = folder.0.join("data");
    if data_dir.exists() {
        std::fs::remove_dir_all(&data_dir).map_err(|source| io_error(&data_dir, source))?;
    }
    let target = Target {
        data_dir: data_dir.clone(),
        name: Some("drill".to_owned()),
        initial_cluster: Some(format!("drill={peer_url}")),
        initial_advertise_peer_urls: Some(peer_url.clone()),
        // Some files have no checksum, and ours was checked.
        skip_hash_check: true,
        ..Target::default()
    };
    restore(setup.etcdutl, setup.database, &target).await?;
    let log_path = folder.0.join("etcd.log");
    let log = File::create(&log_path).map_err(|source| io_error(&log_path, source))?;
    let mut command = dies_with_us(&setup.etcd.path, setup.path);
    command
        .args(["--name", "drill", "--data-dir"])
        .arg(&data_dir)
        .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
        .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
        .args(["--quota-backend-bytes", &(setup.found.bytes + (2 << 30)).to_string()]);
    // etcd reads its settings from the environment, too: those of the host are of another member.
    command.env_clear().envs(setup.path.map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| io_error(&setup.etcd.path, source))?;
    let gibs = u32::try_from(setup.found.bytes >> 30).unwrap_or(u32::MAX);
    let deadline = Instant::now() + STARTS_WITHIN + STARTS_WITHIN_PER_GIB.saturating_mul(gibs);
    let mut said = "it did not answer in time".to_owned();
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            said = format!("it ended with {status}: {}", last_lines(&log_path));
            break;
        }
        match connected(&client_url, setup.login).await {
            Ok(client) => return Ok(Started { child, client, answered: Instant::now() }),
            Err(error) if is_refused(&error) => return Err(DrillError::NoLogin),
            Err(error) => said = crate::model::chain(&error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let _ = child.kill().await;
    Err(DrillError::Start { version: setup.etcd.version.clone(), said })
}

/// A client whose first linearizable read was answered.
async fn connected(url: &str, login: Option<&Login>) -> Result<Client, etcd_client::Error> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let options = ConnectOptions::new().with_connect_timeout(PATIENCE).with_timeout(PATIENCE);
    let mut client = Client::connect([url], Some(options.clone())).await?;
    match client.get("x", None).await {
        Ok(_) => Ok(client),
        // Only where authentication is on is a login taken.
        Err(error) => match login.filter(|_| is_refused(&error)) {
            Some(login) => {
                let options = options.with_user(&login.user, login.password.expose_secret());
                let mut client = Client::connect([url], Some(options)).await?;
                client.get("x", None).await.map(|_| client)
            }
            None => Err(error),
        },
    }
}

fn is_refused(error: &etcd_client::Error) -> bool {
    let said = error.to_string();
    said.contains("user name is empty") || said.contains("permission denied")
}

/// How many keys were compared.
async fn compare(setup: &Setup<'_>, client: &mut Client, samples: &[Sample]) -> Result<u64, DrillError> {
    if let Some((hash, revision)) = setup.found.hash_kv {
        let answer = client.hash_kv(revision).await?;
        if answer.hash() != hash {
            let what = format!("its HashKV at revision {revision} is {} instead of {hash}", answer.hash());
            return Err(DrillError::Differs(what));
        }
    }
    for wanted in samples {
        let at = GetOptions::new().with_revision(setup.found.revision);
        let answer = client.get(wanted.key.as_slice(), Some(at)).await?;
        let there = answer.kvs().first();
        let is_same = match (there, wanted.value_sha256) {
            (None, None) => true,
            (Some(there), Some(value)) => {
                Some(value) == digest(&SHA256, there.value()).as_ref().try_into().ok().map(Hex)
                    && there.mod_revision() == wanted.mod_revision
            }
            _ => false,
        };
        if !is_same {
            let key = String::from_utf8_lossy(&wanted.key);
            return Err(DrillError::Differs(format!("key {key:?} is not what the backup has")));
        }
    }
    writes(client).await?;
    Ok(samples.len() as u64)
}

/// A cluster that takes no write is no recovery.
async fn writes(client: &mut Client) -> Result<(), DrillError> {
    const KEY: &str = "\0etcd-monitor/drill";
    if let Err(error) = client.put(KEY, "1", None).await {
        // It was saved with the alarm on, and the room is there now.
        if !error.to_string().contains("database space exceeded") {
            return Err(error.into());
        }
        client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, None).await?;
        client.put(KEY, "1", None).await?;
    }
    let answer = client.get(KEY, None).await?;
    if answer.kvs().first().is_none_or(|kv| kv.value() != b"1") {
        return Err(DrillError::Differs("what was written cannot be read".to_owned()));
    }
    Ok(())
}

/// A program that the kernel ends when we are gone, where util-linux is there to ask for it.
fn dies_with_us(program: &Path, path: Option<&OsStr>) -> Command {
    let folders: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    match folders.iter().map(|folder| folder.join("setpriv")).find(|path| path.is_file()) {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn free_ports() -> std::io::Result<(u16, u16)> {
    let one = std::net::TcpListener::bind("127.0.0.1:0")?;
    let two = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok((one.local_addr()?.port(), two.local_addr()?.port()))
}

fn io_error(path: &Path, source: std::io::Error) -> DrillError {
    DrillError::Io { path: path.display().to_string(), source }
}

/// The end of etcd's log, without what can be told of it at length.
fn last_lines(path: &Path) -> String {
    const LINES: usize = 3;
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// Removes itself. Named after the process, so that the next one knows whether it is left over.
struct Folder(PathBuf);

impl Folder {
    fn new(scratch: &Path) -> Result<Self, DrillError> {
        let name = format!("{FOLDER}{}-{}", std::process::id(), ulid::Ulid::generate());
        let path = scratch.join(name);
        let mut builder = std::fs::DirBuilder::new();
        // It holds what the cluster holds.
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|source| io_error(&path, source))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The next drill's sweep finds what this does not.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes the folders of drills whose process is gone.
fn sweep(scratch: &Path) {
    let Ok(entries) = std::fs::read_dir(scratch) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)) else { continue };
        let pid = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
