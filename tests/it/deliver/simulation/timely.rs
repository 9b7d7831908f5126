//! How soon people hear, in virtual time: two processes that judge every two seconds and sweep whenever they
//! committed something, two channels, and at most one fault, which lasts. The promise is one of the two channels
//! within 30 s; and, once the fault is over, all that was committed on all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_monitor::alert::{AlertConfig, Group, Routes};
use etcd_monitor::deliver::{Channel, Deliverer};
use etcd_monitor::model::{Finding, SeriesSet};
use etcd_monitor::rules::{Evaluation, RuleGroup, RuleOptions, Scope, completeness, parse};
use etcd_monitor::store::key::{self, Prefix};
use etcd_monitor::store::{Store, Writer, sequence};
use etcd_monitor::watch::{Judge, send_when_told};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::faults::{Faulty, Rng, Weather};
use super::receiver::{Mood, Receiver};
use super::{START_MS, cluster, finding, for_seeds};

const ALERTS: usize = 4;
const TICK: Duration = Duration::from_secs(2);
const SWEEP_JOB: Duration = Duration::from_secs(60);
/// How long the fault lasts; alerts begin in its first third.
const FAULT: Duration = Duration::from_secs(300);
const CALM: Duration = Duration::from_secs(400);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    None,
    ChannelFails,
    ChannelRefuses,
    ChannelHangs,
    ChannelTakesAndHangs,
    ChannelPauses,
    ChannelPausesLong,
    StoreFlaky,
    /// For a minute.
    StoreOut,
    ListsAreOld,
    ProcessDies,
    ClockAhead,
    ClockBehind,
}

const FAULTS: [Fault; 13] = [
    Fault::None,
    Fault::ChannelFails,
    Fault::ChannelRefuses,
    Fault::ChannelHangs,
    Fault::ChannelTakesAndHangs,
    Fault::ChannelPauses,
    Fault::ChannelPausesLong,
    Fault::StoreFlaky,
    Fault::StoreOut,
    Fault::ListsAreOld,
    Fault::ProcessDies,
    Fault::ClockAhead,
    Fault::ClockBehind,
];

struct Scene {
    began: Instant,
    /// When each alert begins to hold.
    begins: [Instant; ALERTS],
    store: Store,
    channels: BTreeMap<String, Arc<Receiver>>,
    routes: Routes,
    rules: RuleGroup,
    /// When the beginning of each alert was committed first.
    committed: Mutex<BTreeMap<String, Instant>>,
}

impl Scene {
    fn new(rng: &mut Rng, weather: &Arc<Weather>) -> Self {
        let began = Instant::now();
        let third_ms = usize::try_from(FAULT.as_millis() / 3).expect("small");
        let mut begin =
            || began + Duration::from_millis(10_000 + u64::try_from(rng.below(third_ms)).expect("small"));
        let begins = std::array::from_fn(|_| begin());
        let store = Store::over(Arc::new(Faulty::new(rng.next(), Arc::clone(weather))), "memory://faulty");
        let names = ["mail".to_owned(), "pager".to_owned()];
        let channels = names.iter().map(|name| (name.clone(), Arc::new(Receiver::new()))).collect();
        let config = "[[route]]\nchannels = ['mail', 'pager']\ngroup-by = ['alertname', 'cluster']";
        let config: AlertConfig = toml::from_str(config).expect("valid");
        let routes = Routes::new(&config, &names).expect("valid");
        let rules = "groups:\n- name: g\n  rules:\n  - {alert: EtcdMemberDown, expr: up == 0}\n";
        let rules = parse("g.yaml", rules).expect("valid").remove(0);
        Self { began, begins, store, channels, routes, rules, committed: Mutex::default() }
    }

    fn judge_of(&self, id: u128) -> Arc<Judge> {
        let channels =
            self.channels.iter().map(|(name, way)| (name.clone(), Arc::clone(way) as Arc<dyn Channel>));
        let writer = Writer::new(START_MS, id);
        let deliverer = Deliverer::new(self.store.clone(), writer, channels.collect(), self.routes.clone());
        Arc::new(Judge::new(self.store.clone(), deliverer, 15_000, RuleOptions::default()))
    }

