//! Three deliverers over one store, everything decided by a seed: alerts come and go, channels and the store
//! fail before or after the deed, listings are old, clocks jump, processes die at any await. What must hold holds for every seed; a failing
//! one is printed and repeats itself. `ETCD_MONITOR_SOAK_SEEDS` asks for more of them.

pub mod faults;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use etcd_monitor::alert::{AlertConfig, Group, Routes};
use etcd_monitor::deliver::{Channel, Deliverer, Message, Reference, SendError};
use etcd_monitor::model::{Finding, FindingState, Incident, Labels};
use etcd_monitor::rules::{Completeness, Evaluation, RuleGroup, Scope, parse};
use etcd_monitor::store::key::{self, Prefix};
use etcd_monitor::store::{Store, Writer, sequence};
use futures::FutureExt;
use futures::future::BoxFuture;

use self::faults::{Faulty, Rng, Weather};
use super::START_MS;

const ALERTS: usize = 3;
const PROCESSES: usize = 3;
const CHANNELS: [&str; 2] = ["mail", "pager"];
/// Steps of chaos, then of calm, with which everything must be made up for.
const STORMY_STEPS: usize = 50;
const CALM_STEPS: usize = 40;

/// How a channel answers now.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Works,
    Fails,
    /// Takes the message and does not answer.
    TakesAndHangs,
}

struct Receiver {
    mood: Mutex<Mood>,
    /// In order.
    taken: Mutex<Vec<Taken>>,
}

/// A message that a channel took.
#[derive(Debug, Clone)]
struct Taken {
    group: String,
    number: u64,
    idempotency_key: String,
    /// Whether the sender heard that it was taken.
    answered: bool,
}

impl Receiver {
    fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    fn taken(&self) -> Vec<Taken> {
        self.taken.lock().expect("no panic").clone()
    }
}

impl Channel for Receiver {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        async move {
            tokio::task::yield_now().await;
            let mood = *self.mood.lock().expect("no panic");
            if mood == Mood::Fails {
                return Err(SendError::Transient { reason: "down".to_owned(), retry_after: None });
            }
            let taken = Taken {
                group: message.group.key.clone(),
                number: message.group.number,
                idempotency_key: message.idempotency_key.to_owned(),
                answered: mood == Mood::Works,
            };
            self.taken.lock().expect("no panic").push(taken);
            match mood {
                Mood::TakesAndHangs => futures::future::pending().await,
                _ => Ok(None),
            }
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
    channels: BTreeMap<String, Arc<Receiver>>,
    routes: Routes,
    rules: RuleGroup,
    processes: Vec<Deliverer>,
    /// Processes begun so far: each may send a notification once at most.
    lives: AtomicUsize,
    /// How far each process' clock is off.
    skew_ms: [i64; PROCESSES],
    /// Which alerts hold.
    truth: [bool; ALERTS],
    now_ms: i64,
}

fn cluster(alert: usize) -> String {
    format!("prod-{alert}")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let weather = Arc::new(Weather::default());
        let store = Store::over(Arc::new(Faulty::new(rng.next(), Arc::clone(&weather))), "memory://faulty");
        let receiver = || Arc::new(Receiver { mood: Mutex::new(Mood::Works), taken: Mutex::default() });
        let channels: BTreeMap<_, _> = CHANNELS.iter().map(|name| ((*name).to_owned(), receiver())).collect();
        // All alerts told together, or each for itself.
        let by = if rng.below(2) == 0 { "['severity']" } else { "['alertname', 'cluster']" };
        let config =
            format!("[[route]]\nchannels = ['mail', 'pager']\ngroup-by = {by}\ngroup-interval = '1m'");
        let config: AlertConfig = toml::from_str(&config).expect("valid");
        let routes = Routes::new(&config, &CHANNELS.map(str::to_owned)).expect("valid");
        let rules = "groups:\n- name: g\n  rules:\n  - {alert: EtcdMemberDown, expr: up == 0}\n";
        let rules = parse("g.yaml", rules).expect("valid").remove(0);
        let (processes, lives) = (Vec::new(), AtomicUsize::new(0));
        let mut world = Self {
            rng,
            store,
            weather,
            channels,
            routes,
            rules,
            processes,
            lives,
            skew_ms: [0; PROCESSES],
            truth: [false; ALERTS],
            now_ms: START_MS,
        };
        world.processes = (0..PROCESSES).map(|_| world.process()).collect();
        world
    }

