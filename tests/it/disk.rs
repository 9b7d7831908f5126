//! Disk checks: the verdict, what is left when one is killed, what a running etcd is spared. Each on a file system of its own,
//! so that the etcds of other tests are no neighbours.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, files_under, stderr, stdout};

/// A file system in memory, and a store elsewhere.
pub struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Self { folder };
        std::fs::create_dir(disk.path()).expect("made");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4g", "tmpfs"]).arg(disk.path()).output();
        let mounted = mounted.expect("mount runs");
        let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(mounted.status.success(), "this test mounts a tmpfs and so needs root: {said}");
        disk
    }

    /// A file beside it.
    pub fn page(&self) -> String {
        self.folder.path().join("page.html").display().to_string()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn arguments(&self, words: &str) -> Vec<String> {
        let store = self.folder.path().join("store").display().to_string();
        let mut arguments = vec!["--store".to_owned(), store, "disk".to_owned()];
        arguments.extend(
            words.replace("DISK", &self.path().display().to_string()).split_whitespace().map(str::to_owned),
        );
        arguments
    }

    fn command(&self, words: &str) -> Command {
        let arguments = self.arguments(words);
        program::command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("the binary starts")
    }

    fn json(&self, words: &str) -> Value {
        let output = self.run(&format!("{words} --json"));
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{words}: {}", stderr(&output)))
    }

    fn spawn(&self, words: &str) -> Child {
        let mut command = self.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }

    /// A check whose every fdatasync takes `micros` longer.
    fn slowed(&self, micros: u32, words: &str) -> Output {
        let program = self.command(words);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=fdatasync", "-e"]);
        strace.arg(format!("inject=fdatasync:delay_exit={micros}")).args(["-o", "/dev/null"]);
        strace.arg(program.get_program()).args(program.get_args());
        strace.output().expect("strace is missing: run `make test-deps`")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("there").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn of<'a>(run: &'a Value, test: &str) -> &'a Value {
    let tests = run["tests"].as_array().expect("tests");
    tests.iter().find(|found| found["name"] == test).unwrap_or_else(|| panic!("no {test} in {run:#}"))
}

fn quantiles(latency: &Value) -> Vec<f64> {
    latency["quantiles"]
        .as_array()
        .expect("quantiles")
        .iter()
        .map(|pair| pair[0].as_f64().expect("a number"))
        .collect()
}

