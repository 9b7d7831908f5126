//! The catalogue's figures beside what the test itself did: on real members, with basic and with extensive metrics.

use std::collections::BTreeMap;

use etcd_client::{Compare, CompareOp, Txn, TxnOp, WatchOptions};
use etcd_monitor::model::catalogue::catalogue;
use etcd_monitor::model::{Labels, METRIC_NAME, SeriesSet};
use etcd_monitor::probe::derived::derived;
use etcd_monitor::probe::{Machine, Parts, Prober, ScrapeConfig};
use etcd_monitor::promql::{self, EvalOptions, EvalRange};
use etcd_monitor::report::figures;

use crate::etcd_cluster::{EtcdCluster, Options, Version};

const PUTS: i32 = 300;
const GETS: i32 = 120;
const DELETES: i32 = 40;
const TXNS: i32 = 25;
const LEASES: i64 = 6;
const WATCHERS: i32 = 5;

/// Scrapes are 15 s apart for the rules of rates, however long the test took.
const STEP_MS: i64 = 15_000;
/// Of counters that begin with 0 a rate over five minutes takes nothing for granted from before the first scrape.
const RATE: f64 = 1.0 / 300.0;

/// What has no value on a single idle member whose data is in memory, whatever its version, or is not asked for here:
/// health endpoints read keys, which counts.
const NOT_HERE: &[&str] = &[
    "peer_rtt",
    "peer_received",
    "peer_sent",
    "raft_snapshot_save",
    "backend_snapshot",
    "capacity_left",
    "scrapes_good",
    "endpoints_unhealthy",
    "disk_iops",
    "disk_busy",
];

async fn scrape(prober: &Prober, set: &mut SeriesSet, ts_ms: i64) {
    let reading = prober.read(ts_ms, Parts { health: false, ..Parts::ALL }).await;
    let mut push = |instance: Option<&str>, labels: &Labels, value: f64| {
        let own = labels.iter().map(|label| (&*label.name, &*label.value));
        let instance = instance.map(|instance| ("instance", instance));
        let labels = Labels::from_pairs(own.chain([("cluster", "it"), ("job", "etcd")]).chain(instance));
        set.push(&labels, ts_ms, value);
    };
    for member in &reading.members {
        let scrape = member.scrape.as_ref().expect("scraped");
        assert!(scrape.ok, "{:?}", member.errors);
        for (labels, value) in scrape.samples.iter() {
            push(Some(member.instance.as_str()), labels, value);
        }
    }
    for (instance, (labels, value)) in derived(&reading) {
        push(instance.as_ref().map(etcd_monitor::model::Instance::as_str), &labels, value);
    }
}

async fn work(cluster: &EtcdCluster) -> Vec<etcd_client::WatchStream> {
    let mut client = cluster.client().await;
    let mut watched = Vec::new();
    for n in 0..WATCHERS {
        let prefix = WatchOptions::new().with_prefix();
        let stream = client.watch(format!("key {n}"), Some(prefix)).await.expect("watched");
        watched.push(stream);
    }
    for n in 0..PUTS {
        client.put(format!("key {n}"), "value", None).await.expect("put");
    }
    for n in 0..GETS {
        client.get(format!("key {n}"), None).await.expect("get");
    }
    for n in 0..DELETES {
        client.delete(format!("key {n}"), None).await.expect("deleted");
    }
    for n in 0..TXNS {
        let never = Compare::version(format!("txn {n}"), CompareOp::Greater, 0);
        let txn = Txn::new().when([never]).or_else([TxnOp::put(format!("txn {n}"), "value", None)]);
        client.txn(txn).await.expect("txn");
    }
    let mut lease = 0;
    for _ in 0..LEASES {
        lease = client.lease_grant(600, None).await.expect("granted").id();
    }
    client.lease_revoke(lease).await.expect("revoked");
    watched
}

/// The figure's values by what they are of, without cluster and instance.
fn values(set: &SeriesSet, id: &str, at_ms: i64) -> BTreeMap<String, f64> {
    let figure = figures().iter().find(|figure| figure.id == id).expect("listed");
    let expr = promql::parse(&figure.for_cluster(&"it".parse().expect("name"))).expect("parses");
    let found = promql::eval_range(&expr, set, &EvalRange::instant(at_ms), &EvalOptions::default());
    let named = found.expect("evaluates").into_iter().filter_map(|series| {
        let shown = series.labels.iter().filter(|label| !matches!(&*label.name, "cluster" | "instance"));
        let of: Vec<&str> = shown.map(|label| &*label.value).collect();
        Some((of.join(" "), *series.values.last().filter(|value| value.is_finite())?))
    });
    named.collect()
}

