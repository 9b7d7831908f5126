//! A bug that panics while one cluster is read: that cluster's alerts turn unknown and are resolved by nobody, the
//! other cluster does not notice, and when the bug is over so is the alert. The whole watch, at a simulated clock.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_monitor::config::{ClusterSetup, Config, Environment, Overrides};
use etcd_monitor::etcd::ClusterConfig;
use etcd_monitor::model::{
    Alarm, ClusterId, ClusterName, Incident, IncidentState, MemberId, MemberReading, MemberStatus, ReadProbe,
    Reading, Samples, Scrape, StatusSource,
};
use etcd_monitor::probe::{Parts, ReadingSource};
use etcd_monitor::run::clock::Clock;
use etcd_monitor::run::{Context, Host, Services};
use etcd_monitor::store::key::Prefix;
use etcd_monitor::store::{Store, sequence};
use etcd_monitor::watch::Watch;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

const START_MS: i64 = 1_700_000_000_000;
/// From then on, ms after the start, the alarm is over.
const CLEARED_MS: i64 = 120_000;
/// Between these, ms after the start, reading the sick cluster panics.
const PANICS_MS: std::ops::Range<i64> = 60_000..900_000;

/// One member with an alarm for a while.
struct Source {
    cluster: ClusterName,
    panics: std::ops::Range<i64>,
}

impl ReadingSource for Source {
    fn read(&self, now_ms: i64, parts: Parts) -> BoxFuture<'_, Reading> {
        async move {
            let since_ms = now_ms - START_MS;
            assert!(!self.panics.contains(&since_ms), "a bug at {since_ms} ms");
            reading(&self.cluster, now_ms, parts)
        }
        .boxed()
    }
}

fn reading(cluster: &ClusterName, now_ms: i64, parts: Parts) -> Reading {
    let id = MemberId(1);
    let status = MemberStatus {
        source: StatusSource::Rpc,
        version: "3.5.16".to_owned(),
        db_size_bytes: 1,
        db_size_in_use_bytes: 1,
        quota_bytes: None,
        leader: Some(id),
        raft_term: 2,
        raft_index: 7,
        raft_applied_index: 7,
        revision: Some(1),
        errors: Vec::new(),
    };
    let scrape = Scrape {
        ts_ms: now_ms,
        duration_seconds: 0.01,
        ok: true,
        body_bytes: 1,
        samples: Samples::default(),
        dropped_series: 0,
        added_series: 0,
        clock: None,
    };
    let read = Some(ReadProbe { ok: true, seconds: 0.001 }).filter(|_| parts.quorum_read);
    let member = MemberReading {
        instance: "10.0.0.1:2379".parse().expect("an instance"),
        member_id: Some(id),
        name: Some("m1".to_owned()),
        is_learner: Some(false),
        peer_urls: Vec::new(),
        client_urls: Vec::new(),
        hears: BTreeMap::new(),
        ts_ms: now_ms,
        duration_ms: 1,
        status: Some(status),
        linearizable_read: read.clone(),
        serializable_read: read,
        health: BTreeMap::new(),
        scrape: Some(scrape).filter(|_| parts.scrape),
        host: Vec::new(),
        node: None,
        errors: Vec::new(),
    };
    let alarm = Alarm { kind: "NOSPACE".to_owned(), member_id: Some(id) };
    Reading {
        cluster: cluster.clone(),
        ts_ms: now_ms,
        duration_ms: 1,
        cluster_id: Some(ClusterId(9)),
        members: vec![member],
        alarms: if now_ms - START_MS < CLEARED_MS { vec![alarm] } else { Vec::new() },
        errors: Vec::new(),
    }
}

/// The state of the alarm's incident, by cluster.
async fn states(store: &Store) -> BTreeMap<String, IncidentState> {
    let newest = sequence::all_latest::<Incident>(store, &Prefix::incidents()).await.expect("readable");
    let of_alarm = newest.into_iter().map(|(_, _, incident)| incident);
    let of_alarm = of_alarm.filter(|incident| incident.alert == "EtcdAlarmActive");
    of_alarm.map(|incident| (incident.cluster().expect("one").to_owned(), incident.state)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_panic_makes_the_alerts_of_its_cluster_unknown_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let environment = Environment::new();
    let store = Some(folder.path().display().to_string());
    let name: ClusterName = "sound".parse().expect("a name");
    let cluster = ClusterConfig::plain(name, vec!["http://127.0.0.1:1".to_owned()]);
    let cluster = Some(ClusterSetup { config: cluster, login: None, backup_login: None });
    let overrides = Overrides { store_url: store, cluster, ..Overrides::default() };
    let config = Config::load(None, &environment, overrides).unwrap_or_else(|errors| panic!("{errors}"));
    let (clock, stop) = (Clock::runtime(START_MS), CancellationToken::new());
    let services = Services::start(config, &environment, clock.clone(), Host::Daemon, stop.clone()).await;
    let services = std::sync::Arc::new(services.expect("the store opens"));
    let context = Context::new(&services, START_MS, stop.clone());
    let mut setup = context.watch_setup(context.config().groups.clone()).expect("a setup");
    let target = |name: &str, panics: std::ops::Range<i64>| {
        let cluster: ClusterName = name.parse().expect("a name");
        let source = Source { cluster: cluster.clone(), panics };
        (cluster, Box::new(source) as Box<dyn ReadingSource>).into()
    };
    setup.targets = vec![target("sick", PANICS_MS), target("sound", 0..0)];
    let watch = Watch::start(setup, START_MS).await;
    let now_ms = clock.clone();
    let watching = tokio::spawn(watch.run(move || now_ms.now_ms(), stop.clone(), || {}));

    use IncidentState::{Firing, Resolved, Unknown};
    for (at_ms, sick, sound) in [
        (50_000, Firing, Firing),
        // Both alarms are over, and nobody knows that of the sick one. What was seen last is believed for five minutes.
        (PANICS_MS.start + 330_000, Unknown, Resolved),
        (PANICS_MS.end - 1_000, Unknown, Resolved),
        // It is looked at every minute, and a good look ends it.
        (PANICS_MS.end + 120_000, Resolved, Resolved),
    ] {
        let left_ms = u64::try_from(START_MS + at_ms - clock.now_ms()).expect("later");
        tokio::time::sleep(Duration::from_millis(left_ms)).await;
        let expected = BTreeMap::from([("sick".to_owned(), sick), ("sound".to_owned(), sound)]);
        assert_eq!(states(context.store()).await, expected, "{at_ms} ms after the start");
    }
    stop.cancel();
    watching.await.expect("the watch itself does not panic");
}
