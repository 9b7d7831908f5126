//! Whether people hear of each fault once and of nothing else: synthetic clusters in virtual time, through the
//! shipped rules, the state machine, inhibition, grouping and delivery, as the daemon runs them.

pub mod cluster;
mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd_monitor::alert::{AlertConfig, Routes};
use etcd_monitor::deliver::{Channel, Deliverer, Message, Reference, SendError};
use etcd_monitor::model::Severity;
use etcd_monitor::rules::{RuleOptions, Scope, default_pack};
use etcd_monitor::store::{Store, Writer};
use etcd_monitor::watch::Judge;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::cluster::{INTERVAL_MS, Recorded, State};
use self::faults::{FAULTS, Fault};
use crate::deliver::START_MS;

/// Health before the fault, so that the longest ranges are full.
const BEFORE_MIN: i64 = 75;
const AFTER_MIN: i64 = 25;
const DAY_MIN: i64 = 1_440;

/// One incident as people hear of it first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Heard {
    alert: String,
    severity: String,
    /// Alert and cluster are told together; members are in one message.
    instance: String,
    episode: u64,
}

#[derive(Default)]
struct Ear(Mutex<BTreeSet<Heard>>);

impl Channel for Ear {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        for incident in message.group.firing() {
            let heard = Heard {
                alert: incident.alert.clone(),
                severity: incident.severity.as_str().to_owned(),
                instance: incident.labels.get("instance").unwrap_or("").to_owned(),
                episode: incident.episode,
            };
            self.0.lock().expect("no panic").insert(heard);
        }
        futures::future::ready(Ok(None)).boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// What people hear from minute `from` of the recording on, with an evaluation every `step_ms`.
fn listen(recorded: &Recorded, from: i64, minutes: i64, step_ms: i64) -> BTreeSet<Heard> {
    let ear = Arc::new(Ear::default());
    let names = ["people".to_owned()];
    let channels = BTreeMap::from([(names[0].clone(), Arc::clone(&ear) as Arc<dyn Channel>)]);
    let routes = Routes::new(&AlertConfig::default(), &names).expect("valid");
    let store = Store::in_memory();
    let deliverer = Deliverer::new(store.clone(), Writer::new(START_MS, 1), channels, routes);
    let judge = Judge::new(store, deliverer, INTERVAL_MS, RuleOptions::default());
    let groups = default_pack().expect("the shipped pack is valid");
    let scope = Scope::from([("prod".parse().expect("a name"), None)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        for now_ms in (START_MS + from * 60_000..START_MS + minutes * 60_000).step_by(step_ms as usize) {
            let judged = judge.judge(&groups, recorded, &scope, now_ms).await;
            assert!(judged.errors.is_empty(), "{:?}", judged.errors);
            if judged.transitions > 0 || now_ms % 60_000 == 0 {
                let report = judge.deliverer().sweep(now_ms).await;
                assert!(report.errors.is_empty(), "{:?}", report.errors);
            }
        }
    });
    ear.0.lock().expect("no panic").clone()
}

/// What was heard of one story, held against what should have been.
struct Verdict {
    name: &'static str,
    /// One line for each alert and severity, with how many incidents.
    heard: BTreeMap<(String, String), usize>,
    right: usize,
    /// News among them: true, and no fault's.
    news: usize,
    wrong: Vec<String>,
    /// Told as over and then anew within one fault.
    doubled: Vec<String>,
    missed: Vec<String>,
}

fn verdict(fault: &Fault, heard: &BTreeSet<Heard>) -> Verdict {
    let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
    for one in heard {
        *told.entry((one.alert.clone(), one.severity.clone())).or_default() += 1;
    }
    let wanted: BTreeSet<(String, String)> =
        fault.told.iter().map(|(alert, severity)| ((*alert).to_owned(), (*severity).to_owned())).collect();
    let missed = wanted.iter().filter(|wanted| !told.contains_key(wanted)).map(|w| w.0.clone()).collect();
    let is_news = |(alert, severity): &(String, String)| {
        severity == Severity::Info.as_str() && fault.news.contains(&alert.as_str())
    };
    let (right, wrong): (Vec<_>, Vec<_>) =
        told.keys().partition(|told| wanted.contains(*told) || is_news(told));
    let news = right.iter().filter(|told| is_news(told)).count();
    let again = heard.iter().filter(|one| one.episode > 1 && one.severity != Severity::Info.as_str());
    let doubled = again.map(|one| format!("{} {} ({})", one.alert, one.instance, one.severity)).collect();
    let wrong = wrong.into_iter().map(|(alert, severity)| format!("{alert} ({severity})")).collect();
    Verdict { name: fault.name, right: right.len(), news, doubled, wrong, missed, heard: told }
}

fn of_fault(fault: &Fault, seed: u64) -> Verdict {
    let minutes = BEFORE_MIN + fault.minutes.ceil() as i64 + AFTER_MIN;
    let recorded = Recorded::new(seed, START_MS, minutes, |minute, state| {
        // A term stays: nothing brings it back.
        let into = minute - BEFORE_MIN as f64;
        if (0.0..fault.minutes).contains(&into) {
            (fault.change)(into, state);
        } else if into >= fault.minutes {
            let mut last = state.clone();
            (fault.change)(fault.minutes - 0.001, &mut last);
            (state.term, state.leader) = (last.term, last.leader);
        }
    });
    // What is over soon is looked at as often as it is measured.
    let step_ms = if fault.minutes < 5.0 { INTERVAL_MS } else { 2 * INTERVAL_MS };
    verdict(fault, &listen(&recorded, BEFORE_MIN - 5, minutes, step_ms))
}

/// A healthy day: load and noise as they come, a rolling restart, failed scrapes, a restart of the monitor.
fn of_a_day(seed: u64) -> Verdict {
    let recorded = Recorded::new(seed, START_MS, BEFORE_MIN + DAY_MIN, |minute, state: &mut State| {
        for member in 0..3 {
            let restarts = 400.0 + 5.0 * member as f64;
            state.running[member] = !(restarts..restarts + 0.5).contains(&minute);
        }
        state.scraped[1] &= !(700.0..703.0).contains(&minute);
        state.watched = !(900.0..902.0).contains(&minute);
        // The leader is restarted last and gives its place to another.
        (state.leader, state.term) = if minute < 400.0 { (0, 2.0) } else { (1, 3.0) };
    });
    let day = Fault {
        name: "a healthy day",
        told: &[],
        news: &["EtcdBackupDone", "EtcdLeaderChanged", "EtcdCompactionDone"],
        minutes: 0.0,
        change: |_, _| {},
    };
    verdict(&day, &listen(&recorded, BEFORE_MIN, BEFORE_MIN + DAY_MIN, 2 * INTERVAL_MS))
}

#[test]
fn each_fault_is_told_once_and_nothing_else() {
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let verdicts: Mutex<BTreeMap<usize, Verdict>> = Mutex::default();
    let work = || loop {
        // The day is the longest: first.
        let n = next.fetch_add(1, Ordering::Relaxed);
        let seed = u64::try_from(n).expect("small") + 1;
        let verdict = match n {
            0 => of_a_day(seed),
            n => match FAULTS.get(n - 1) {
                Some(fault) => of_fault(fault, seed),
                None => return,
            },
        };
        verdicts.lock().expect("no panic").insert(n, verdict);
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let verdicts: Vec<Verdict> = verdicts.into_inner().expect("no panic").into_values().collect();
    assert_eq!(verdicts.len(), FAULTS.len() + 1);
    for verdict in &verdicts {
        let heard: Vec<String> = verdict.heard.iter().map(|((a, s), n)| format!("{a} ({s}) x{n}")).collect();
        println!("{:<26} {}", verdict.name, if heard.is_empty() { "-".to_owned() } else { heard.join(", ") });
    }
    let right: usize = verdicts.iter().map(|verdict| verdict.right).sum();
    let news: usize = verdicts.iter().map(|verdict| verdict.news).sum();
    let wrong: usize = verdicts.iter().map(|verdict| verdict.wrong.len()).sum();
    // News would flatter it.
    let precision = (right - news) as f64 / (right - news + wrong) as f64;
    println!(
        "{} faults and a healthy day: {} told rightly and {news} news, {wrong} wrongly, precision {:.1} %, {:.1} s",
        FAULTS.len(),
        right - news,
        precision * 100.0,
        began.elapsed().as_secs_f32()
    );
    for verdict in &verdicts {
        assert!(verdict.missed.is_empty(), "{}: nobody heard of {:?}", verdict.name, verdict.missed);
        assert!(verdict.doubled.is_empty(), "{}: told twice {:?}", verdict.name, verdict.doubled);
        assert!(verdict.wrong.is_empty(), "{}: people heard of {:?}, too", verdict.name, verdict.wrong);
    }
    assert!(precision >= 0.99);
}
