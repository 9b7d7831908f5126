//! Three deliverers over one store, everything decided by a seed: alerts come and go, channels and the store
//! fail before or after the deed, listings are old, clocks jump, processes die at any await. What must hold holds for every seed; a failing
//! one is printed and repeats itself. `ETCD_MONITOR_SOAK_SEEDS` asks for more of them.

pub mod faults;
mod receiver;
mod timely;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use etcd_monitor::alert::{AlertConfig, Group, Routes};
use etcd_monitor::deliver::{Channel, Deliverer};
use etcd_monitor::model::{Finding, FindingState, Incident, IncidentState, Labels, SeriesSet};
use etcd_monitor::rules::{Completeness, Evaluation, RuleGroup, Scope, completeness, parse};
use etcd_monitor::store::key::{self, Prefix};
use etcd_monitor::store::{Store, Writer, sequence};

use self::faults::{Faulty, Rng, Weather};
use self::receiver::{Mood, Receiver};
use super::START_MS;

const ALERTS: usize = 3;
const PROCESSES: usize = 3;
const CHANNELS: [&str; 2] = ["mail", "pager"];
/// Steps of chaos, then of calm, with which everything must be made up for.
const STORMY_STEPS: usize = 50;
const CALM_STEPS: usize = 40;

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
    /// Of which clusters nothing is seen: what holds there is not found, and that it is not found says nothing.
    blind: [bool; ALERTS],
    began: tokio::time::Instant,
    now_ms: i64,
}

const INTERVAL_MS: i64 = 15_000;

fn cluster(alert: usize) -> String {
    format!("prod-{alert}")
}

fn finding(alert: usize, since_ms: i64) -> Finding {
    Finding {
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
        active_since_ms: since_ms,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let weather = Arc::new(Weather::default());
        let store = Store::over(Arc::new(Faulty::new(rng.next(), Arc::clone(&weather))), "memory://faulty");
        let receivers = CHANNELS.iter().map(|name| ((*name).to_owned(), Arc::new(Receiver::new())));
        let channels: BTreeMap<_, _> = receivers.collect();
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
            blind: [false; ALERTS],
            began: tokio::time::Instant::now(),
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

    /// What an evaluation at `at_ms` finds, how much it saw, and what is watched.
    fn evaluation(&self, at_ms: i64) -> (Evaluation, Completeness, Scope) {
        let found = (0..ALERTS).filter(|alert| self.truth[*alert] && !self.blind[*alert]);
        let findings = found.map(|alert| finding(alert, at_ms));
        let mut series = SeriesSet::default();
        for alert in (0..ALERTS).filter(|alert| !self.blind[*alert]) {
            for metric in ["up", "etcd_monitor_member_up"] {
                let labels = [("__name__", metric), ("cluster", &cluster(alert)), ("instance", "m1:2379")];
                let labels = Labels::from_pairs(labels);
                series.push(&labels, at_ms - INTERVAL_MS, 1.0);
                series.push(&labels, at_ms, 1.0);
            }
        }
        let seen = completeness(&series, at_ms, INTERVAL_MS).expect("in memory");
        // The first alert ends by its cluster's removal, which needs no samples; the others by being seen to.
        let watched = (0..ALERTS).filter(|alert| *alert > 0 || self.truth[*alert]);
        let scope = watched.map(|alert| (cluster(alert).parse().expect("a name"), None)).collect();
        (Evaluation { findings: findings.collect(), ..Evaluation::default() }, seen, scope)
    }

    /// What process `n` does in one step; `false` when it died after `polls` of it.
    async fn live(&self, n: usize, polls: Option<usize>) -> bool {
        let process = &self.processes[n];
        let now_ms = self.now_ms + self.skew_ms[n];
        let (evaluation, seen, scope) = self.evaluation(now_ms);
        let work = async {
            let committed = process.commit(&self.rules, &evaluation, &seen, &scope, now_ms).await;
            for ended in committed.transitions.iter().filter(|i| i.state == IncidentState::Resolved) {
                let alert = (0..ALERTS).find(|alert| ended.cluster() == Some(&cluster(*alert)));
                let alert = alert.expect("a known cluster");
                assert!(!self.truth[alert], "{} is over although it holds", ended.fingerprint);
                assert!(alert == 0 || !self.blind[alert], "{} is over unseen", ended.fingerprint);
            }
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
        let pause_ms = 1_000 + u64::try_from(self.rng.below(59_000)).expect("small");
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        self.now_ms = START_MS + i64::try_from(self.began.elapsed().as_millis()).expect("small");
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
        for blind in &mut self.blind {
            *blind = self.rng.below(5) == 0;
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

    /// Every number is there and was written once, and episodes begin and end in turn.
    async fn check_sequences(&self) {
        for (path, times) in self.weather.writes() {
            assert!(times == 1, "{path} was written {times} times");
        }
        for (sequence, newest, _) in
            sequence::all_latest::<Incident>(&self.store, &Prefix::incidents()).await.expect("reads")
        {
            let mut before: Option<Incident> = None;
            for number in 1..=newest {
                let incident: Incident =
                    sequence::at(&self.store, &sequence, number).await.expect("reads").expect("no hole");
                let (was_active, episode) =
                    before.as_ref().map_or((false, 0), |old| (old.state.is_active(), old.episode));
                let old = before.as_ref().map(|old| old.state);
                assert_ne!(Some(incident.state), old, "a transition changes something");
                assert_eq!(incident.episode, episode + u64::from(!was_active && incident.state.is_active()));
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
    world.blind = [false; ALERTS];
    world.channels.values().for_each(|channel| channel.set(Mood::Works));
    for _ in 0..CALM_STEPS {
        world.step(false).await;
    }
    world.check(trouble == Trouble::None).await;
}

/// Runs `story` for seeds from 1 on, two at once, each in a runtime and a time of its own.
fn for_seeds<F: Future<Output = ()>>(story: impl Fn(u64) -> F + Sync) {
    let seeds: u64 = std::env::var("ETCD_MONITOR_SOAK_SEEDS").map_or(300, |n| n.parse().expect("a number"));
    let next = AtomicU64::new(1);
    let run = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed > seeds {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let ran = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(story(seed))));
        assert!(ran.is_ok(), "seed {seed} fails");
    };
    std::thread::scope(|scope| {
        scope.spawn(run);
        run();
    });
}

#[test]
fn whatever_fails_nothing_that_fired_stays_untold() {
    for_seeds(story);
}
