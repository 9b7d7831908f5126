//! Who is a member, and as what: seen by polls and by inspections alike.

use std::time::{Duration, Instant};

use etcd_monitor::inspect::{Inspection, Inspector, changes};
use etcd_monitor::model::{Event, EventKind, Reading};
use etcd_monitor::probe::{Known, Parts, Prober, ScrapeConfig};

use crate::etcd_cluster::{EtcdCluster, Options, Version};

struct Polls {
    prober: Prober,
    known: Known,
    now_ms: i64,
    events: Vec<Event>,
}

const PARTS: Parts = Parts {
    status: true,
    quorum_read: false,
    scrape: false,
    member_list: true,
    alarms: false,
    health: false,
    patience: None,
};

impl Polls {
    async fn start(cluster: &EtcdCluster) -> Self {
        let prober = Prober::new(&cluster.config(), None, &ScrapeConfig::default()).expect("prober");
        let known = Known::new(&prober.read(0, PARTS).await);
        Self { prober, known, now_ms: 0, events: Vec::new() }
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Reading, &[Event]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.now_ms += 2_000;
            let reading = self.prober.read(self.now_ms, PARTS).await;
            self.events.extend(self.known.observe(&reading));
            if done(&reading, &self.events) {
                return;
            }
            assert!(Instant::now() < deadline, "not seen: {what}; {:#?}\n{reading:#?}", self.events);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn of(&self, kind: EventKind) -> Vec<&Event> {
        self.events.iter().filter(|event| event.kind == kind).collect()
    }
}

async fn inspect(cluster: &EtcdCluster) -> Inspection {
    let inspector = Inspector::find(&cluster.config(), None, None).await.expect("found");
    inspector.inspect(1_000, true, None).await
}

fn ids(events: &[&Event]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

/// A learner refuses to list members and to hash; 3.4 and 3.5 word it alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_learner_is_added_looked_at_and_promoted() {
    for version in [Version::V3_5_30, Version::V3_4] {
        let mut cluster = EtcdCluster::start(1, Options { version, ..Options::default() }).await;
        let mut client = cluster.client().await;
        client.put("a", "b", None).await.expect("put");
        let mut polls = Polls::start(&cluster).await;
        let (at, id) = cluster.join_learner().await;
        let name = format!("m{at}");
        let answers = |reading: &Reading| {
            let learner = reading.members.iter().find(|member| member.name.as_deref() == Some(&name));
            learner.is_some_and(|member| member.status.is_some() && member.is_learner == Some(true))
        };
        polls.until("the learner", |reading, _| answers(reading)).await;
        assert_eq!(polls.of(EventKind::MemberAdded).len(), 1, "{:#?}", polls.events);
        assert_eq!(polls.of(EventKind::ConfigChanged).len(), 0, "it only started: {:#?}", polls.events);

        let before = inspect(&cluster).await;
        assert!(!before.found_something(), "{before:#?}");
        assert_eq!(before.problems(), Vec::<String>::new(), "a learner need not answer");
        assert_eq!(before.lists.lists.first().map(|(_, list)| list.len()), Some(2), "{before:#?}");

        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = client.member_promote(id).await {
            assert!(Instant::now() < deadline, "not promoted: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        polls
            .until("the promotion", |_, events| events.iter().any(|e| e.kind == EventKind::MemberPromoted))
            .await;
        let after = inspect(&cluster).await;
        let told = changes(&before, &after);
        let promoted: Vec<&Event> =
            told.iter().filter(|event| event.kind == EventKind::MemberPromoted).collect();
        assert_eq!(ids(&promoted), ids(&polls.of(EventKind::MemberPromoted)), "one event, whoever saw it");
    }
}
