//! Members that cannot reach each other, though the monitor reaches all of them: who does not hear whom.

use std::time::{Duration, Instant};

use etcd_monitor::model::{EventKind, Instance, Reading, Structure};
use etcd_monitor::probe::{Known, Parts, Prober, ScrapeConfig};

use crate::etcd_cluster::{EtcdCluster, Options, Version};

/// Reads as `watch` does, only that members are scraped every 9 s.
struct Reader {
    prober: Prober,
    known: Option<Known>,
    began: Instant,
    scraped: Option<Instant>,
    events: Vec<(EventKind, String)>,
}

impl Reader {
    fn new(cluster: &EtcdCluster) -> Self {
        let prober = Prober::new(&cluster.config(), None, &ScrapeConfig::default()).expect("prober");
        Self { prober, known: None, began: Instant::now(), scraped: None, events: Vec::new() }
    }

    async fn read(&mut self) -> Reading {
        let scrape = self.scraped.is_none_or(|at| at.elapsed() > Duration::from_secs(9));
        if scrape {
            self.scraped = Some(Instant::now());
        }
        let now_ms = i64::try_from(self.began.elapsed().as_millis()).expect("short");
        let reading = self.prober.read(now_ms, Parts { status: true, scrape, ..Parts::default() }).await;
        match &mut self.known {
            Some(known) => {
                let events = known.observe(&reading);
                self.events.extend(events.into_iter().map(|event| (event.kind, event.text)));
            }
            None => self.known = Some(Known::new(&reading)),
        }
        reading
    }

    /// Reads until the members hear each other as `expected` says.
    async fn until(&mut self, what: &str, expected: impl Fn(&Structure) -> bool) -> Structure {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let reading = self.read().await;
            let found = Structure::of(&reading.rows());
            let known = reading.members.iter().filter(|member| !member.hears.is_empty()).count();
            if known >= 2 && expected(&found) {
                println!("{what}: {:.0} s after the first reading", self.began.elapsed().as_secs_f64());
                return found;
            }
            assert!(Instant::now() < deadline, "not seen: {what}; {found:#?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

fn whole(found: &Structure) -> bool {
    found.cuts.is_empty() && found.sides.len() == 1 && found.margin == 1
}

/// 3.5.30 calls its peers active for minutes after their packets are lost; 3.4 notices in seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_network_is_seen_with_its_shape_and_its_end() {
    tokio::join!(cut_and_heal(Version::V3_5_30), cut_and_heal(Version::V3_4));
}

async fn cut_and_heal(version: Version) {
    let cluster = EtcdCluster::start(3, Options { version, hosts: true, ..Options::default() }).await;
    let instance = |i: usize| -> Instance { cluster.instance(i).parse().expect("an instance") };
    let mut reader = Reader::new(&cluster);
    reader.until("whole", whole).await;

    // The leader alone: the others elect one of themselves.
    let alone = cluster.leader().await;
    let others: Vec<usize> = (0..3).filter(|i| *i != alone).collect();
    for other in &others {
        cluster.network().cut(alone, *other);
    }
    let cut = reader.until("cut in two", |found| found.sides.len() == 2).await;
    assert_eq!(cut.sides, [others.iter().map(|i| instance(*i)).collect(), vec![instance(alone)]]);
    assert_eq!(cut.margin, 0, "two of three still follow one leader: {cut:?}");
    cluster.network().heal();
    reader.until("whole again", whole).await;

    // One link of the leader, one way: its follower does not hear it, and stands alone.
    let leader = cluster.leader().await;
    let deaf = (0..3).find(|i| *i != leader).expect("three");
    cluster.network().lose(leader, deaf);
    let cut = reader.until("one way", |found| !found.cuts.is_empty()).await;
    assert!(cut.cuts.contains(&(instance(deaf), instance(leader))), "{cut:?}");
    assert_eq!(cut.sides.len(), 1, "the third hears both: {cut:?}");
    cluster.network().heal();
    reader.until("whole at last", whole).await;

    let kinds: Vec<EventKind> = reader.events.iter().map(|(kind, _)| *kind).collect();
    let count = |kind: EventKind| kinds.iter().filter(|other| **other == kind).count();
    assert!(count(EventKind::PartitionStarted) >= 2, "{:?}", reader.events);
    assert_eq!(count(EventKind::PartitionEnded), 2, "{:?}", reader.events);
    assert_eq!(count(EventKind::MemberUnreachable), 0, "the monitor reached all: {:?}", reader.events);
}
