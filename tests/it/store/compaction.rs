//! Compaction seen from outside: sums stay what they are before it, after it, and after a kill inside it.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use etcd_monitor::model::{JobRun, Outcome};
use etcd_monitor::store::compact::{Plan, Step, compact};
use etcd_monitor::store::key::Prefix;
use etcd_monitor::store::table::{Level, Table};
use etcd_monitor::store::{Store, StoreConfig, Writer, job_runs, ledger, listing, samples, verify};

use super::conformance::local;
use super::rows::{self, START_MS, Scrapes};

const HOUR_MS: i64 = 3_600_000;

/// Two writers with overlapping segments, across the ends of an hour and of a day: 300 scrapes.
async fn fill(store: &Store, scrapes: &Scrapes) {
    fill_by(store, scrapes, [(1, 0..200), (2, 150..300)]).await;
}

async fn fill_by(store: &Store, scrapes: &Scrapes, writers: [(u128, Range<i64>); 2]) {
    for (random, range) in writers {
        let writer = Writer::new(START_MS, random);
        let range: Vec<i64> = range.collect();
        for (n, chunk) in range.chunks(25).enumerate() {
            let scraped: Vec<_> = chunk.iter().map(|n| scrapes.at(*n)).collect();
            let rows: Vec<_> = scraped.iter().flat_map(|scraped| scraped.rows()).collect();
            let flush_ms = START_MS + chunk[chunk.len() - 1] * 15_000 + 1;
            samples::write_segment(store, &writer, flush_ms, n as u64, &rows).await.expect("writes");
        }
    }
}

async fn assert_sums(store: &Store, expected: (usize, f64)) {
    assert_eq!(rows::sum(store).await, expected, "our reader");
    assert_eq!(rows::sum_by_duckdb(store).await, expected, "DuckDB");
    let verified = verify(store).await.expect("reads");
    assert_eq!(verified.problems, []);
}

async fn files(store: &Store, level: Level) -> u64 {
    listing(store).await.expect("lists").get(&(Table::Samples, level)).map_or(0, |line| line.files)
}

fn plan() -> Plan {
    Plan { rollup_metrics: HashSet::from(["etcd_metric_0".to_owned()]), ..Plan::default() }
}

#[tokio::test]
async fn sums_stay_through_every_level_and_late_segments() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = local(&folder).await;
    let scrapes = Scrapes::synthetic(12, 2);
    let expected = scrapes.sum(0..300);
    fill(&store, &scrapes).await;
    assert_sums(&store, expected).await;

    let mut now_ms = START_MS + 3 * HOUR_MS;
    let done = compact(&store, &plan(), now_ms, &|_| {}).await.expect("compacts");
    assert!(done.merged >= 3 && done.deleted == 0, "{done:?}");
    assert_sums(&store, expected).await;
    assert_eq!(rows::sum_without_distinct(&store).await, expected, "merged sources are hidden");
    assert_eq!(
        rows::sum_by_athena(&store),
        expected,
        "of merged files and their sources each row counts once"
    );
    let again = compact(&store, &plan(), now_ms, &|_| {}).await.expect("compacts");
    assert_eq!((again.merged, again.deleted, again.lost), (0, 0, 0), "nothing is left to do");

    // A segment that arrives when its hour and day are merged becomes a part of its own.
    let late = Scrapes::synthetic(3, 1);
    let before = late.at(2);
    let mut rows_late = before.rows();
    for row in &mut rows_late {
        row.cluster = "late";
    }
    samples::write_segment(&store, &Writer::new(1, 3), now_ms, 0, &rows_late).await.expect("writes");
    let expected = (expected.0 + late.sum(2..3).0, expected.1 + late.sum(2..3).1);
    assert_sums(&store, expected).await;

    for _ in 0..5 {
        now_ms += 13 * HOUR_MS;
        compact(&store, &plan(), now_ms, &|_| {}).await.expect("compacts");
        assert_sums(&store, expected).await;
        assert_eq!(rows::sum_without_distinct(&store).await, expected);
    }
    assert_eq!((files(&store, Level::Raw).await, files(&store, Level::Hour).await), (0, 0));
    assert_eq!(files(&store, Level::Day).await, 3, "two days, one with a late part");

    // The part's number is not used again although the hour files are gone.
    let again = late.at(3);
    let mut rows_late = again.rows();
    for row in &mut rows_late {
        row.cluster = "later";
    }
    samples::write_segment(&store, &Writer::new(1, 4), now_ms, 0, &rows_late).await.expect("writes");
    let expected = (expected.0 + late.sum(3..4).0, expected.1 + late.sum(3..4).1);
    for _ in 0..4 {
        compact(&store, &plan(), now_ms, &|_| {}).await.expect("compacts");
        assert_sums(&store, expected).await;
        now_ms += 2 * HOUR_MS;
    }
    assert_eq!((files(&store, Level::Raw).await, files(&store, Level::Hour).await), (0, 0));
    assert_eq!(files(&store, Level::Day).await, 4, "one more late part");
}

