//! Escalation with several deliverers over one store that fails, and channels that do: by a seed. Each level is told
//! in one transition, in its time, and never once somebody has the incident in hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_monitor::alert::{AlertConfig, Group, Kind, Routes};
use etcd_monitor::deliver::{Channel, Deliverer, Message, Person, Reference, SendError};
use etcd_monitor::rules::{Completeness, Evaluation, RuleGroup, Scope, parse};
use etcd_monitor::store::key::Prefix;
use etcd_monitor::store::{Store, Writer, sequence};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::simulation::faults::{Faulty, Rng, Weather};
use super::{START_MS, Story};

const STEP_MS: i64 = 30_000;
const MINUTE_MS: i64 = 60_000;
const CHANNELS: [&str; 3] = ["mail", "pager", "boss"];
const ROUTE: &str = "[[route]]\nchannels = ['mail']\nrepeat-interval = '10y'\n\
    [[route.escalation]]\nafter = '15m'\nchannels = ['pager']\n\
    [[route.escalation]]\nafter = '30m'\nchannels = ['boss']";

/// Takes or fails as told; remembers subject, key and when.
#[derive(Default)]
struct Reader {
    fails: Mutex<bool>,
    taken: Mutex<Vec<(String, String, i64)>>,
}

impl Channel for Reader {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        async move {
            if *self.fails.lock().expect("no panic") {
                return Err(SendError::Transient { reason: "down".to_owned(), retry_after: None });
            }
            let taken = (message.subject(), message.idempotency_key.to_owned(), message.sent_ms);
            self.taken.lock().expect("no panic").push(taken);
            Ok(None)
        }
        .boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(2)
    }
}

struct World {
    rng: Rng,
    store: Store,
    weather: Arc<Weather>,
    channels: BTreeMap<String, Arc<Reader>>,
    rules: RuleGroup,
    processes: Vec<Deliverer>,
    begun: u128,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let weather = Arc::new(Weather::default());
        let store = Store::over(Arc::new(Faulty::new(rng.next(), Arc::clone(&weather))), "memory://faulty");
        let channels = CHANNELS.iter().map(|name| ((*name).to_owned(), Arc::default())).collect();
        let text = "groups:\n- name: g\n  rules:\n  - {alert: EtcdMemberDown, expr: up == 0}\n";
        let rules = parse("g.yaml", text).expect("valid").remove(0);
        let mut world = Self { rng, store, weather, channels, rules, processes: Vec::new(), begun: 0 };
        world.processes = (0..3).map(|_| world.process()).collect();
        world
    }

    fn process(&mut self) -> Deliverer {
        self.begun += 1;
        let config: AlertConfig = toml::from_str(ROUTE).expect("valid");
        let routes = Routes::new(&config, &CHANNELS.map(str::to_owned)).expect("valid");
        let ways =
            self.channels.iter().map(|(name, way)| (name.clone(), Arc::clone(way) as Arc<dyn Channel>));
        Deliverer::new(self.store.clone(), Writer::new(START_MS, self.begun), ways.collect(), routes)
    }

    /// Some of the processes see that the member is still down, and sweep.
    async fn step(&mut self, now_ms: i64) {
        let labels = [("alertname", "EtcdMemberDown"), ("cluster", "prod-eu-1"), ("severity", "critical")];
        let findings = vec![Story::finding(&labels, "down")];
        let evaluation = Evaluation { findings, ..Evaluation::default() };
        let scope = Scope::from([("prod-eu-1".parse().expect("a name"), None)]);
        let mask = 1 + self.rng.below(7);
        let acting = self.processes.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1);
        let work = acting.map(|(_, process)| async {
            process.commit(&self.rules, &evaluation, &Completeness::default(), &scope, now_ms).await;
            process.sweep(now_ms).await;
        });
        futures::future::join_all(work).await;
        if self.rng.below(10) == 0 {
            let n = self.rng.below(3);
            self.processes[n] = self.process();
        }
    }

    async fn transitions(&self) -> Vec<Group> {
        let newest = sequence::all_latest::<Group>(&self.store, &Prefix::groups()).await.expect("reads");
        let mut all = Vec::new();
        for (sequence, newest, _) in newest {
            for number in 1..=newest {
                all.push(
                    sequence::at(&self.store, &sequence, number).await.expect("reads").expect("no hole"),
                );
            }
        }
        all
    }
}

/// Acknowledged after `ack` steps of half a minute, if at all.
async fn story(seed: u64) {
    let mut world = World::new(seed);
    let ack = world.rng.below(120);
    let acked_ms = START_MS + i64::try_from(ack).expect("small") * STEP_MS;
    let mut has_it = false;
    for step in 0..100 {
        let now_ms = START_MS + step * STEP_MS;
        let calm = seed.is_multiple_of(3) || step > 80;
        world.weather.set(if calm { 0 } else { 10 }, false);
        for name in CHANNELS {
            let fails = !calm && world.rng.below(4) == 0;
            *world.channels[name].fails.lock().expect("no panic") = fails;
        }
        if now_ms >= acked_ms && !has_it {
            let done = world.processes[0].by_person("", Person::Acknowledges, "ann", now_ms).await;
            has_it = done.is_ok_and(|incident| incident.is_some());
        }
        world.step(now_ms).await;
    }
    let transitions = world.transitions().await;
    let escalated: Vec<&Group> = transitions.iter().filter(|group| group.kind == Kind::Escalated).collect();
    for (n, group) in escalated.iter().enumerate() {
        let after_ms = group.changed_ms - START_MS;
        let due_ms = [15, 30][n] * MINUTE_MS;
        assert!(after_ms >= due_ms, "level {n} after {after_ms} ms");
        assert!(!calm_seed(seed) || after_ms <= due_ms + 4 * STEP_MS, "level {n} late: {after_ms} ms");
        assert_eq!(group.level, n + 1, "each level once");
        // An acknowledgement that another process has not read yet may be overtaken by a level, not by two.
        assert!(group.changed_ms <= acked_ms + STEP_MS, "after somebody took it on");
    }
    if acked_ms > START_MS + 36 * MINUTE_MS && calm_seed(seed) {
        assert_eq!(escalated.len(), 2, "nobody took it on in time");
    }
    for (n, name) in ["pager", "boss"].into_iter().enumerate() {
        let taken = world.channels[name].taken.lock().expect("no panic").clone();
        let mut keys: Vec<&String> = taken.iter().map(|(_, key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        // What cannot be committed is told all the same, so a failing store may make two messages of one level.
        let expected = usize::from(escalated.len() > n);
        assert!(keys.len() >= expected, "{name}: a level that nobody was told of");
        assert!(!calm_seed(seed) || keys.len() == expected, "{name}: {taken:?}");
        for (subject, _, _) in &taken {
            let said = format!(
                "[ESCALATED:1] EtcdMemberDown prod-eu-1 (critical) level {}: not acknowledged for",
                n + 2
            );
            assert!(subject.starts_with(&said), "{subject}");
        }
    }
}

fn calm_seed(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

#[test]
fn each_level_is_told_once_and_an_acknowledgement_ends_it() {
    for seed in 1..=90 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let ran = std::panic::catch_unwind(move || runtime.block_on(story(seed)));
        assert!(ran.is_ok(), "seed {seed} fails");
    }
}
