//! The daemon when the ground gives way: a full disk, SIGKILL at any moment.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::daemon::{configure, until};
use crate::deliver::Receiver;
use crate::deliver::http::Hook;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon, files_under};

pub fn told(hook: &Hook, status: &str) -> usize {
    let words = format!("\"status\":\"{status}\",\"truncatedAlerts\"");
    hook.accepted().iter().filter(|body| body.contains("TestMemberDown") && body.contains(&words)).count()
}

/// Takes every byte that is left.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("there is room for a name");
    let block = [0_u8; 4096];
    for _ in 0..16_384 {
        if file.write_all(&block).is_err() {
            return;
        }
    }
    panic!("{} is on no small disk", path.display());
}

/// Objects that a put left half-written.
fn half_written(store: &Path) -> Vec<PathBuf> {
    files_under(store).into_iter().filter(|path| is_half_written(path)).collect()
}

/// object_store names what it has not finished by a `#`.
fn is_half_written(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains('#'))
}

/// Every file of the store is whole, and there are some.
fn verify(verified: &Output) {
    let text = program::stdout(verified);
    assert!(
        verified.status.success() && !text.starts_with("0 file(s)"),
        "{text}{}",
        program::stderr(verified)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_no_alert_from_people_and_is_made_up_for() {
    let mut cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let hook = Hook::start(&[]).await;
    let route = "[[alert.route]]\nchannels = ['hook']\ngroup-interval = '1s'\n";
    let config = configure(folder.path(), &cluster, &format!("{route}[channel.hook]\n{}\n", hook.toml()));
    let (secrets, arguments) = ([("HMAC", "secret")], ["--config", &config, "run"]);
    let store = folder.path().join("store");
    std::fs::create_dir(&store).expect("made");
    let mount = format!("mount -t tmpfs -o size=8m tmpfs {}", store.display());
    let first = Daemon::isolated(folder.path(), &mount, &arguments, &secrets);
    let page = |daemon: &Daemon| {
        std::fs::read_to_string(daemon.view(&store).join("site/c/prod/index.html")).unwrap_or_default()
    };
    until("a page", &first, || page(&first).contains("1 member")).await;

    let filler = |daemon: &Daemon| daemon.view(&store).join("filler");
    fill(&filler(&first));
    until("a clear error", &first, || first.log().contains("no space left in the store")).await;

    // One that starts on the full disk, with the alert still to come.
    let second = first.beside(folder.path(), &arguments, &secrets);
    until("the second daemon", &second, || second.log().matches("watching prod").count() == 2).await;
    first.kill();
    cluster.kill(0);
    until("the alert from a full disk", &second, || told(&hook, "firing") > 0).await;
    until("the reason", &second, || second.log().contains("commit incident")).await;
    assert!(half_written(&second.view(&store)).is_empty(), "{:?}", half_written(&second.view(&store)));
    std::fs::remove_file(filler(&second)).expect("there");
    verify(&second.output_beside(&["--config", &config, "store", "verify"]));

    let firing = || {
        let output = second.output_beside(&["--config", &config, "status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&program::stdout(&output)).unwrap_or_default();
        status["clusters"][0]["incidents"].to_string().contains("TestMemberDown")
    };
    until("the incident in the store", &second, firing).await;
    until("the page of it", &second, || page(&second).contains("TestMemberDown")).await;
    cluster.restart(0);
    until("the end", &second, || told(&hook, "resolved") > 0).await;
    until("a page without it", &second, || !page(&second).contains("TestMemberDown")).await;
    assert_eq!((told(&hook, "firing"), told(&hook, "resolved")), (1, 1), "{:?}", hook.accepted());
    verify(&second.output_beside(&["--config", &config, "store", "verify"]));
}

/// One alert at once, and one that holds longer than any daemon of the test lives.
const ALWAYS: &str = "\
groups:
- name: test
  rules:
  - {alert: AtOnce, expr: etcd_monitor_member_up == 1, labels: {severity: critical}}
  - {alert: AfterAWhile, expr: etcd_monitor_member_up == 1, for: 15s, labels: {severity: critical}}
";

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1000.0
}

/// A number from 0 to 1, the next one of a sequence that `seed` begins.
fn random(seed: &mut u64) -> f64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed % 1000) as f64 / 1000.0
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_at_any_moment_loses_the_unflushed_segment_at_most() {
    let kills: usize = std::env::var("ETCD_MONITOR_SOAK_KILLS").map_or(10, |n| n.parse().expect("a number"));
    let mut seed = std::process::id().into();
    println!("seed {seed}");
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let hook = Hook::start(&[]).await;
    let config = configure(folder.path(), &cluster, &format!("[channel.hook]\n{}\n", hook.toml()));
    std::fs::write(folder.path().join("rules.yml"), ALWAYS).expect("written");
    let command = |arguments: &[&str]| program::output(&[&["--config", &config], arguments].concat());
    let newest_ms = || {
        let output = command(&["query", "--json", "max(timestamp(etcd_monitor_member_up))"]);
        let json: serde_json::Value = serde_json::from_str(&program::stdout(&output)).unwrap_or_default();
        let seconds = json["result"][0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
        seconds.unwrap_or(0.0) * 1000.0
    };
    let mut stored_ms = 0.0;
    for kill in 0..kills {
        let daemon = Daemon::start(folder.path(), &["--config", &config, "run"], &[("HMAC", "secret")]);
        // Every second one lives long enough to have flushed: then the bound on the loss can be checked.
        let lives_long = kill % 2 == 1;
        if lives_long {
            until("something new in the store", &daemon, || newest_ms() > stored_ms).await;
        }
        tokio::time::sleep(Duration::from_secs_f64(random(&mut seed) * 3.0)).await;
        let (seen_ms, killed_ms) = (newest_ms(), now_ms());
        daemon.kill();
        verify_or_empty(&command(&["store", "verify"]));
        stored_ms = newest_ms();
        assert!(stored_ms >= seen_ms, "what was stored is stored: {stored_ms} after {seen_ms}");
        // Scraped every 2 s, flushed every 1 s, and room for a busy machine.
        let lost_ms = killed_ms - stored_ms;
        assert!(!lives_long || lost_ms < 20_000.0, "{lost_ms} ms lost by kill {kill}");
    }
    let daemon = Daemon::start(folder.path(), &["--config", &config, "run"], &[("HMAC", "secret")]);
    let count = |alert: &str| hook.accepted().iter().filter(|body| body.contains(alert)).count();
    until("the alert whose `for` outlived the daemons", &daemon, || count("AfterAWhile") > 0).await;
    until("the last one", &daemon, || newest_ms() > stored_ms).await;
    // The killed ones' heartbeats would keep the last one from writing for a while. What one of them left
    // half-written is no heartbeat.
    let beats = files_under(&folder.path().join("store/state/watch"));
    let whole = beats.iter().filter(|path| !is_half_written(path));
    let writers: std::collections::BTreeSet<_> = whole.filter_map(|path| path.parent()).collect();
    assert_eq!(writers.len(), 1, "{beats:?}");
    assert_eq!(daemon.terminate(Duration::from_secs(30)), Some(0));

    let state = folder.path().join("store/state");
    let incidents = files_under(&state.join("incidents"));
    let told: Vec<String> =
        incidents.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
    assert_eq!(incidents.len(), 2, "each fired once and for all: {told:#?}");
    let fired = |alert: &str| -> (i64, i64) {
        let texts = incidents.iter().map(|path| std::fs::read_to_string(path).expect("readable"));
        let text = texts.into_iter().find(|text| text.contains(alert)).expect("an incident");
        let body: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let ms = |key: &str| body["state"][key].as_i64().expect("a time");
        (ms("active_since_ms"), ms("fired_ms"))
    };
    let ((began_ms, _), (since_ms, fired_ms)) = (fired("AtOnce"), fired("AfterAWhile"));
    assert!((since_ms - began_ms).abs() < 10_000, "`for` began with the first daemons");
    assert!(fired_ms - since_ms >= 15_000);
    // A kill between a send and its receipt repeats the send, and nothing else does.
    assert!((1..=1 + kills).contains(&count("AtOnce")), "{}", count("AtOnce"));
    let sequences = files_under(&state.join("groups"));
    assert_eq!(sequences.len(), 2, "{sequences:?}");
}

/// A daemon may die before its first segment.
fn verify_or_empty(verified: &Output) {
    let said = format!("{}{}", program::stdout(verified), program::stderr(verified));
    assert!(verified.status.success(), "{said}");
}