#[tokio::test]
async fn two_compactors_and_a_reader_at_once_count_nothing_twice() {
    let store = Store::in_memory();
    let scrapes = Scrapes::synthetic(6, 2);
    fill(&store, &scrapes).await;
    for hours in [3, 30, 32, 34] {
        let now_ms = START_MS + hours * HOUR_MS;
        let (one, two) = (plan(), plan());
        let (a, b) =
            tokio::join!(compact(&store, &one, now_ms, &|_| {}), compact(&store, &two, now_ms, &|_| {}));
        a.expect("compacts");
        b.expect("compacts");
        assert_eq!(rows::sum(&store).await, scrapes.sum(0..300), "after {hours} h");
        assert_eq!(verify(&store).await.expect("reads").problems, []);
    }
}

#[tokio::test]
async fn beyond_the_raw_retention_the_rollup_answers_and_says_so() {
    let store = Store::in_memory();
    let scrapes = Scrapes::synthetic(12, 2);
    fill(&store, &scrapes).await;
    for hours in [30, 33] {
        compact(&store, &plan(), START_MS + hours * HOUR_MS, &|_| {}).await.expect("compacts");
    }
    let full = samples::load(&store, &[rows::everything()], 1_000_000).await.expect("loads");
    compact(&store, &plan(), START_MS + 40 * 24 * HOUR_MS, &|_| {}).await.expect("compacts");
    let rolled = samples::load(&store, &[rows::everything()], 1_000_000).await.expect("loads");
    assert_eq!(rolled.rollups.len(), 2);
    assert!(rolled.rollups.iter().all(|span| span.resolution_ms == 300_000));
    assert!(!rolled.series.is_empty());
    for series in rolled.series.iter() {
        assert_eq!(series.labels.metric_name(), "etcd_metric_0");
        let raw = full.series.iter().find(|raw| raw.labels == series.labels).expect("was scraped");
        for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
            let at = raw.ts_ms.binary_search(ts_ms).expect("the time of a scrape");
            assert_eq!(raw.values[at], *value, "the bucket's last value at its own time");
        }
    }
    let coarse = samples::load_coarse(&store, &[rows::everything()], 1_000_000).await.expect("loads");
    assert!(coarse.rollups.iter().all(|span| span.resolution_ms == 300_000), "{:?}", coarse.rollups);
    // Years later only the hours are left, and what they say is what the five minutes said at their last instants.
    compact(&store, &plan(), START_MS + 500 * 24 * HOUR_MS, &|_| {}).await.expect("compacts");
    let hours = samples::load(&store, &[rows::everything()], 1_000_000).await.expect("loads");
    assert!(hours.rollups.len() == 2 && hours.rollups.iter().all(|span| span.resolution_ms == HOUR_MS));
    assert!(!hours.series.is_empty());
    for series in hours.series.iter() {
        let fine = rolled.series.iter().find(|fine| fine.labels == series.labels).expect("was there");
        assert!(series.ts_ms.len() * 4 < fine.ts_ms.len(), "{} of {}", series.ts_ms.len(), fine.ts_ms.len());
        for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
            let at = fine.ts_ms.binary_search(ts_ms).expect("the end of five minutes");
            assert_eq!(fine.values[at], *value);
        }
    }
}

#[tokio::test]
async fn above_the_size_limit_the_oldest_day_goes_first() {
    let store = Store::in_memory();
    fill(&store, &Scrapes::synthetic(12, 2)).await;
    let plan = Plan { size_bytes_max: Some(1), ..Plan::default() };
    let now_ms = START_MS + 2 * HOUR_MS;
    compact(&store, &plan, now_ms, &|_| {}).await.expect("compacts");
    let left = samples::load(&store, &[rows::everything()], 1_000_000).await.expect("loads");
    let oldest = left.series.iter().filter_map(|series| series.ts_ms.first()).min().expect("today stays");
    assert_eq!(*oldest, START_MS / (24 * HOUR_MS) * 24 * HOUR_MS + 24 * HOUR_MS, "midnight");
}