async fn compare(version: Version, extensive: bool) {
    let cluster = EtcdCluster::start(1, Options { version, extensive, ..Options::default() }).await;
    let prober = Prober::new(&cluster.config(), None, &ScrapeConfig::default()).expect("prober");
    let prober = prober.on(Machine::default());
    let mut set = SeriesSet::default();
    for n in 0..2 {
        scrape(&prober, &mut set, n * STEP_MS).await;
    }
    let watched = work(&cluster).await;
    let newest =
        cluster.client().await.get("x", None).await.expect("get").header().expect("a header").revision();
    cluster.client().await.compact(newest - 10, None).await.expect("compacted");
    for n in 2..4 {
        scrape(&prober, &mut set, n * STEP_MS).await;
    }
    let at_ms = 3 * STEP_MS;
    let of = |id: &str| values(&set, id, at_ms);
    let one = |id: &str| {
        of(id).values().copied().next().unwrap_or_else(|| panic!("{version:?}: {id} has no value"))
    };
    let what = format!("{version:?}, extensive: {extensive}");
    for (id, done, slack) in [
        ("kv_put", f64::from(PUTS + TXNS), 0.0),
        // The monitor reads, too.
        ("kv_range", f64::from(GETS), 40.0),
        ("kv_delete", f64::from(DELETES), 0.0),
        ("lease_granted", LEASES as f64, 0.0),
        ("lease_revoked", 1.0, 0.0),
    ] {
        let counted = one(id) / RATE;
        assert!((counted - done).abs() <= 0.5 + slack, "{what}: {id} counted {counted}, done {done}");
    }
    for (id, is) in [
        ("watchers", f64::from(WATCHERS)),
        ("keys", f64::from(PUTS - DELETES + TXNS)),
        ("has_leader", 1.0),
        ("probe_success", 1.0),
        ("leader_changes", 0.0),
        ("defrag_inflight", 0.0),
        ("error_rate", 0.0),
    ] {
        assert!(
            (one(id) - is).abs() < 0.5 || id == "error_rate" && one(id) < 0.01,
            "{what}: {id} is {}",
            one(id)
        );
    }
    let puts = of("requests").get("Put").copied().unwrap_or(0.0) / RATE;
    assert!((puts - f64::from(PUTS)).abs() < 0.5, "{what}: {puts} puts answered");
    let source = of("read_latency").into_keys().next().unwrap_or_default();
    let expected = if extensive { "grpc_server_handling_seconds" } else { "etcd_monitor_probe_seconds" };
    assert!(source.contains(expected), "{what}: {source}");
    for metric in catalogue().metrics.iter().filter(|metric| metric.layer.is_some()) {
        // Members of 3.5 run here without fsync.
        let never =
            NOT_HERE.contains(&metric.id.as_str()) || metric.id == "wal_fsync" && version != Version::V3_4;
        assert!(never || !of(&metric.id).is_empty(), "{what}: {} has no value", metric.id);
    }
    drop(watched);
    let names = set.iter().map(|series| series.labels.get(METRIC_NAME).unwrap_or_default().to_owned());
    assert_eq!(
        names.filter(|name| name == "grpc_server_handling_seconds_bucket").count() > 0,
        extensive,
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_what_was_done_on_every_version_in_both_metrics_modes() {
    tokio::join!(
        compare(Version::V3_4, false),
        compare(Version::V3_4, true),
        compare(Version::V3_5_30, false),
        compare(Version::V3_5_30, true),
    );
}

/// No 3.6 runs in the tests: what one exported once has the families that the figures read.
#[test]
fn figures_find_their_families_in_what_3_6_exported() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/etcd/3.6.14/metrics.txt");
    let text = std::fs::read_to_string(&path).expect("recorded");
    for metric in catalogue().metrics.iter().filter(|metric| metric.layer.is_some()) {
        let exported = |source: &str| {
            source.starts_with("etcd_monitor_")
                || text.lines().any(|line| line.starts_with(&format!("# TYPE {source} ")))
        };
        let sources: Vec<&str> = metric.queries.iter().map(|query| query.source.as_str()).collect();
        assert!(sources.iter().any(|source| exported(source)), "{}: none of {sources:?}", metric.id);
    }
}

/// What etcd's libraries export in every version; the last only with `--metrics=extensive`.
const OF_LIBRARIES: &[&str] =
    &["process_", "go_", "grpc_server_started", "grpc_server_handled", "grpc_server_msg"];
const EXTENSIVE: &str = "grpc_server_handling_seconds";

/// 3.6 and 3.7 do not run in the tests: by what their sources define, every figure has an expression that reads only
/// what there is.
#[test]
fn figures_have_something_to_read_in_every_version_and_both_modes() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/etcd/families.txt");
    let text = std::fs::read_to_string(&path).expect("families");
    let families: Vec<(&str, Vec<&str>)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("a family"))
        .map(|(family, versions)| (family, versions.split(' ').collect()))
        .collect();
    let metric_name = regex::Regex::new(r"\b((?:etcd|grpc|process|go|node)_[a-z0-9_A-Z]+)\{").expect("valid");
    let mut without = Vec::new();
    for version in ["3.4", "3.5", "3.6", "3.7"] {
        for extensive in [false, true] {
            let defined = |name: &str| {
                let family = |suffix: &str| name.strip_suffix(suffix).unwrap_or(name);
                let names = [name, family("_bucket"), family("_sum"), family("_count")];
                let by_etcd = families
                    .iter()
                    .any(|(family, versions)| names.contains(family) && versions.contains(&version));
                // What we write ourselves is there for all.
                let ours = ["etcd_monitor_", "node_"].iter().any(|prefix| name.starts_with(prefix));
                let of_library = OF_LIBRARIES.iter().any(|prefix| name.starts_with(prefix));
                by_etcd || ours || of_library || (extensive && names.contains(&EXTENSIVE))
            };
            for metric in catalogue().metrics.iter().filter(|metric| metric.layer.is_some()) {
                let readable = |promql: &str| metric_name.captures_iter(promql).all(|name| defined(&name[1]));
                assert!(
                    metric.queries.iter().all(|query| metric_name.is_match(&query.promql)),
                    "{}",
                    metric.id
                );
                if !metric.queries.iter().any(|query| readable(&query.promql)) {
                    without.push((metric.id.as_str(), version, extensive));
                }
            }
        }
    }
    assert!(without.is_empty(), "{without:?}");
    // The test sees what is missing: the best source of a put's latency is not there in basic mode before 3.7.
    let put = catalogue().get("put_latency").expect("a metric");
    assert!(put.queries.iter().any(|query| query.source == EXTENSIVE));
    assert!(
        families
            .iter()
            .any(|(family, versions)| *family == "etcd_server_request_duration_seconds"
                && *versions == ["3.7"])
    );
}
