//! The faults that etcd meets, on real clusters: each is recorded, and what was read is replayed through the whole
//! product at a simulated clock. One file of `tests/faults/` says of each what is done and what must be heard of it;
//! the recording is beside it.
//!
//! `ETCD_MONITOR_FAULTS=live` runs every scenario on a real cluster (`make soak`), `=record` keeps what was read,
//! `ETCD_MONITOR_FAULT=<name>` just one.

mod advice;
mod client;
mod pipeline;
mod recording;
mod scenario;
mod stage;
mod verdict;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_monitor::config::ClusterSetup;
use etcd_monitor::etcd::ClusterConfig;
use etcd_monitor::inspect::Inspector;
use etcd_monitor::run::clock::Clock;
use tokio::time::Instant;

use self::pipeline::{Outcome, Pipeline};
use self::recording::{Impact, Recorder, Recording, Replayed};
use self::scenario::Scenario;
use self::stage::Stage;
use self::verdict::Verdict;

/// Runs it on a real cluster, in real time.
async fn live(scenario: &Scenario) -> (Recording, Outcome) {
    let mut stage = Stage::set(scenario).await;
    let clock = Clock::System;
    let (readings, felt) = (Arc::default(), Arc::new(Mutex::new(Impact::default())));
    let recorder = |cluster: &ClusterSetup, config: &etcd_monitor::config::Config| {
        let prober = cluster.prober(&config.scrape, &Arc::default()).expect("a prober");
        Box::new(Recorder { prober, readings: Arc::clone(&readings) }) as Box<_>
    };
    let user = tokio::spawn(client::use_it(stage.access(), clock.clone(), Arc::clone(&felt)));
    let pipeline = Pipeline::start(stage.setup(), clock.clone(), recorder).await;
    let began = Instant::now();
    let mut recording = Recording::default();
    let mut steps = scenario.step.iter();
    let mut step = steps.next();
    let mut inspect_at = scenario.inspect.map(|every| began + every.0);
    // A busy machine hears of an end later; a recording lasts as long as it says.
    let spare = if is_recorded() { Duration::ZERO } else { Duration::from_secs(30) };
    let end = began + scenario.lasts.0 + spare;
    loop {
        let step_at = step.map_or(end, |step| began + step.at.0);
        let next = step_at.min(inspect_at.unwrap_or(end)).min(end);
        tokio::time::sleep_until(next).await;
        if next == end {
            break;
        }
        if let Some(now) = step.filter(|_| step_at <= next) {
            let at_ms = clock.now_ms();
            println!("{}: {:.0} s: {:?}", scenario.name, began.elapsed().as_secs_f64(), now.action);
            stage.perform(&now.action).await;
            recording.steps.push(at_ms);
            step = steps.next();
        } else {
            let cluster = stage.setup();
            let inspector = Inspector::find(&cluster.config, cluster.login.as_ref(), None).await;
            if let Ok(inspector) = inspector {
                let inspection = inspector.inspect(clock.now_ms(), true, None).await;
                pipeline.inspected(&inspection).await;
                recording.inspections.push(inspection);
            }
            inspect_at = scenario.inspect.map(|every| next + every.0);
        }
    }
    let outcome = pipeline.end().await;
    user.abort();
    recording.readings = std::mem::take(&mut *readings.lock().expect("no panic"));
    recording.leaders = stage.leaders();
    recording.impact = felt.lock().expect("no panic").clone();
    (recording, outcome)
}

