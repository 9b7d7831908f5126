//! How long a real cluster's lost quorum takes to reach people: two of three members killed with SIGKILL under a
//! real daemon, until a receiver has taken the page. The times are reported, for a busy machine has its own; the
//! promise on them is held in virtual time (`deliver/simulation/timely.rs`). `ETCD_MONITOR_SOAK_PAGES` asks for more
//! repetitions.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::daemon::until;
use crate::deliver::Receiver;
use crate::deliver::http::Hook;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::Daemon;

/// The `for` of EtcdQuorumLost: the breach is met this long after the kill at the earliest.
const HOLDS: Duration = Duration::from_secs(10);

/// The first channel of the route, which the others must not wait for.
#[derive(Debug, Clone, Copy)]
enum First {
    Works,
    /// Nobody listens.
    Refuses,
    /// Takes connections and never answers.
    BlackHole,
}

/// From the breach until the page was taken.
async fn page(first: First) -> Duration {
    let mut cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let (pager, other) = (Hook::start(&[]).await, Hook::start(&[]).await);
    let hole = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let dead = match first {
        First::Works => other.port,
        First::BlackHole => hole.local_addr().expect("bound").port(),
        First::Refuses => {
            let port = hole.local_addr().expect("bound").port();
            drop(hole);
            port
        }
    };
    let channel = |name: &str, port: u16| {
        format!(
            "[channel.{name}]\ntype = 'webhook'\nurl = 'http://127.0.0.1:{port}/'\nallow-private = true\n"
        )
    };
    // The shipped intervals and rules: what is measured is what people get.
    let text = format!(
        "[store]\nurl = {:?}\n[[cluster]]\nname = 'prod'\nendpoints = {:?}\n{}{}",
        folder.path().join("store").display().to_string(),
        cluster.endpoints(),
        channel("a-first", dead),
        channel("pager", pager.port)
    );
    let config = folder.path().join("etcd-monitor.toml");
    std::fs::write(&config, text).expect("written");
    let daemon = Daemon::start(folder.path(), &["--config", &config.display().to_string(), "run"], &[]);
    // Health is known before it ends: the first segment is written after a few looks.
    let seen = || !crate::program::files_under(&folder.path().join("store/data")).is_empty();
    until("a first segment", &daemon, seen).await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    cluster.kill((leader + 1) % 3);
    let killed = Instant::now();
    let paged = || pager.accepted().iter().any(|page| page.contains("EtcdQuorumLost"));
    until("the page", &daemon, paged).await;
    killed.elapsed().saturating_sub(HOLDS)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_quorum_is_paged_whatever_the_first_channel_does() {
    let times = std::env::var("ETCD_MONITOR_SOAK_PAGES").map_or(1, |times| times.parse().expect("a number"));
    for first in [First::Works, First::Refuses, First::BlackHole] {
        let mut took = Vec::new();
        for _ in 0..times {
            took.push(page(first).await);
        }
        took.sort_unstable();
        let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "first channel {first:?}: {times} times, from the breach to the page {:.1} s in the median, {:.1} s at most",
            median.as_secs_f32(),
            longest.as_secs_f32()
        );
    }
}