    fn process(&self) -> Deliverer {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let writer = Writer::new(START_MS, u128::try_from(life).expect("few") + 1);
        let channels = self
            .channels
            .iter()
            .map(|(name, receiver)| (name.clone(), Arc::clone(receiver) as Arc<dyn Channel>));
        Deliverer::new(self.store.clone(), writer, channels.collect(), self.routes.clone())
    }

    fn evaluation(&self) -> (Evaluation, Scope) {
        let holding = || (0..ALERTS).filter(|alert| self.truth[*alert]);
        let findings = holding().map(|alert| Finding {
            group: "g".to_owned(),
            alert: "EtcdMemberDown".to_owned(),
            labels: Labels::from_pairs([
                ("alertname", "EtcdMemberDown"),
                ("cluster", cluster(alert).as_str()),
                ("severity", "critical"),
            ]),
            annotations: BTreeMap::new(),
            value: 0.0,
            state: FindingState::Firing,
            active_since_ms: self.now_ms,
        });
        // An alert ends by its cluster's removal: the one end that needs no samples.
        let scope = holding().map(|alert| (cluster(alert).parse().expect("a name"), None)).collect();
        (Evaluation { findings: findings.collect(), ..Evaluation::default() }, scope)
    }

    /// What process `n` does in one step; `false` when it died after `polls` of it.
    async fn live(&self, n: usize, polls: Option<usize>) -> bool {
        let (evaluation, scope) = self.evaluation();
        let process = &self.processes[n];
        let now_ms = self.now_ms + self.skew_ms[n];
        let work = async {
            let seen = Completeness::default();
            process.commit(&self.rules, &evaluation, &seen, &scope, now_ms).await;
            // The loop's sweep and the job's.
            tokio::join!(process.sweep(now_ms), process.sweep(now_ms));
        };
        let mut work = pin!(work);
        let mut left = polls;
        futures::future::poll_fn(|context| {
            if left == Some(0) {
                return Poll::Ready(false);
            }
            left = left.map(|left| left - 1);
            work.as_mut().poll(context).map(|()| true)
        })
        .await
    }

    async fn step(&mut self, crashes: bool) {
        self.now_ms += 1_000 + i64::try_from(self.rng.below(59_000)).expect("small");
        let mut dies_after = || (crashes && self.rng.below(4) == 0).then(|| self.rng.below(60));
        let dies: Vec<Option<usize>> = (0..PROCESSES).map(|_| dies_after()).collect();
        let mask = 1 + self.rng.below((1 << PROCESSES) - 1);
        let acting = (0..PROCESSES).filter(|n| mask >> n & 1 == 1);
        let this = &*self;
        let lived = acting.map(|n| {
            let dies = dies[n];
            async move { (n, this.live(n, dies).await) }
        });
        for (n, lived) in futures::future::join_all(lived).await {
            if !lived {
                self.processes[n] = self.process();
            }
        }
    }

    fn change(&mut self, with_channels: bool) {
        for alert in 0..ALERTS {
            if self.rng.below(6) == 0 {
                self.truth[alert] = !self.truth[alert];
            }
        }
        if with_channels {
            for name in CHANNELS {
                let mood = match self.rng.below(6) {
                    0 | 1 => Mood::Fails,
                    2 => Mood::TakesAndHangs,
                    _ => Mood::Works,
                };
                self.channels[name].set(mood);
            }
        }
    }

    async fn check(&self, exactly_once: bool) {
        self.check_sequences().await;
        let incidents = sequence::all_latest::<Incident>(&self.store, &Prefix::incidents()).await;
        let active: BTreeMap<String, u64> = incidents
            .expect("reads")
            .into_iter()
            .filter(|(_, _, incident)| incident.state.is_active())
            .map(|(_, _, incident)| (incident.fingerprint, incident.episode))
            .collect();
        assert_eq!(active.len(), self.truth.iter().filter(|holds| **holds).count(), "what holds is known");
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        for (sequence, newest, _) in
            sequence::all_latest::<Group>(&self.store, &Prefix::groups()).await.expect("reads")
        {
            for number in 1..=newest {
                let group: Group =
                    sequence::at(&self.store, &sequence, number).await.expect("reads").expect("no hole");
                // Nothing that was committed is lost on any channel.
                for notification in &group.notifications {
                    let receipt = key::receipt(&group.key, number, &notification.channel);
                    let there = self.store.get(&receipt).await.expect("reads");
                    assert!(there.is_some(), "no receipt for {number} of {}: {receipt}", group.key);
                    let taken = self.channels[&notification.channel].taken();
                    let id = &notification.idempotency_key;
                    assert!(
                        taken.iter().any(|taken| taken.idempotency_key == *id),
                        "{id} was taken by nobody"
                    );
                }
                if number == newest {
                    let open = group.told.iter().filter(|(_, told)| told.resolved_ms.is_none());
                    told.extend(open.map(|(fingerprint, told)| (fingerprint.clone(), told.episode)));
                }
            }
        }
        assert_eq!(told, active, "what fires is told, what is over is told to be over");
        self.check_repeats(exactly_once);
    }

