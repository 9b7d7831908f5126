//! The dead man's switch of a real daemon: held while it sees everything, let go when it does not.

use std::time::Duration;

use crate::daemon::{configure, until};
use crate::deliver::Receiver;
use crate::deliver::http::Hook;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::Daemon;

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
