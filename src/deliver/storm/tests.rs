use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use proptest::prelude::*;

use super::*;
use crate::alert::{AlertConfig, Kind, Routes, StormConfig};
use crate::deliver::{Channel, Message, Reference, SendError};
use crate::model::{Finding, FindingState, Labels};
use crate::rules::{Completeness, Evaluation, RuleGroup, Scope, parse};
use crate::store::{Store, Writer};

const START_MS: i64 = 1_764_000_000_000;
const MINUTE_MS: i64 = 60_000;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Mood {
    #[default]
    Works,
    Fails,
    /// Takes messages of one group only.
    RefusesStorms,
}

/// A message that was taken: its kind, subject, and of each incident whether it goes on.
type Taken = (Kind, String, Vec<(String, u64, bool)>);

#[derive(Default)]
struct Reader {
    mood: Mutex<Mood>,
    taken: Mutex<Vec<Taken>>,
}

impl Channel for Reader {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        async move {
            match *lock(&self.mood) {
                Mood::Works => {}
                Mood::RefusesStorms if message.group.kind != Kind::Storm => {}
                Mood::RefusesStorms => return Err(SendError::Permanent { reason: "too long".to_owned() }),
                Mood::Fails => return Err(SendError::transient("down".to_owned())),
            }
            let incidents = message.group.incidents.iter();
            let states = incidents.map(|i| (i.fingerprint.clone(), i.episode, i.state.is_active())).collect();
            lock(&self.taken).push((message.group.kind, message.subject(), states));
            Ok(None)
        }
        .boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

impl Reader {
    fn kinds(&self) -> Vec<Kind> {
        lock(&self.taken).iter().map(|(kind, _, _)| *kind).collect()
    }

    fn told(&self) -> BTreeSet<(String, u64, bool)> {
        lock(&self.taken).iter().flat_map(|(_, _, states)| states.clone()).collect()
    }
}

struct World {
    store: Store,
    channels: BTreeMap<String, Arc<Reader>>,
    deliverer: Deliverer,
    rules: RuleGroup,
}

impl World {
    fn new(names: &[&str], alert: &str, cap: usize) -> Self {
        let channels: BTreeMap<String, Arc<Reader>> =
            names.iter().map(|name| ((*name).to_owned(), Arc::default())).collect();
        let config: AlertConfig = toml::from_str(alert).expect("valid");
        let names: Vec<String> = channels.keys().cloned().collect();
        let routes = Routes::new(&config, &names).expect("valid");
        let text = "groups:\n- name: g\n  rules:\n  - {alert: EtcdMemberDown, expr: up == 0}\n";
        let rules = parse("g.yaml", text).expect("valid").remove(0);
        let store = Store::in_memory();
        let deliverer = Self::process(&store, &channels, &routes, cap, 1);
        Self { store, channels, deliverer, rules }
    }

    fn process(
        store: &Store,
        channels: &BTreeMap<String, Arc<Reader>>,
        routes: &Routes,
        messages: usize,
        id: u128,
    ) -> Deliverer {
        let ways =
            channels.iter().map(|(name, reader)| (name.clone(), Arc::clone(reader) as Arc<dyn Channel>));
        let writer = Writer::new(START_MS, id);
        let config = StormConfig { messages, ..StormConfig::default() };
        Deliverer::new(store.clone(), writer, ways.collect(), routes.clone()).with_storm_cap(config)
    }

