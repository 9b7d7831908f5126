//! What the machine says that a member runs on: read by ourselves where that is this one, or by a node exporter.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_monitor::model::{Labels, MemberReading, Reading};
use etcd_monitor::probe::{Machine, Parts, Prober, ScrapeConfig, derived};

use crate::etcd_cluster::{EtcdCluster, Options, read_until};

const SCRAPE: Parts = Parts { scrape: true, status: true, ..Parts::ALL };

fn of(samples: &[(Labels, f64)], name: &str) -> Option<f64> {
    samples.iter().find(|(labels, _)| labels.metric_name() == name).map(|(_, value)| *value)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_under_a_local_member_is_read() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let prober = Prober::new(&cluster.config(), None, &ScrapeConfig::default()).expect("prober");
    let prober = prober.on(Machine::default());
    let reading = prober.read(1_000, SCRAPE).await;
    let host = &reading.members[0].host;
    // What `df` says of the data folder.
    let folder = cluster.folder().join("m0");
    let df = Command::new("df").args(["-B1", "--output=size"]).arg(&folder).output().expect("df");
    let size: f64 =
        String::from_utf8_lossy(&df.stdout).lines().nth(1).expect("a line").trim().parse().expect("bytes");
    assert_eq!(of(host, "etcd_monitor_host_disk_size_bytes"), Some(size), "{host:?}");
    let memory = std::fs::read_to_string("/proc/meminfo").expect("Linux");
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).expect("a line");
    let total: f64 = total.trim().trim_end_matches(" kB").parse().expect("kB");
    assert_eq!(of(host, "etcd_monitor_host_memory_size_bytes"), Some(total * 1_024.0));
    // They are series of the member.
    let series = derived::derived(&reading);
    let cpus = series.iter().find(|(_, (labels, _))| labels.metric_name() == "etcd_monitor_host_cpus");
    assert_eq!(cpus.and_then(|(at, _)| at.clone()), Some(reading.members[0].instance.clone()));

    // Processors that work are seen to.
    let busy = |reading: &Reading| {
        let busy = reading.members[0].host.iter().find(|(labels, _)| labels.get("mode") == Some("busy"));
        busy.map_or(0.0, |(_, seconds)| *seconds)
    };
    let before = busy(&reading);
    let work = std::thread::spawn(|| (0..200_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
    read_until(&prober, SCRAPE, "processor time", |reading| busy(reading) >= before + 0.2).await;
    work.join().expect("it ends");
}

/// A real node exporter, ended when dropped.
struct NodeExporter(Child, u16);

impl NodeExporter {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let mut command = Command::new("prometheus-node-exporter");
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(process.expect("prometheus-node-exporter is missing: run `make test-deps`"), port)
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_exporter_is_scraped_with_its_member_and_its_end_is_told() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let exporter = NodeExporter::start();
    let mut config = cluster.config();
    config.node_exporter_urls = vec![format!("http://{{host}}:{}/metrics", exporter.1)];
    let prober = Prober::new(&config, None, &ScrapeConfig::default()).expect("prober");
    let node = |member: &MemberReading| member.node.clone();
    let reading = read_until(&prober, SCRAPE, "the node exporter", |r| node(&r.members[0]).is_some()).await;
    assert!(reading.members[0].host.is_empty(), "nobody asked for this machine");
    let node = node(&reading.members[0]).expect("some");
    let memory = node.samples.iter().find(|(labels, _)| labels.metric_name() == "node_memory_MemTotal_bytes");
    let (labels, value) = memory.expect("a family that is used");
    assert_eq!(labels.get("job"), Some("node"));
    assert!(value > 1e6);
    // What nobody reads is not kept.
    assert!(node.samples.iter().all(|(labels, _)| !labels.metric_name().starts_with("node_sockstat")));
    assert!(node.samples.len() < 500, "{}", node.samples.len());

    drop(exporter);
    let refused = |r: &Reading| {
        let of_node =
            |member: &MemberReading| member.errors.iter().any(|error| error.during == "node-exporter");
        r.members.iter().all(|member| of_node(member) && member.node.is_none() && member.reachable())
    };
    read_until(&prober, SCRAPE, "that nobody answers", refused).await;
    tokio::time::timeout(Duration::from_secs(30), prober.read(9_000, Parts::ALL)).await.expect("no hang");
}
