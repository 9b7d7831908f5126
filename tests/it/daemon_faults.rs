//! The daemon when the ground gives way: a full disk, SIGKILL at any moment.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::daemon::{configure, until};
use crate::deliver::Receiver;
use crate::deliver::http::Hook;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon, files_under};

fn told(hook: &Hook, status: &str) -> usize {
    let words = format!("\"status\":\"{status}\",\"truncatedAlerts\"");
    hook.accepted().iter().filter(|body| body.contains("TestMemberDown") && body.contains(&words)).count()
}

/// Takes every byte that is left.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("there is room for a name");
    let block = [0_u8; 4096];
    while file.write_all(&block).is_ok() {}
}

/// Objects that a put left half-written, which object_store names by a `#`.
fn half_written(store: &Path) -> Vec<PathBuf> {
    let is_half = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains('#'));
    files_under(store).into_iter().filter(is_half).collect()
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