    /// These clusters have an alert that fires, the others are not configured; everything due is sent.
    async fn holds(&self, clusters: impl Iterator<Item = usize> + Clone, now_ms: i64) -> SweepReport {
        let finding = |n: usize| Finding {
            group: "g".to_owned(),
            alert: "EtcdMemberDown".to_owned(),
            labels: labels(n),
            annotations: BTreeMap::new(),
            value: 0.0,
            state: FindingState::Firing,
            active_since_ms: now_ms,
        };
        let scope: Scope =
            clusters.clone().map(|n| (format!("prod-{n}").parse().expect("a name"), None)).collect();
        let evaluation = Evaluation { findings: clusters.map(finding).collect(), ..Evaluation::default() };
        let seen = Completeness::default();
        self.deliverer.commit(&self.rules, &evaluation, &seen, &scope, now_ms).await;
        self.deliverer.sweep(now_ms).await
    }
}

fn labels(n: usize) -> Labels {
    let severity = if n.is_multiple_of(3) { "critical" } else { "warning" };
    Labels::from_pairs([
        ("alertname", "EtcdMemberDown"),
        ("cluster", format!("prod-{n}").as_str()),
        ("severity", severity),
    ])
}

#[tokio::test(start_paused = true)]
async fn beyond_the_cap_one_message_names_the_rest_and_their_ends() {
    let world = World::new(&["mail"], "", 5);
    let mail = &world.channels["mail"];
    let report = world.holds(0..30, START_MS).await;
    assert_eq!((report.accepted.len(), report.undelivered), (30, 0), "{report:?}");
    assert_eq!(mail.kinds(), [vec![Kind::Firing; 5], vec![Kind::Storm]].concat());
    let (_, subject, states) = lock(&mail.taken)[5].clone();
    assert_eq!(subject, "[STORM] 25 alerts in 25 clusters (critical)");
    assert_eq!(states.len(), 25);
    let first: Vec<String> =
        lock(&mail.taken).iter().take(5).map(|(_, subject, _)| subject.clone()).collect();
    assert!(first.iter().all(|subject| subject.contains("critical")), "the urgent ones first: {first:?}");

    assert!(world.holds(0..30, START_MS + 1_000).await.accepted.is_empty(), "told once");
    let report = world.holds(0..0, START_MS + 2 * MINUTE_MS).await;
    assert_eq!((report.accepted.len(), report.undelivered), (30, 0), "{report:?}");
    assert_eq!(lock(&mail.taken)[6].1, "[STORM] 30 resolved alerts in 30 clusters (critical)");
    assert_eq!(mail.told().len(), 60, "each beginning and each end");

    // The window is over: one message each again.
    assert_eq!(world.holds(0..3, START_MS + 20 * MINUTE_MS).await.accepted.len(), 3);
    assert_eq!(mail.kinds().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_second_storm_soon_after_waits_and_what_is_critical_waits_less() {
    let world = World::new(&["mail"], "", 2);
    let mail = &world.channels["mail"];
    world.holds(0..10, START_MS).await;
    let storms = || mail.kinds().iter().filter(|kind| **kind == Kind::Storm).count();
    assert_eq!(storms(), 1);
    let report = world.holds(0..16, START_MS + 14_000).await;
    assert_eq!((storms(), report.undelivered), (1, 6), "{report:?}");
    assert_eq!(world.holds(0..16, START_MS + 15_000).await.undelivered, 0);
    assert_eq!(storms(), 2);
    // Ends are not urgent.
    assert_eq!(world.holds(0..2, START_MS + 74_000).await.undelivered, 14);
    assert_eq!(world.holds(0..2, START_MS + 75_000).await.undelivered, 0);
    assert_eq!((storms(), mail.told().len()), (3, 16 + 14));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_down_or_refuses_the_common_message_loses_nothing() {
    let route = "[[route]]\nchannels = ['mail']\nfailover = ['pager']";
    let world = World::new(&["mail", "pager"], route, 2);
    let (mail, pager) = (&world.channels["mail"], &world.channels["pager"]);
    *lock(&mail.mood) = Mood::Fails;
    world.holds(0..12, START_MS).await;
    let critical = (0..12).filter(|n| n % 3 == 0).map(|n| (labels(n).fingerprint(), 1, true));
    assert_eq!(pager.told(), critical.collect(), "the critical ones went the other way");
    assert!(mail.told().is_empty());
    *lock(&mail.mood) = Mood::RefusesStorms;
    world.holds(0..12, START_MS + 5 * MINUTE_MS).await;
    assert_eq!(mail.told().len(), 12, "for themselves they were taken");
    assert!(!mail.kinds().contains(&Kind::Storm));
}

#[tokio::test(start_paused = true)]
async fn without_a_cap_or_where_each_stands_for_itself_nothing_is_joined() {
    let world = World::new(&["mail"], "", 0);
    assert_eq!(world.holds(0..200, START_MS).await.accepted.len(), 200);
    assert_eq!(world.channels["mail"].kinds(), vec![Kind::Firing; 200]);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes and goes, whichever channel fails, and however often a process begins anew: in the end
    /// each channel has been told of everything that fires, and that all is over of which it was told.
    #[test]
    fn no_incident_stays_untold(
        steps in prop::collection::vec((0_usize..40, 0_usize..40, 0_u8..4, 0_u8..4, any::<bool>(), 1_i64..180), 1..12),
        cap in 1_usize..6,
    ) {
        runtime().block_on(async {
            let route = "[[route]]\nchannels = ['mail', 'pager']\ngroup-interval = '0'\nrepeat-interval = '10y'";
            let mut world = World::new(&["mail", "pager"], route, cap);
            let config: AlertConfig = toml::from_str(route).expect("valid");
            let names: Vec<String> = world.channels.keys().cloned().collect();
            let routes = Routes::new(&config, &names).expect("valid");
            let mood = |n: u8| [Mood::Works, Mood::Works, Mood::Fails, Mood::RefusesStorms][usize::from(n)];
            let (mut now_ms, mut holding, mut id) = (START_MS, 0..0, 1);
            for (from, many, mail, pager, begins, seconds) in steps {
                now_ms += seconds * 1000;
                holding = from..from + many;
                *lock(&world.channels["mail"].mood) = mood(mail);
                *lock(&world.channels["pager"].mood) = mood(pager);
                world.holds(holding.clone(), now_ms).await;
                if begins {
                    id += 1;
                    world.deliverer = World::process(&world.store, &world.channels, &routes, cap, id);
                }
            }
            for reader in world.channels.values() {
                *lock(&reader.mood) = Mood::Works;
            }
            for _ in 0..12 {
                now_ms += 10 * MINUTE_MS;
                world.holds(holding.clone(), now_ms).await;
            }
            for (name, reader) in &world.channels {
                let mut last: BTreeMap<String, (u64, bool)> = BTreeMap::new();
                for (_, _, states) in lock(&reader.taken).iter() {
                    for (fingerprint, episode, fires) in states {
                        let there = last.entry(fingerprint.clone()).or_default();
                        // Of each group the transitions come in order.
                        assert!(*episode >= there.0, "{name}: an older episode after a newer one");
                        *there = (*episode, *fires);
                    }
                }
                let firing: BTreeSet<String> =
                    last.into_iter().filter(|(_, (_, fires))| *fires).map(|(fingerprint, _)| fingerprint).collect();
                let expected: BTreeSet<String> = holding.clone().map(|n| labels(n).fingerprint()).collect();
                assert_eq!(firing, expected, "{name}");
            }
        });
    }
}
