//! Benchmarks on real clusters: every documented command, what is left afterwards, what stops them, what they show.

use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{GetOptions, SortOrder, SortTarget};
use serde_json::Value;

use crate::etcd_cluster::{EtcdCluster, Options, Tls, Version};
use crate::program::{self, stderr, stdout};

const ROOT: &str = "/etcd-monitor/bench/";

/// Every key with its value, and the revision of its last change, in order.
async fn keys(cluster: &EtcdCluster) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let options = GetOptions::new().with_all_keys().with_sort(SortTarget::Key, SortOrder::Ascend);
    let answer = cluster.client().await.get("", Some(options)).await.expect("read");
    let kvs = answer.kvs().iter();
    kvs.map(|kv| (kv.key().to_vec(), kv.value().to_vec(), kv.mod_revision())).collect()
}

/// How many keys there are below our prefix.
async fn ours(cluster: &EtcdCluster) -> i64 {
    let options = GetOptions::new().with_prefix().with_count_only();
    cluster.client().await.get(ROOT, Some(options)).await.expect("read").count()
}

/// A cluster with keys of others, some beside our prefix.
async fn inhabited(members: usize, options: Options) -> EtcdCluster {
    let cluster = EtcdCluster::start(members, options).await;
    let mut client = cluster.client().await;
    for key in ["/a", "/etcd-monitor/bench", "/etcd-monitor/bench.", "/etcd-monitor/bench0", "/z", "foo"] {
        client.put(key, "theirs", None).await.expect("put");
    }
    cluster
}

struct Place {
    folder: tempfile::TempDir,
    endpoints: String,
}

impl Place {
    fn of(cluster: &EtcdCluster) -> Self {
        let endpoints: Vec<String> =
            cluster.endpoints().iter().map(|url| url.replace("http://", "")).collect();
        Self { folder: tempfile::tempdir().expect("a folder"), endpoints: endpoints.join(",") }
    }

    fn arguments<'a>(&'a self, store: &'a str, bench: &'a str) -> Vec<&'a str> {
        let mut arguments = vec!["--store", store, "bench", "--endpoints", &self.endpoints];
        arguments.extend(bench.split_whitespace());
        arguments
    }

    fn store(&self) -> String {
        self.folder.path().join("store").display().to_string()
    }

    /// `etcd-monitor bench --endpoints … {bench}`, to its end.
    fn run(&self, bench: &str) -> Output {
        program::output(&self.arguments(&self.store(), bench))
    }

    fn json(&self, bench: &str) -> Value {
        let output = self.run(&format!("{bench} --json"));
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{bench}: {}", stderr(&output)))
    }

    fn spawn(&self, bench: &str) -> Child {
        let mut command = program::command(&self.arguments(&self.store(), bench));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }
}