    /// Every number is there, and episodes begin and end in turn.
    async fn check_sequences(&self) {
        for (sequence, newest, _) in
            sequence::all_latest::<Incident>(&self.store, &Prefix::incidents()).await.expect("reads")
        {
            let mut before: Option<Incident> = None;
            for number in 1..=newest {
                let incident: Incident =
                    sequence::at(&self.store, &sequence, number).await.expect("reads").expect("no hole");
                let (was_active, episode) =
                    before.as_ref().map_or((false, 0), |old| (old.state.is_active(), old.episode));
                assert_ne!(incident.state.is_active(), was_active, "a transition changes something");
                assert_eq!(incident.episode, episode + u64::from(!was_active));
                before = Some(incident);
            }
        }
    }

    /// A process sends what it has an answer for once in its life, whatever the store does to it.
    fn check_repeats(&self, exactly_once: bool) {
        let lives = self.lives.load(Ordering::Relaxed);
        for (name, receiver) in &self.channels {
            let mut answered: BTreeMap<String, usize> = BTreeMap::new();
            let mut newest: BTreeMap<String, u64> = BTreeMap::new();
            for taken in receiver.taken() {
                if taken.answered {
                    let times = answered.entry(taken.idempotency_key.clone()).or_default();
                    *times += 1;
                    assert!(*times <= lives, "{name}: {taken:?} {times} times by {lives} processes");
                }
                let newest = newest.entry(taken.group.clone()).or_default();
                assert!(!exactly_once || taken.number > *newest, "{name}: {taken:?} after {newest}");
                *newest = taken.number.max(*newest);
            }
        }
    }
}

/// What goes wrong, by the seed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    /// Everything works: each notification is taken once, in order.
    None,
    Channels,
    ChannelsAndStore,
    /// Outages of the store, old listings, clocks that jump and processes that die, too.
    Everything,
}

async fn story(seed: u64) {
    let trouble = [Trouble::None, Trouble::Channels, Trouble::ChannelsAndStore, Trouble::Everything]
        [usize::try_from(seed % 4).expect("small")];
    let mut world = World::new(seed);
    for _ in 0..STORMY_STEPS {
        world.change(trouble != Trouble::None);
        let (percent, out) = match trouble {
            Trouble::None | Trouble::Channels => (0, false),
            Trouble::ChannelsAndStore => (10, false),
            Trouble::Everything => (10, world.rng.below(5) == 0),
        };
        world.weather.set(percent, out);
        world.weather.set_stale(trouble == Trouble::Everything);
        if trouble == Trouble::Everything && world.rng.below(8) == 0 {
            let (whose, far) =
                (world.rng.below(PROCESSES), i64::try_from(world.rng.below(180)).expect("small"));
            world.skew_ms[whose] = (far - 90) * 1000;
        }
        world.step(trouble == Trouble::Everything).await;
    }
    world.weather.set(0, false);
    world.weather.set_stale(false);
    world.skew_ms = [0; PROCESSES];
    world.channels.values().for_each(|channel| channel.set(Mood::Works));
    for _ in 0..CALM_STEPS {
        world.step(false).await;
    }
    world.check(trouble == Trouble::None).await;
}

#[test]
fn whatever_fails_nothing_that_fired_stays_untold() {
    let seeds: u64 = std::env::var("ETCD_MONITOR_SOAK_SEEDS").map_or(300, |n| n.parse().expect("a number"));
    for seed in 1..=seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let ran = std::panic::catch_unwind(move || runtime.block_on(story(seed)));
        assert!(ran.is_ok(), "seed {seed} fails");
    }
}
