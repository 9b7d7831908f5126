//! Scrapes members into a store with the library's own `watch`: connection, parser, head, buffer, segments.
//! Nothing but `/metrics` is asked, as by Prometheus.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use etcd_monitor::etcd::ClusterConfig;
use etcd_monitor::model::ClusterName;
use etcd_monitor::model::unit::ConfigDuration;
use etcd_monitor::probe::{Parts, Prober, ScrapeConfig};
use etcd_monitor::rules;
use etcd_monitor::store::{Store, StoreConfig, Writer};
use etcd_monitor::watch::{Buffer, ClusterWatch, Head, WatchConfig};

use crate::replay::address;

pub struct Plan {
    pub port: u16,
    pub targets: usize,
    pub interval_ms: i64,
    /// Not measured.
    pub warm_seconds: u64,
    /// Measured, after those.
    pub seconds: u64,
}

/// As the daemon with a store in a folder.
const FLUSH_EVERY: Duration = Duration::from_secs(15);
const MEMBERS_PER_CLUSTER: usize = 3;
const SCRAPE: Parts = Parts {
    status: false,
    quorum_read: false,
    scrape: true,
    member_list: false,
    alarms: false,
    health: false,
    patience: None,
};

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

pub async fn open(dir: &Path) -> Store {
    let config = StoreConfig { url: dir.display().to_string(), ..StoreConfig::default() };
    Store::open(&config, &|_| None).await.unwrap()
}

pub fn run(plan: &Plan, dir: &Path) {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    crate::block_on(scrape(plan, dir));
}

fn clusters(plan: &Plan, config: &WatchConfig) -> Vec<ClusterWatch> {
    let numbers: Vec<usize> = (0..plan.targets).collect();
    let pool = Arc::default();
    let watch = |(n, members): (usize, &[usize])| {
        let name = format!("c{n}").parse::<ClusterName>().unwrap();
        let endpoints = members.iter().map(|n| format!("http://{}", address(*n, plan.port))).collect();
        let cluster = ClusterConfig::plain(name.clone(), endpoints);
        let prober = |cluster| Prober::sharing(cluster, None, &ScrapeConfig::default(), &pool).unwrap();
        ClusterWatch::new(name, Box::new(prober(&cluster)), config)
    };
    numbers.chunks(MEMBERS_PER_CLUSTER).enumerate().map(watch).collect()
}

async fn scrape(plan: &Plan, dir: &Path) {
    let every = Duration::from_millis(u64::try_from(plan.interval_ms).unwrap());
    let config = WatchConfig {
        status_interval: ConfigDuration(every),
        scrape_interval: ConfigDuration(every),
        ..WatchConfig::default()
    };
    let clusters = clusters(plan, &config);
    let wanted = rules::selections(&rules::default_pack().unwrap(), 0, plan.interval_ms);
    let max_bytes = usize::try_from(config.head_max_bytes.0).unwrap();
    let head = Arc::new(Head::new(clusters.iter().map(|c| c.name().clone()), wanted, max_bytes));
    let buffer = Arc::new(Buffer::default());
    let store = open(dir).await;
    let writer = Writer::new(now_ms(), 1);
    let (began, scraped) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let measured = plan.warm_seconds..plan.warm_seconds + plan.seconds;
    for (n, mut cluster) in clusters.into_iter().enumerate() {
        let (head, buffer, scraped) = (Arc::clone(&head), Arc::clone(&buffer), Arc::clone(&scraped));
        let measured = measured.clone();
        // Spread over the interval, as Prometheus does.
        let offset =
            every * u32::try_from(n * MEMBERS_PER_CLUSTER).unwrap() / u32::try_from(plan.targets).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(offset).await;
            let mut ticks = tokio::time::interval(every);
            loop {
                ticks.tick().await;
                let reading = cluster.ask(now_ms(), SCRAPE, &head, &buffer).await.reading;
                if measured.contains(&began.elapsed().as_secs()) {
                    let scrapes = reading.members.iter().filter_map(|member| member.scrape.as_ref());
                    let samples: usize = scrapes.map(|scrape| scrape.samples.len()).sum();
                    scraped.fetch_add(samples as u64, Ordering::Relaxed);
                }
            }
        });
    }
    let mut written = 0;
    while began.elapsed().as_secs() <= measured.end {
        tokio::time::sleep(FLUSH_EVERY).await;
        written += buffer.flush(&store, &writer, now_ms()).await.unwrap().samples;
    }
    let stats = head.stats();
    println!(
        "scraped={} written={written} series={} refused={} head_bytes={}",
        scraped.load(Ordering::Relaxed),
        stats.series,
        stats.refused_series,
        stats.bytes
    );
}