/// Waits until `holds`, for a minute at most.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The commands of etcd's documentation (op-guide/performance, benchmarks) and of the official tool's help, smaller where they
/// are large, without the tool's name and endpoints.
const DOCUMENTED: &[&str] = &[
    "--target-leader --conns=1 --clients=1 put --key-size=8 --sequential-keys --total=200 --val-size=256",
    "--target-leader --conns=100 --clients=1000 put --key-size=8 --sequential-keys --total=2000 --val-size=256",
    "--conns=100 --clients=1000 put --key-size=8 --sequential-keys --total=2000 --val-size=256",
    "--conns=1 --clients=1 range foo --consistency=l --total=200",
    "--conns=1 --clients=1 range foo --consistency=s --total=200",
    "--conns=100 --clients=1000 range foo --consistency=l --total=2000",
    "--conns=100 --clients=1000 range foo --consistency=s --total=2000",
    "put --sequential-keys --total=300 --val-size=256",
    "put --total=300 --val-size=256",
    "put --total=50 --val-size=1024 --conns=2 --clients=10",
    "put --total=50 --val-size=10240 --conns=2 --clients=10",
    "put --total=50 --val-size=102400 --conns=2 --clients=10",
    "get --sequential-keys --total=300",
    "range --total=300",
    "range --total=300 --consistency=s --rate=2000",
    "range a z --limit=10 --total=100",
    "range foo --prefix --keys-only --total=100",
    "range foo --count-only --total=100",
    "put --check-hashkv --total=100",
    "put --compact-interval=50ms --compact-index-delta=10 --rate=500 --total=200",
    "put --precise --sample --total=200",
    "txn-put --total=100 --txn-ops=10 --val-size=64",
    "txn-put --total=100 --key-space-size=1000 --conns=2 --clients=10",
    "txn-mixed foo --total=200 --rw-ratio=2",
    "txn-mixed --total=200 --key-space-size=100 --consistency=s",
    "mixed --total=300 --rw-ratio=4 --clients=10",
    "delete --total=300 --clients=10",
    "stm --total=100 --keys=10 --keys-per-txn=2 --txn-wr-percent=100 --isolation=c --clients=4",
    "stm --total=100 --keys=10 --keys-per-txn=2 --txn-wr-percent=100 --isolation=r --clients=4",
    "stm --total=100 --keys=10 --keys-per-txn=2 --txn-wr-percent=100 --isolation=s --clients=4",
    "stm --total=100 --keys=10 --keys-per-txn=2 --txn-wr-percent=100 --isolation=ss --clients=4",
    "stm --total=30 --keys=4 --stm-locker=lock-client --clients=4 --val-size=16",
    "stm --total=30 --keys=4 --stm-locker=lock-rpc --clients=4",
    "lease-keepalive --total=200 --conns=2 --clients=4",
    "watch --streams=4 --watch-per-stream=10 --watched-key-total=3 --key-space-size=10 --put-total=50 --put-rate=500 --clients=2",
    "watch-get --watchers=100 --events=4 --streams=2",
    "watch-latency --total=50 --put-rate=500",
    "watch-latency --put-total=50 --put-rate=500 --streams=2 --watchers-per-stream=5 --prevkv",
    "--duration=300ms --warm-up=100ms --clients=4 put",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_command_runs_and_leaves_nothing() {
    for version in [Version::V3_4, Version::V3_5_30] {
        let cluster = inhabited(1, Options { version, ..Options::default() }).await;
        let place = Place::of(&cluster);
        let before = keys(&cluster).await;
        for bench in DOCUMENTED {
            let output = place.run(bench);
            let text = stdout(&output);
            assert_eq!(output.status.code(), Some(0), "{version:?} {bench}: {}{text}", stderr(&output));
            for section in ["Summary:", "Requests/sec:", "Response time histogram:", "Latency distribution:"]
            {
                assert!(text.contains(section), "{bench}: no {section} in\n{text}");
            }
            assert!(!text.contains("Error distribution:"), "{bench}: {text}");
        }
        assert_eq!(
            keys(&cluster).await,
            before,
            "{version:?}: nothing of others' is touched, nothing of ours stays"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_left_the_next_one_deletes() {
    let cluster = inhabited(1, Options::default()).await;
    let place = Place::of(&cluster);
    let before = keys(&cluster).await;
    // Each writes, in its preparation or its load, and would go on for a minute.
    for bench in [
        "put --key-space-size=10000 --clients=4",
        "get --key-space-size=20000",
        "range --key-space-size=20000",
        "delete --total=1000000 --key-size=4",
        "mixed --key-space-size=20000",
        "txn-put --txn-ops=4 --key-space-size=1000",
        "txn-mixed --key-space-size=1000",
        "stm --keys=100 --keys-per-txn=4",
        "stm --keys=100 --stm-locker=lock-client --clients=4",
        "watch --put-total=1000000 --put-rate=1000",
        "watch-get --watchers=100000 --events=200",
        "watch-latency --put-total=1000000 --put-rate=1000",
    ] {
        let mut child = place.spawn(&format!("--duration=1m {bench}"));
        until(bench, || async { ours(&cluster).await > 1 }).await;
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(ours(&cluster).await > 0, "{bench}: there is something to clean up");
        let next = place.json("put --total=10");
        assert!(next["clean_up"]["leftovers_deleted"].as_u64().expect("a count") > 0, "{bench}: {next}");
        assert_eq!(keys(&cluster).await, before, "{bench}");
    }
    // The same by a command of its own.
    let mut child = place.spawn("--duration=1m put --key-space-size=1000");
    until("put", || async { ours(&cluster).await > 10 }).await;
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let cleaned = place.run("clean");
    assert!(stdout(&cleaned).contains("key(s) deleted"), "{}", stdout(&cleaned));
    assert_eq!(keys(&cluster).await, before);
    assert!(stdout(&place.run("clean")).contains("nothing is left of benchmarks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_run_with_its_report_and_cleans_up() {
    let cluster = inhabited(1, Options::default()).await;
    let place = Place::of(&cluster);
    let before = keys(&cluster).await;
    let child = place.spawn("--duration=2m put --key-space-size=1000");
    until("keys", || async { ours(&cluster).await > 100 }).await;
    // A second one would disturb it.
    let second = place.run("put --total=10");
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("another benchmark (put) runs below"), "{}", stderr(&second));
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("interrupted") && text.contains("Requests/sec:"), "{text}");
    assert_eq!(keys(&cluster).await, before);
    let listed = stdout(&place.run("history"));
    assert!(listed.contains("interrupted"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_seen_by_who_counts_from_when_a_request_was_due() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let place = Place::of(&cluster);
    // The governor would be right to stop it: a stopped member answers no look.
    let child = place.spawn("--clients=4 --conns=2 put --rate=500 --total=4000 --json");
    until("the load", || async { ours(&cluster).await > 1 }).await;
    cluster.pause(0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.resume(0);
    let output = child.wait_with_output().expect("it ends");
    let run: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let part = &run["parts"][0];
    let p999 = |latency: &Value| {
        let quantiles = latency["quantiles"].as_array().expect("quantiles").iter();
        quantiles
            .filter(|pair| pair[0] == 0.999)
            .map(|pair| pair[1].as_f64().expect("s"))
            .next()
            .expect("p99.9")
    };
    // 500 ms of 8 s are one in sixteen of the requests; a closed loop meets it with four of 4,000.
    let (due, sent) = (p999(&part["latency"]), p999(&part["uncorrected"]));
    assert!(due > 0.4, "from when it was due: {due}");
    assert!(sent < due, "from when it was sent: {sent}");
    let missed = part["uncorrected"]["quantiles"].as_array().expect("quantiles").iter();
    let p99 = missed.filter(|pair| pair[0] == 0.99).map(|pair| pair[1].as_f64().expect("s")).next();
    let due_p99 = part["latency"]["quantiles"].as_array().expect("quantiles").iter();
    let due_p99 = due_p99.filter(|pair| pair[0] == 0.99).map(|pair| pair[1].as_f64().expect("s")).next();
    assert!(due_p99 > Some(0.3) && p99 < Some(0.2), "99 %: {due_p99:?} and {p99:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_harms_is_stopped() {
    let cluster = inhabited(3, Options::default()).await;
    let place = Place::of(&cluster);
    let before = keys(&cluster).await;
    let child = place.spawn("--duration=2m put --rate=100 --clients=2 --json");
    until("the load", || async { ours(&cluster).await > 1 }).await;
    let leader = cluster.leader().await;
    // The leader that is stopped for two election timeouts is none any more.
    cluster.pause(leader);
    tokio::time::sleep(Duration::from_secs(4)).await;
    cluster.resume(leader);
    let output = child.wait_with_output().expect("it ends");
    let run: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(run["outcome"], "stopped", "{run}");
    assert_eq!(output.status.code(), Some(1));
    until("nothing is left", || async {
        keys(&cluster).await == before || {
            // What could not be deleted while there was no leader, the next run deletes.
            place.run("clean").status.success() && keys(&cluster).await == before
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_near_its_quota_is_not_filled() {
    let options = Options { quota_bytes: Some(16 << 20), ..Options::default() };
    let cluster = inhabited(1, options).await;
    let place = Place::of(&cluster);
    let run = place.json("--duration=1m --clients=8 put --val-size=50000 --key-space-size=1000");
    assert_eq!(run["outcome"], "stopped", "{run}");
    assert!(run["notes"][0].as_str().expect("a note").contains("of its quota, 70 % at most"), "{run}");
    let refused = place.run("put --total=10");
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("nothing was sent"), "{}", stderr(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_production_wants_a_yes() {
    let cluster = inhabited(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("monitor.toml");
    let text = format!(
        "[store]\nurl = {:?}\n[[cluster]]\nname = \"live\"\ntags = {{ env = \"production\" }}\nendpoints = [{:?}]\n",
        folder.path().join("store").display().to_string(),
        cluster.endpoints()[0],
    );
    std::fs::write(&config, text).expect("written");
    let config = config.display().to_string();
    let run = |more: &[&str]| program::output(&[&["--config", &config, "bench"], more].concat());
    let refused = run(&["put", "--total=10"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("cluster live is tagged env=production"), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--yes"));
    let dared = run(&["put", "--total=10", "--yes"]);
    assert_eq!(dared.status.code(), Some(0), "{}", stderr(&dared));
    // The job does not dare by itself.
    let enabled = format!(
        "{}[bench]\nenabled = true\nscheduled = \"quick\"\n",
        std::fs::read_to_string(&config).expect("text")
    );
    std::fs::write(&config, enabled).expect("written");
    let job = program::output(&["--config", &config, "run", "bench"]);
    assert_eq!(job.status.code(), Some(0), "{}", stderr(&job));
    let said = format!("{}{}", stdout(&job), stderr(&job));
    assert!(said.contains("live is tagged env=production"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_and_guarded_members_are_measured_too() {
    let cluster = EtcdCluster::start(1, Options { tls: Tls::Mutual, ..Options::default() }).await;
    let tls = cluster.tls_options().expect("mutual TLS");
    let options = etcd_client::ConnectOptions::new().with_tls(tls);
    let mut client =
        etcd_client::Client::connect(cluster.endpoints(), Some(options)).await.expect("a client");
    client.user_add("root", "secret", None).await.expect("a user");
    client.role_add("root").await.expect("a role");
    client.user_grant_role("root", "root").await.expect("granted");
    client.auth_enable().await.expect("enabled");
    let pki = &cluster.pki;
    let path = |path: &std::path::Path| path.display().to_string();
    let (ca, cert, key) = (path(&pki.ca), path(&pki.client_cert), path(&pki.client_key));
    let endpoint = cluster.endpoint(0);
    let run = |login: &[&str]| {
        let base = [
            "bench",
            "--no-store",
            "--endpoints",
            &endpoint,
            "--cacert",
            &ca,
            "--cert",
            &cert,
            "--key",
            &key,
        ];
        program::output(&[&base[..], login, &["put", "--total=200", "--conns=2", "--clients=4"]].concat())
    };
    let done = run(&["--user", "root:secret"]);
    assert_eq!(done.status.code(), Some(0), "{}{}", stdout(&done), stderr(&done));
    assert!(stdout(&done).contains("Requests/sec:"));
    let refused = run(&["--user", "root:wrong"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_kept_compared_and_exported() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let place = Place::of(&cluster);
    assert!(stdout(&place.run("history")).contains("the store has no benchmark"));
    for seed in 0..3 {
        let done = place.run(&format!("--seed={seed} put --total=500 --clients=4"));
        assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
        assert!(stdout(&done).contains("Demanded (etcd 3.4 on 8 vCPU"), "{}", stdout(&done));
    }
    let history = place.json("history");
    let ids: Vec<&str> = history
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| run["rows"][0]["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted());
    let shown = place.run(&format!("show {}", ids[1]));
    assert!(stdout(&shown).contains("Response time histogram:") && stdout(&shown).contains("--seed=1"));
    let compared = place.json(&format!("compare {} {}", ids[0], ids[2]));
    assert_eq!(compared["alike"], true);
    let measures: Vec<&str> = compared["comparisons"]
        .as_array()
        .expect("comparisons")
        .iter()
        .map(|comparison| comparison["measure"].as_str().expect("a measure"))
        .collect();
    assert_eq!(measures, ["rate", "p50", "p99"]);
    assert_eq!(place.run("compare nothing latest").status.code(), Some(2));
    let html = place.folder.path().join("run.html");
    let page = place.run(&format!("show latest --json --html {}", html.display()));
    assert_eq!(page.status.code(), Some(0), "{}", stderr(&page));
    let page = std::fs::read_to_string(&html).expect("written");
    assert!(page.contains("What the members said") && page.contains("p99"), "{page}");
    let csv = place.folder.path().join("runs.csv");
    let exported = place.run(&format!("history --csv {}", csv.display()));
    assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
    let text = std::fs::read_to_string(&csv).expect("written");
    assert_eq!(text.lines().count(), 4);
    let columns = text.lines().map(|line| line.split(',').count()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(columns.len(), 1, "{text}");
    let set = place.run("baseline set latest");
    assert!(stdout(&set).contains(&format!("from {} on", ids[2])), "{}", stderr(&set));
    let listed = stdout(&place.run("baseline list"));
    assert!(listed.contains("20000/s at least") && listed.contains(ids[2]), "{listed}");
    let headroom = place.json("headroom");
    assert_eq!(headroom[0]["operation"], "put", "{headroom}");
    let verified = program::output(&["--store", &place.store(), "store", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}{}", stdout(&verified), stderr(&verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctls_checks_pass_and_leave_nothing() {
    let cluster = inhabited(1, Options::default()).await;
    let place = Place::of(&cluster);
    let before = keys(&cluster).await;
    let perf = place.run("--duration=3s check-perf --load=s --auto-compact --auto-defrag");
    let text = stdout(&perf);
    assert!(
        text.contains("Throughput is 150 writes/s") || text.contains("Throughput is 149 writes/s"),
        "{text}{}",
        stderr(&perf)
    );
    assert!(text.trim_end().ends_with("PASS"), "{text}");
    let scale = place.run("check-datascale --load=s");
    let text = stdout(&scale);
    assert!(
        text.starts_with("Start data scale check for work load [10000 key-value pairs, 1024 bytes per key-value, 50 concurrent clients]."),
        "{text}{}",
        stderr(&scale)
    );
    assert!(text.contains("PASS: Approximate system memory used : "), "{text}");
    assert_eq!(keys(&cluster).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_measures_every_cluster_with_its_profile() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("monitor.toml");
    let text = format!(
        "[store]\nurl = {:?}\n[[cluster]]\nname = \"it\"\nendpoints = [{:?}]\n\
         [bench]\nenabled = true\nscheduled = \"tiny\"\n[[bench.profile]]\nname = \"tiny\"\n\
         driving = {{ clients = 2, duration = \"300ms\" }}\n[[bench.profile.load]]\noperation = \"put\"\n\
         [[bench.profile.load]]\noperation = \"range\"\nconsistency = \"s\"\n",
        folder.path().join("store").display().to_string(),
        cluster.endpoints()[0],
    );
    std::fs::write(&config, text).expect("written");
    let config = config.display().to_string();
    let job = program::output(&["--config", &config, "run", "bench"]);
    assert_eq!(job.status.code(), Some(0), "{}{}", stdout(&job), stderr(&job));
    let query = |text: &str| stdout(&program::output(&["--config", &config, "query", text]));
    assert!(
        query("etcd_monitor_bench_requests_per_second{operation=\"put\",profile=\"tiny\"} > 0")
            .contains("cluster=\"it\"")
    );
    assert!(
        query("etcd_monitor_bench_latency_seconds{operation=\"range\",quantile=\"0.99\"}")
            .contains("part=\"range\"")
    );
    let events = stdout(&program::output(&["--config", &config, "events", "--since", "1h"]));
    assert!(events.contains("bench-done"), "{events}");
    assert_eq!(ours(&cluster).await, 0);
}
