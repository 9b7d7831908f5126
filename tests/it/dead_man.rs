//! The dead man's switch of a real daemon: held while it sees everything, let go when it does not.

use std::path::Path;
use std::time::Duration;

use etcd_monitor::store::{Store, StoreConfig, Writer, readings};

use crate::daemon::{configure, until};
use crate::deliver::Receiver;
use crate::deliver::http::Hook;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon, stderr, stdout};

/// Several intervals of the switch, in which nothing may come.
const SILENCE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn no_sign_of_life_without_a_quorum_or_without_the_watch() {
    let mut cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let hook = Hook::start(&[]).await;
    let switch = format!(
        "[dead-man]\nurl = 'http://127.0.0.1:{}/ping'\ninterval = '1s'\nallow-private = true\n",
        hook.port
    );
    let config = configure(folder.path(), &cluster, &switch);
    let daemon = Daemon::start(folder.path(), &["--config", &config, "run"], &[]);
    let pings = || hook.accepted().len();
    until("a few signs of life", &daemon, || pings() >= 3).await;

    cluster.kill(0);
    until("the end of it", &daemon, || daemon.log().contains("let go: no quorum answers: prod")).await;
    let before = pings();
    tokio::time::sleep(SILENCE).await;
    assert_eq!(pings(), before, "etcd is dead; the daemon said:\n{}", daemon.log());

    cluster.restart(0);
    until("signs of life again", &daemon, || pings() > before).await;
    drop(daemon);
    let before = pings();
    tokio::time::sleep(SILENCE).await;
    assert_eq!(pings(), before, "the watch has ended");
}

/// Cron's way: `collect` and `evaluate`, each a process.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_cron_hold_it_while_all_is_fresh() {
    let mut cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let hook = Hook::start(&[]).await;
    let switch = format!("[dead-man]\nurl = 'http://127.0.0.1:{}/ping'\nallow-private = true\n", hook.port);
    let config = configure(folder.path(), &cluster, &switch);
    let run = |job: &str| {
        let output = program::output(&["--config", &config, "run", job]);
        (output.status.code(), format!("{}{}", stdout(&output), stderr(&output)))
    };
    let pings = || hook.accepted().len();

    let (code, said) = run("evaluate");
    assert!(
        code == Some(3) && said.contains("let go: no fresh reading of a quorum of prod"),
        "{code:?} {said}"
    );
    assert_eq!(pings(), 0, "nothing was ever read");
    assert_eq!(run("collect").0, Some(0));
    assert_eq!(pings(), 0, "what was read is not judged yet");
    let (code, said) = run("evaluate");
    assert!(code == Some(0) && pings() == 1, "{code:?} {said}");

    cluster.kill(0);
    run("collect");
    let (code, said) = run("evaluate");
    assert!(code == Some(3) && said.contains("let go"), "{code:?} {said}");
    assert_eq!(pings(), 1, "etcd is dead");
    cluster.restart(0);
    until_ok("a reading again", || run("collect").0 == Some(0)).await;
    assert_eq!((run("evaluate").0, pings()), (Some(0), 2));
    // A live watch holds it itself, so the daemon's evaluate does not.
    drop(hook);
    let (code, said) = run("evaluate");
    assert!(code == Some(3) && said.contains("switch was not reached"), "{code:?} {said}");
}

async fn until_ok(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The newest reading is made older, as if whoever watched had died then.
async fn grown_old(folder: &Path, age_ms: i64) {
    let url = folder.join("store").display().to_string();
    let store = Store::open(&StoreConfig { url, ..StoreConfig::default() }, &|_| None).await.expect("opens");
    let mut rows = readings::latest(&store, 0, i64::MAX).await.expect("reads");
    assert!(!rows.is_empty());
    rows.iter_mut().for_each(|row| row.ts_ms -= age_ms);
    std::fs::remove_dir_all(folder.join("store/data/readings")).expect("there were readings");
    let writer = Writer::new(rows[0].ts_ms, 7);
    readings::write(&store, &writer, rows[0].ts_ms, &rows).await.expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_ended_is_unknown_to_check_and_on_the_site() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let config = configure(folder.path(), &cluster, "");
    let run = |arguments: &[&str]| {
        let output = program::output(&[&["--config", config.as_str()], arguments].concat());
        (output.status.code(), format!("{}{}", stdout(&output), stderr(&output)))
    };
    let (code, said) = run(&["check"]);
    assert!(code == Some(0), "never watched is not a history that ended: {said}");
    assert_eq!(run(&["run", "collect"]).0, Some(0));
    assert_eq!(run(&["check"]).0, Some(0));

    grown_old(folder.path(), 600_000).await;
    let (code, said) = run(&["check"]);
    assert!(code == Some(3) && said.starts_with("ETCD UNKNOWN - prod: 1/1 members"), "{code:?} {said}");
    assert!(said.contains("nothing was recorded for 10 min: no watch runs |"), "{said}");
    assert_eq!(run(&["check", "--live"]).0, Some(0), "etcd itself is well");
    let (code, said) = run(&["run", "report"]);
    assert_eq!(code, Some(0), "{said}");
    let page = std::fs::read_to_string(folder.path().join("store/site/c/prod/index.html")).expect("a page");
    for said in ["Stale: the data were 10 min old when this page was made", "Stale data"] {
        assert!(page.contains(said), "the page does not say {said:?}");
    }

    // Three days, far beyond the first look.
    grown_old(folder.path(), 3 * 86_400_000).await;
    let (code, said) = run(&["check"]);
    assert!(code == Some(3) && said.contains("nothing was recorded for 3 d"), "{code:?} {said}");
}