    fn now_ms(&self, skew_ms: i64) -> i64 {
        START_MS + skew_ms + i64::try_from(self.began.elapsed().as_millis()).expect("small")
    }

    /// One round of the loop; whether something was committed.
    async fn judge(&self, deliverer: &Deliverer, now_ms: i64) -> bool {
        let holding = (0..ALERTS).filter(|alert| self.begins[*alert] <= Instant::now());
        let findings: Vec<Finding> = holding.map(|alert| finding(alert, START_MS)).collect();
        let evaluation = Evaluation { findings, ..Evaluation::default() };
        let seen = completeness(&SeriesSet::default(), now_ms, 15_000).expect("in memory");
        let scope: Scope = (0..ALERTS).map(|alert| (cluster(alert).parse().expect("a name"), None)).collect();
        let committed = deliverer.commit(&self.rules, &evaluation, &seen, &scope, now_ms).await;
        for begun in &committed.transitions {
            let mut first = self.committed.lock().expect("no panic");
            first.entry(begun.fingerprint.clone()).or_insert_with(Instant::now);
        }
        !committed.transitions.is_empty()
    }
}

/// What the daemon does: a loop, the sweeps beside it, and the job of every minute. Aborting it is its death.
fn process(scene: &Arc<Scene>, id: u128, skew_ms: i64) -> JoinHandle<()> {
    let (scene, judge, told) = (Arc::clone(scene), scene.judge_of(id), Arc::new(Notify::new()));
    tokio::spawn(async move {
        let now_ms = || scene.now_ms(skew_ms);
        let send = send_when_told(Arc::clone(&judge), Arc::clone(&told), now_ms, CancellationToken::new());
        let watch = async {
            loop {
                sleep(TICK).await;
                if scene.judge(judge.deliverer(), now_ms()).await {
                    told.notify_one();
                }
            }
        };
        let deliver = async {
            loop {
                sleep(SWEEP_JOB).await;
                judge.deliverer().sweep(now_ms()).await;
            }
        };
        tokio::join!(send, watch, deliver);
    })
}

async fn afflict(scene: &Arc<Scene>, weather: &Weather, fault: Fault, rng: &mut Rng) -> [JoinHandle<()>; 2] {
    let mail = &scene.channels["mail"];
    let pause = Duration::from_secs(if fault == Fault::ChannelPausesLong { 3_600 } else { 4 });
    match fault {
        Fault::ChannelFails => mail.set(Mood::Fails),
        Fault::ChannelRefuses => mail.set(Mood::Refuses),
        Fault::ChannelHangs => mail.set(Mood::Hangs),
        Fault::ChannelTakesAndHangs => mail.set(Mood::TakesAndHangs),
        Fault::ChannelPauses | Fault::ChannelPausesLong => mail.set(Mood::Pauses(pause)),
        Fault::StoreFlaky => weather.set(10, false),
        Fault::ListsAreOld => weather.set_stale(true),
        _ => {}
    }
    let skew_ms = match fault {
        Fault::ClockAhead => 600_000,
        Fault::ClockBehind => -600_000,
        _ => 0,
    };
    let mut first = process(scene, 1, skew_ms);
    sleep(Duration::from_millis(u64::try_from(rng.below(2_000)).expect("small"))).await;
    let second = process(scene, 2, 0);
    let when =
        scene.began + Duration::from_millis(u64::try_from(10_000 + rng.below(100_000)).expect("small"));
    match fault {
        Fault::StoreOut => {
            sleep_until(when).await;
            weather.set(0, true);
            sleep(Duration::from_secs(60)).await;
            weather.set(0, false);
        }
        Fault::ProcessDies => {
            sleep_until(when).await;
            first.abort();
            sleep(Duration::from_secs(5)).await;
            first = process(scene, 3, 0);
        }
        _ => {}
    }
    [first, second]
}

/// What became of one alert: the fault, and how long until it was committed and told, if it was.
type Told = (Fault, Option<Duration>, Option<Duration>);