#[test]
fn fio_and_the_probe_are_reported_stored_and_gone() {
    let disk = Disk::new();
    std::fs::write(disk.path().join("theirs"), "stays").expect("written");
    let run = disk.json("check --directory DISK --size 1m --look 0s");
    let version =
        Command::new("fio").arg("--version").output().expect("fio is missing: run `make test-deps`");
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let probe = of(&run, "probe");
    assert_eq!(probe["sync"]["count"], 10_029);
    assert_eq!(probe["write"]["bytes"], 10_029 * 2_300);
    for (test, appends) in
        [("wal-fsync-test", Some((1 << 20) / 2_300)), ("db-test", None), ("random-write-test", None)]
    {
        let found = of(&run, test);
        assert_eq!(found["tool"], Value::from(version.clone()));
        assert!(found["write"]["iops"].as_f64().is_some_and(|iops| iops > 0.0), "{found:#}");
        for quantile in [0.5, 0.95, 0.99, 0.999] {
            assert!(quantiles(&found["write"]["latency"]).contains(&quantile), "{found:#}");
        }
        if let Some(appends) = appends {
            assert_eq!(found["sync"]["count"], appends);
            let command = found["command"].as_str().expect("a command");
            let wanted = format!(
                "fio --rw=write --ioengine=sync --fdatasync=1 --directory={} --size=1048576 --bs=2300 --name=wal-fsync-test",
                disk.path().display()
            );
            assert_eq!(command, wanted);
        }
    }
    assert!(of(&run, "db-test")["read"]["bytes_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    assert_eq!(
        (run["device"]["filesystem"].as_str(), run["device"]["kind"].as_str()),
        (Some("tmpfs"), Some("memory"))
    );
    let findings = run["findings"].as_array().expect("findings");
    assert!(findings.iter().any(|finding| finding["id"] == "disk-kind" && finding["level"] == "critical"));
    assert!(
        findings.iter().all(|finding| ["rule", "source", "found"].iter().all(|key| finding[key] != "")),
        "{findings:?}"
    );
    assert_eq!(disk.names(), ["theirs"], "nothing of ours stays");
    // What the store has is what was told.
    assert_eq!(disk.json("show latest"), run);
    let history = disk.json("history");
    let tests: Vec<&str> =
        history.as_array().expect("rows").iter().filter_map(|row| row["test"].as_str()).collect();
    assert_eq!(tests, ["db-test", "probe", "random-write-test", "wal-fsync-test"]);
    let text = stdout(&disk.run("show latest"));
    for wanted in
        ["PRODUCTION READY", "rule: p99 below 10 ms", "wal-fsync-test", "tmpfs", "CRITICAL  disk-kind"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn a_slow_disk_is_told_by_its_limits_and_a_change_by_an_exit_code() {
    let disk = Disk::new();
    let check = "check --directory DISK --no-fio --appends 150 --look 0s";
    for (micros, code, verdict) in
        [(0, 0, "production-ready"), (11_000, 3, "warning"), (21_000, 1, "critical")]
    {
        let output = disk.slowed(micros, check);
        assert_eq!(output.status.code(), Some(code), "{micros}: {}{}", stdout(&output), stderr(&output));
        let newest = disk.json("show latest");
        // A loaded machine makes a slow disk slower, never faster.
        let p99 = newest["fsync_p99"].as_f64().expect("measured");
        assert!(p99 >= f64::from(micros) / 1e6, "{p99}");
        let by_rule = if p99 < 0.01 {
            "production-ready"
        } else if p99 <= 0.02 {
            "warning"
        } else {
            "critical"
        };
        assert_eq!(newest["verdict"], by_rule);
        assert_eq!(newest["verdict"], verdict);
    }
}

#[test]
fn killed_in_the_middle_the_next_check_leaves_nothing() {
    let disk = Disk::new();
    std::fs::write(disk.path().join("theirs"), "stays").expect("written");
    // fio's first job takes long on a disk as large as this one.
    let mut check = disk.spawn("check --directory DISK --size 3g --look 0s --appends 100");
    let fio_file = |name: &str| {
        files_under(&disk.path()).into_iter().any(|path| path.display().to_string().contains(name))
    };
    until("fio writes", || fio_file("wal-fsync-test"));
    check.kill().expect("killed");
    check.wait().expect("ended");
    assert!(disk.names().len() > 1, "fio's files were left");
    let run = disk.run("check --directory DISK --size 1m --look 0s --appends 100 --no-store");
    assert!(stdout(&run).contains("wal-fsync-test"), "{}", stderr(&run));
    assert_eq!(disk.names(), ["theirs"]);
    assert!(!is_running(&disk.path()), "fio outlived its check");
    // The probe's file has no name: nothing is there even before the next check.
    let mut check = disk.spawn("check --directory DISK --no-fio --look 0s --appends 1000000 --no-store");
    until("the probe writes", || used(&disk.path()) > 1 << 20);
    check.kill().expect("killed");
    check.wait().expect("ended");
    let left: Vec<String> = files_under(&disk.path()).iter().map(|path| path.display().to_string()).collect();
    assert!(left.iter().all(|path| path.ends_with("/theirs") || path.ends_with("/lock")), "{left:?}");
    let cleaned = disk.run("clean --directory DISK");
    assert_eq!(stdout(&cleaned), "1 left by killed checks, deleted\n");
    assert_eq!(disk.names(), ["theirs"]);
}

#[test]
fn stopped_by_hand_a_check_leaves_nothing_and_two_at_a_time_are_refused() {
    let disk = Disk::new();
    let mut check = disk.spawn("check --directory DISK --size 3g --look 0s --appends 100");
    until("fio writes", || !files_under(&disk.path()).is_empty() && used(&disk.path()) > 1 << 20);
    let second = disk.run("check --directory DISK --no-fio --look 0s");
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("another check of"), "{}", stderr(&second));
    let pid = rustix::process::Pid::from_raw(i32::try_from(check.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("sent");
    assert_eq!(check.wait().expect("ended").code(), Some(1));
    assert_eq!(disk.names(), Vec::<String>::new());
}

fn used(path: &Path) -> u64 {
    let space = rustix::fs::statvfs(path).expect("a file system");
    (space.f_blocks - space.f_bfree) * space.f_frsize
}

/// Whether any process has the folder among its arguments.
fn is_running(folder: &Path) -> bool {
    let wanted = folder.display().to_string();
    let entries = std::fs::read_dir("/proc").expect("there").flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|command| String::from_utf8_lossy(&command).contains(&wanted))
}

#[test]
fn what_cannot_be_measured_is_one_clear_message() {
    let disk = Disk::new();
    std::fs::write(disk.path().join("file"), "x").expect("written");
    for (words, code, wanted) in [
        ("check --directory DISK/file --no-fio", 2, "is no directory"),
        ("check --directory DISK/nowhere --no-fio", 1, "--directory"),
        ("check --directory DISK --size 1k", 2, "64k at least"),
        ("check --directory DISK --size 8g --appends 100 --look 0s", 1, "give a smaller --size, or --no-fio"),
        ("check --directory DISK --look 1h", 2, "--look: 10s at most"),
        ("show nothing", 2, "there is no disk check \"nothing\""),
    ] {
        let output = disk.run(words);
        assert_eq!(output.status.code(), Some(code), "{words}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{words}: {}", stderr(&output));
        assert_eq!(disk.names(), ["file"], "{words}");
    }
    // No fio: the probe alone, and a note that says so.
    let mut command = disk.command("check --directory DISK --size 1m --appends 200 --look 0s");
    let output = command.env("PATH", "/nowhere").output().expect("starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("apt-get install fio"), "{}", stdout(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_etcd_is_spared() {
    let disk = Disk::new();
    let options = Options { folder: Some(disk.path()), ..Options::default() };
    let mut cluster = EtcdCluster::start(3, options).await;
    let data = data_folder(&cluster, 1);
    let endpoints = cluster.endpoints().join(",");
    let check = format!("check --directory {} --look 1s --appends 300", data.display());
    // Nobody knows whose it is.
    let unknown = disk.run(&check);
    assert_eq!(unknown.status.code(), Some(1), "{}", stdout(&unknown));
    assert!(stderr(&unknown).contains("nobody can say whether its cluster can bear"), "{}", stderr(&unknown));
    let before = files_under(&data);
    let run = disk.json(&format!("{check} --endpoints {endpoints} --cluster ours"));
    assert_eq!(run["cluster"], "ours");
    assert_eq!(run["tests"].as_array().map(Vec::len), Some(1), "fio is left out: {run:#}");
    assert_eq!(of(&run, "probe")["sync"]["count"], 300);
    // A hundred a second at most.
    assert!(of(&run, "probe")["seconds"].as_f64().is_some_and(|seconds| seconds >= 2.9), "{run:#}");
    assert!(run["notes"].to_string().contains("--yes runs them"), "{run:#}");
    assert_eq!(files_under(&data), before);
    // All three share the disk here, so one that is away leaves no margin.
    cluster.stop(2);
    let refused = disk.run(&format!("{check} --endpoints {endpoints} --yes"));
    assert_eq!(refused.status.code(), Some(1), "{}", stdout(&refused));
    assert!(stderr(&refused).contains("has no member to lose"), "{}", stderr(&refused));
}

/// Where the member keeps its data.
fn data_folder(cluster: &EtcdCluster, i: usize) -> PathBuf {
    let command = std::fs::read(format!("/proc/{}/cmdline", cluster.pid(i))).expect("it runs");
    let words: Vec<String> =
        command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let at = words.iter().position(|word| word.starts_with("--data-dir")).expect("a flag");
    let value = words[at].strip_prefix("--data-dir=").map_or_else(|| words[at + 1].clone(), str::to_owned);
    PathBuf::from(value)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_alone_needs_a_yes_and_then_fio_runs_too() {
    let disk = Disk::new();
    let cluster = EtcdCluster::start(1, Options { folder: Some(disk.path()), ..Options::default() }).await;
    let check = format!(
        "check --directory DISK --size 1m --appends 150 --look 1s --endpoints {}",
        cluster.endpoint(0)
    );
    let refused = disk.run(&check);
    assert!(stderr(&refused).contains("has one member"), "{}", stderr(&refused));
    let run = disk.json(&format!("{check} --yes"));
    assert_eq!(run["tests"].as_array().map(Vec::len), Some(4), "{run:#}");
    assert!(run["notes"].to_string().contains("what it waits for, all its clients do"), "{run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_measures_local_members_one_by_one_and_rules_see_it() {
    let disk = Disk::new();
    let cluster = EtcdCluster::start(3, Options { folder: Some(disk.path()), ..Options::default() }).await;
    let config = disk.folder.path().join("etcd-monitor.toml");
    let endpoints: Vec<String> = cluster.endpoints().iter().map(|url| format!("{url:?}")).collect();
    let text = format!(
        "[store]\nurl = {:?}\n[disk]\nenabled = true\nappends = 100\nrate = 1000.0\n[[cluster]]\nname = \"prod\"\nendpoints = [{}]\n",
        disk.folder.path().join("store"),
        endpoints.join(", ")
    );
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8");
    let ran = program::output(&["--config", config, "run", "disk"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    let history = disk.json("history");
    let rows = history.as_array().expect("rows");
    assert_eq!(rows.len(), 3, "{history:#}");
    for i in 0..3 {
        let own = rows.iter().find(|row| row["instance"] == cluster.instance(i)).expect("a row");
        assert_eq!((own["cluster"].as_str(), own["test"].as_str()), (Some("prod"), Some("probe")));
        assert_eq!(own["directory"], data_folder(&cluster, i).display().to_string());
    }
    let query = |promql: &str| stdout(&program::output(&["--config", config, "query", promql]));
    assert!(
        query("count(etcd_monitor_disk_verdict{cluster=\"prod\", directory=\"data\"} == 0)").contains('3')
    );
    assert!(query("etcd_monitor_disk_fsync_seconds{quantile=\"0.99\"}").contains(&cluster.instance(0)));
    let events = program::output(&["--config", config, "events", "--json"]);
    let text = stdout(&events);
    assert_eq!(text.matches("disk-checked").count(), 3, "{text}");
    // Slower than before: the event says what it was.
    let program = program::command(&["--config", config, "run", "disk"]);
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:delay_exit=25000",
        "-o",
        "/dev/null",
    ]);
    strace.arg(program.get_program()).args(program.get_args());
    let ran = strace.output().expect("strace is missing: run `make test-deps`");
    assert!(ran.status.success(), "{}", stderr(&ran));
    let text = stdout(&program::output(&["--config", config, "events", "--json"]));
    assert_eq!(text.matches("; it was production ready").count(), 3, "{text}");
    assert!(query("count(etcd_monitor_disk_verdict == 2)").contains('3'));
}