/// Puts what was read through the product, at the clock of the recording.
async fn replay(recording: &Recording) -> Outcome {
    let clock = Clock::runtime(recording.start_ms());
    let config = ClusterConfig::plain(
        pipeline::CLUSTER.parse().expect("a name"),
        vec!["http://127.0.0.1:1".to_owned()],
    );
    let cluster = ClusterSetup { config, login: None, backup_login: None };
    let readings = recording.readings.clone();
    let end_ms = readings.last().expect("a reading").ts_ms + 2_000;
    let pipeline = Pipeline::start(cluster, clock.clone(), |_, _| Box::new(Replayed::new(readings))).await;
    let until = |at_ms: i64| {
        let left_ms = u64::try_from(at_ms - clock.now_ms()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(left_ms))
    };
    for inspection in &recording.inspections {
        until(inspection.ts_ms).await;
        pipeline.inspected(inspection).await;
    }
    until(end_ms).await;
    pipeline.end().await
}

/// Does `work` for each of `scenarios`, `at_once` at a time, and returns what came of each in their order.
fn for_each<T: Send>(scenarios: &[Scenario], at_once: usize, work: impl Fn(&Scenario) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::default();
    let work = || {
        while let n = next.fetch_add(1, Ordering::Relaxed)
            && let Some(scenario) = scenarios.get(n)
        {
            let result = work(scenario);
            done.lock().expect("no panic").push((n, result));
        }
    };
    std::thread::scope(|scope| {
        (0..at_once).for_each(|_| drop(scope.spawn(work)));
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

fn replayed(scenario: &Scenario) -> Verdict {
    let recording = Recording::load(scenario);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let outcome = runtime.expect("a runtime").block_on(replay(&recording));
    assert!(outcome.pages > 10, "{}: the site has {} files", scenario.name, outcome.pages);
    Verdict::of(scenario, &recording, &outcome)
}

fn lived(scenario: &Scenario) -> Verdict {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (recording, outcome) = runtime.expect("a runtime").block_on(live(scenario));
    let verdict = Verdict::of(scenario, &recording, &outcome);
    println!("{verdict}");
    if is_recorded() {
        recording.save(scenario);
    }
    verdict
}

fn is_recorded() -> bool {
    std::env::var("ETCD_MONITOR_FAULTS").as_deref() == Ok("record")
}

/// Those that the environment names, or all.
fn chosen() -> Vec<Scenario> {
    let mut scenarios = scenario::all();
    if let Ok(names) = std::env::var("ETCD_MONITOR_FAULT") {
        scenarios.retain(|scenario| names.split(',').any(|name| name == scenario.name));
    }
    scenarios
}

#[test]
fn each_recorded_fault_is_told_and_nothing_else() {
    let scenarios = chosen();
    let verdicts = for_each(&scenarios, 2, replayed);
    for verdict in &verdicts {
        println!("{verdict}");
    }
    if std::env::var("ETCD_MONITOR_FAULT").is_err() {
        verdict::documented(&verdicts);
    }
    let wrong: Vec<String> = verdicts.iter().flat_map(Verdict::problems).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Nine of ten faults are what is advised on first, by what was read of real clusters.
#[test]
fn each_recorded_fault_is_advised_on_first() {
    let scenarios = chosen();
    let problems = |scenario: &Scenario| advice::problems(scenario, &Recording::load(scenario));
    let wrong: Vec<String> = for_each(&scenarios, 2, problems).into_iter().flatten().collect();
    println!("{} of {} scenarios are advised on otherwise: {wrong:#?}", wrong.len(), scenarios.len());
    assert!(wrong.len() * 10 <= scenarios.len(), "{wrong:#?}");
}

/// Live times are reported: a busy machine has its own. What is heard is held.
#[test]
fn faults_of_real_clusters_are_told_and_nothing_else() {
    let all = std::env::var("ETCD_MONITOR_FAULTS").is_ok();
    let mut scenarios: Vec<Scenario> = chosen().into_iter().filter(|scenario| all || scenario.live).collect();
    // The longest first, so that nobody waits for one alone.
    scenarios.sort_by_key(|scenario| std::cmp::Reverse(scenario.lasts.0));
    assert!(!scenarios.is_empty());
    let verdicts = for_each(&scenarios, 6, lived);
    let wrong: Vec<String> = verdicts.iter().flat_map(Verdict::problems_of_substance).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