async fn story(seed: u64, told: &Mutex<Vec<Told>>) {
    let mut rng = Rng::new(seed);
    let fault = FAULTS[usize::try_from(seed).expect("small") % FAULTS.len()];
    let weather = Arc::new(Weather::default());
    let scene = Arc::new(Scene::new(&mut rng, &weather));
    let processes = afflict(&scene, &weather, fault, &mut rng).await;
    sleep_until(scene.began + FAULT).await;
    weather.set(0, false);
    weather.set_stale(false);
    scene.channels.values().for_each(|channel| channel.set(Mood::Works));
    sleep(CALM).await;
    processes.iter().for_each(JoinHandle::abort);

    let taken: BTreeMap<&str, _> =
        scene.channels.iter().map(|(name, channel)| (name.as_str(), channel.taken())).collect();
    for alert in 0..ALERTS {
        let fingerprint = finding(alert, START_MS).fingerprint();
        let since = |at: Instant| at.duration_since(scene.begins[alert]);
        let committed = scene.committed.lock().expect("no panic").get(&fingerprint).copied().map(since);
        let of_it =
            taken.values().flatten().filter(|taken| taken.firing.iter().any(|(of, _)| *of == fingerprint));
        let first = of_it.map(|taken| taken.at).min().map(since);
        told.lock().expect("no panic").push((fault, committed, first));
    }
    for (sequence, newest, _) in
        sequence::all_latest::<Group>(&scene.store, &Prefix::groups()).await.expect("reads")
    {
        for number in 1..=newest {
            let group: Group =
                sequence::at(&scene.store, &sequence, number).await.expect("reads").expect("no hole");
            for notification in &group.notifications {
                let receipt = key::receipt(&group.key, number, &notification.channel);
                // What asked for an hour's pause gets it.
                let waits = fault == Fault::ChannelPausesLong && notification.channel == "mail";
                assert!(
                    waits || scene.store.get(&receipt).await.expect("reads").is_some(),
                    "{fault:?}: {receipt}"
                );
                let id = &notification.idempotency_key;
                let times =
                    taken[notification.channel.as_str()].iter().filter(|t| t.idempotency_key == *id).count();
                assert!(fault != Fault::None || times == 1, "{id} was told {times} times without a fault");
            }
        }
    }
}

/// The value below which `share` of them are.
fn quantile(sorted: &[Duration], share: f64) -> f32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "few"
    )]
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[at].as_secs_f32()
}

#[test]
fn with_one_fault_people_hear_within_30_s_and_of_everything() {
    let told = Mutex::default();
    for_seeds(|seed| story(seed, &told));
    let told = told.into_inner().expect("no panic");
    println!(
        "{:<22} {:>6} {:>10} {:>8} {:>8} {:>8}",
        "fault", "alerts", "committed", "told", "p99", "latest"
    );
    for fault in FAULTS {
        let of = |pick: fn(&Told) -> Option<Duration>| {
            let mut all: Vec<Duration> =
                told.iter().filter(|told| told.0 == fault).filter_map(pick).collect();
            all.sort_unstable();
            all
        };
        let (committed, first) = (of(|told| told.1), of(|told| told.2));
        println!(
            "{:<22} {:>6} {:>8.1} s {:>6.1} s {:>6.1} s {:>6.1} s",
            format!("{fault:?}"),
            first.len(),
            quantile(&committed, 1.0),
            quantile(&first, 0.5),
            quantile(&first, 0.99),
            quantile(&first, 1.0)
        );
    }
    let within =
        |limit_s| told.iter().filter(|t| t.2.is_some_and(|t| t <= Duration::from_secs(limit_s))).count();
    let (all, ever, timely) = (told.len(), within(u64::MAX), within(30));
    println!("{all} alerts: {ever} told, {timely} of them within 30 s");
    assert!(
        told.iter().all(|told| told.1.is_some_and(|after| after <= Duration::from_secs(5))),
        "committed late"
    );
    assert!((all - ever) * 10_000 <= all, "99.99 % are told");
    assert!((all - timely) * 1_000 <= all, "99.9 % are told within 30 s");
}