#[tokio::test]
async fn job_runs_are_derived_once_and_outlive_their_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = local(&folder).await;
    let run = |slot_ms: i64, attempt| JobRun {
        job: "report".to_owned(),
        shard: "0".to_owned(),
        slot_ms,
        attempt,
        host: "daemon".to_owned(),
        started_ms: slot_ms + 1,
        ended_ms: slot_ms + 900,
        outcome: Outcome::Done,
        summary: "54 pages".to_owned(),
        errors: vec![],
    };
    let mut expected: Vec<JobRun> = (0..40).map(|n| run(START_MS + n * 240_000, 1)).collect();
    for run in &expected {
        ledger::finish(&store, run).await.expect("ends");
    }
    let all = |store: Store| async move { job_runs::range(&store, 0, i64::MAX).await.expect("reads") };
    assert_eq!(all(store.clone()).await, expected, "from the ledger alone");
    compact(&store, &plan(), START_MS + 2 * HOUR_MS, &|_| {}).await.expect("compacts");
    // This one ended after its hour had been derived.
    expected.insert(1, run(START_MS, 2));
    ledger::finish(&store, &expected[1]).await.expect("ends");
    assert_eq!(all(store.clone()).await, expected, "from table and ledger");
    // In the far future the JSON is beyond its retention, the table is not.
    let far_ms = START_MS + 30 * 24 * HOUR_MS;
    for hours in 0..5 {
        compact(&store, &plan(), far_ms + hours * HOUR_MS, &|_| {}).await.expect("compacts");
        assert_eq!(all(store.clone()).await, expected, "{hours} h into the far future");
    }
    assert_eq!(store.list(&Prefix::runs()).await.expect("lists"), []);
    let line = rows::duckdb(&store, "SELECT count(*), count(DISTINCT slot) FROM job_runs").await;
    assert_eq!(line, "41 40");
    assert_eq!(verify(&store).await.expect("reads").problems, []);
}

const CHILD_FOLDER: &str = "ETCD_MONITOR_TEST_COMPACT_FOLDER";
const CHILD_STOP: &str = "ETCD_MONITOR_TEST_COMPACT_STOP";
const CHILD_NOW: &str = "ETCD_MONITOR_TEST_COMPACT_NOW";

/// A compaction is killed with SIGKILL before and after each of its first creates and deletes. A compactor
/// that comes after it ends its work, and nobody counts wrong at any point.
#[tokio::test]
async fn a_kill_inside_compaction_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = local(&folder).await;
    let scrapes = Scrapes::synthetic(6, 2);
    let expected = scrapes.sum(0..300);
    // Without overlap, so that any row seen twice is one that compaction doubled.
    fill_by(&store, &scrapes, [(1, 0..150), (2, 150..300)]).await;
    let mut now_ms = START_MS + 3 * HOUR_MS;
    let mut kills = 0;
    for stop in [1, 2, 3, 4, 1, 5, 2, 9, 1, 3, 1, 2] {
        let killed = run_child_and_kill(folder.path(), stop, now_ms);
        kills += u32::from(killed);
        assert_eq!(rows::sum(&store).await, expected, "after a kill at step {stop}");
        assert_eq!(rows::sum_by_duckdb(&store).await, expected, "after a kill at step {stop}");
        assert_eq!(rows::sum_without_distinct(&store).await, expected, "after a kill at step {stop}");
        now_ms += 7 * HOUR_MS;
    }
    assert!(kills >= 5, "only {kills} compactions had something to kill");
    for _ in 0..4 {
        compact(&store, &plan(), now_ms, &|_| {}).await.expect("compacts");
        now_ms += 2 * HOUR_MS;
    }
    assert_sums(&store, expected).await;
    assert_eq!((files(&store, Level::Raw).await, files(&store, Level::Hour).await), (0, 0));
}

/// False when the child ended by itself before its `stop`th step.
fn run_child_and_kill(folder: &Path, stop: u32, now_ms: i64) -> bool {
    let marker = folder.join("reached");
    let _ = std::fs::remove_file(&marker);
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "store::compaction::child_that_compacts_until_it_is_killed", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .env(CHILD_STOP, stop.to_string())
        .env(CHILD_NOW, now_ms.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().expect("waits") {
            assert!(status.success(), "the child failed: {status}");
            return false;
        }
        if marker.exists() {
            child.kill().expect("SIGKILL");
            child.wait().expect("ends");
            return true;
        }
        assert!(Instant::now() < deadline, "the child neither ended nor reached step {stop}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The other end of [`run_child_and_kill`]. Run on its own it checks that the hook sees each step once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_compacts_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else {
        let store = Store::in_memory();
        fill(&store, &Scrapes::synthetic(3, 1)).await;
        let steps = Mutex::new(Vec::new());
        let done = compact(&store, &plan(), START_MS + 3 * HOUR_MS, &|step| {
            steps.lock().expect("not poisoned").push(step.clone());
        })
        .await
        .expect("compacts");
        let steps = steps.into_inner().expect("not poisoned");
        let merged = steps.iter().filter(|step| matches!(step, Step::Merged { .. })).count();
        assert_eq!(merged as u64, done.merged);
        return;
    };
    let number = |name| std::env::var(name).expect("set").parse::<i64>().expect("a number");
    let (stop, now_ms) = (number(CHILD_STOP), number(CHILD_NOW));
    let url = Path::new(&folder).join("store").display().to_string();
    let store = Store::open(&StoreConfig { url, ..StoreConfig::default() }, &|_| None).await.expect("opens");
    let seen = Mutex::new(0);
    compact(&store, &plan(), now_ms, &|_| {
        let mut seen = seen.lock().expect("not poisoned");
        *seen += 1;
        if *seen == stop {
            std::fs::write(Path::new(&folder).join("reached"), "").expect("writes");
            loop {
                std::thread::park();
            }
        }
    })
    .await
    .expect("compacts");
}
