//! A history in both formats, and queries over ours.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_monitor::model::unit::ConfigDuration;
use etcd_monitor::model::{Labels, Samples, SeriesList, TargetSeries};
use etcd_monitor::promql::{self, EvalOptions, EvalRange};
use etcd_monitor::store::compact;
use etcd_monitor::store::samples::{self, Block};
use etcd_monitor::store::table::Table;
use etcd_monitor::store::{Writer, listing};

use crate::ingest::open;
use crate::members::Member;

/// 2025-11-24T00:00:00Z: a block of Prometheus and a day of ours begin here.
pub const START_MS: i64 = 1_763_942_400_000;
const INTERVAL_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;
const STEPS_PER_HOUR: i64 = HOUR_MS / INTERVAL_MS;
const PORT: u16 = 2379;

/// What a history holds.
pub struct Plan<'a> {
    pub targets: usize,
    pub hours: i64,
    /// See [`Member::new`].
    pub moving: f64,
    /// Beginnings of the names of the metrics to keep; all if there are none.
    pub metrics: Vec<&'a str>,
}

/// Writes a history to `dir/store`, compacted to day files, and to `dir/openmetrics-*.txt`, one for each day:
/// promtool reads the whole text again for every two hours of it.
pub fn write(dir: &Path, plan: &Plan<'_>) {
    crate::block_on(async {
        let store = open(&dir.join("store")).await;
        let writer = Writer::new(START_MS, 1);
        let mut members: Vec<Member> = (0..plan.targets).map(|n| Member::new(n, plan.moving)).collect();
        let names: Vec<String> =
            (0..plan.targets).map(|n| crate::replay::address(n, PORT).to_string()).collect();
        let kept = |series: &str| {
            plan.metrics.is_empty() || plan.metrics.iter().any(|metric| series.starts_with(metric))
        };
        let lists: Vec<Arc<SeriesList>> = members.iter().map(|member| list_of(member, &kept)).collect();
        let mut history: Vec<Vec<Vec<f64>>> = vec![Vec::new(); plan.targets];
        for hour in 0..plan.hours {
            let mut scrapes = Vec::new();
            for step in 0..STEPS_PER_HOUR {
                let ts_ms = START_MS + hour * HOUR_MS + step * INTERVAL_MS;
                for (n, member) in members.iter_mut().enumerate() {
                    let values: Vec<f64> =
                        member.lines.iter().filter(|line| kept(line.series)).map(|line| line.value).collect();
                    history[n].push(values.clone());
                    scrapes.push((n, ts_ms, Samples::new(Arc::clone(&lists[n]), values)));
                    member.step();
                }
            }
            let blocks = scrapes.iter().map(|(n, ts_ms, samples)| Block {
                cluster: "prod",
                instance: &names[*n],
                ts_ms: *ts_ms,
                samples,
            });
            let flush_ms = START_MS + (hour + 1) * HOUR_MS - 1;
            let n = u64::try_from(hour).unwrap();
            samples::write_blocks(&store, &writer, flush_ms, n, &blocks.collect::<Vec<_>>()).await.unwrap();
        }
        for (day, from) in (0..plan.hours * STEPS_PER_HOUR).step_by(24 * STEPS_PER_HOUR as usize).enumerate()
        {
            let steps = from..(from + 24 * STEPS_PER_HOUR).min(plan.hours * STEPS_PER_HOUR);
            openmetrics(&dir.join(format!("openmetrics-{day:02}.txt")), &lists, &names, &history, steps);
        }
        drop(history);
        let began = Instant::now();
        let mut how = compact::Plan::default();
        // The comparison is of what was scraped, however old.
        how.retention.raw = ConfigDuration(Duration::from_secs(100 * 86_400));
        // The hours first, then the days from them.
        for after_ms in [HOUR_MS / 6, 26 * HOUR_MS] {
            let now_ms = START_MS + plan.hours * HOUR_MS + after_ms;
            while compact::compact(&store, &how, now_ms, &|_| {}).await.unwrap().merged > 0 {}
        }
        let seconds = began.elapsed().as_secs_f64();
        for ((table, level), line) in listing(&store).await.unwrap() {
            if table == Table::Samples {
                println!(
                    "level={level:?} rows={} bytes={} compact_seconds={seconds:.2}",
                    line.rows, line.bytes
                );
            }
        }
    });
}

pub fn list_of(member: &Member, kept: &impl Fn(&str) -> bool) -> Arc<SeriesList> {
    let series = member.lines.iter().filter(|line| kept(line.series)).map(|line| {
        let (metric, labels) = line.series.split_once('{').unwrap_or((line.series, "}"));
        let labels = Labels::parse_canonical(labels.trim_end_matches('}')).unwrap();
        Arc::new(TargetSeries::new(labels.with("__name__", metric)))
    });
    Arc::new(SeriesList::new(series.collect()))
}

/// Series by series, as `promtool tsdb create-blocks-from openmetrics` reads it best. Types are left out, so
/// that any name may stand anywhere.
fn openmetrics(
    path: &Path,
    lists: &[Arc<SeriesList>],
    names: &[String],
    history: &[Vec<Vec<f64>>],
    steps: std::ops::Range<i64>,
) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    for ((list, instance), scrapes) in lists.iter().zip(names).zip(history) {
        for (at, series) in list.iter().enumerate() {
            let (metric, labels) = (series.metric(), series.text());
            let comma = if labels.is_empty() { "" } else { "," };
            for step in steps.clone() {
                let values = &scrapes[usize::try_from(step).unwrap()];
                let ts_s = (START_MS + step * INTERVAL_MS) / 1000;
                writeln!(
                    out,
                    "{metric}{{cluster=\"prod\",instance=\"{instance}\",job=\"etcd\"{comma}{labels}}} {} {ts_s}",
                    values[at]
                )
                .unwrap();
            }
        }
    }
    writeln!(out, "# EOF").unwrap();
}

/// One range query, several times: parsing, loading from the store and evaluating.
pub fn query(dir: &Path, [start_ms, end_ms, step_ms]: [i64; 3], rounds: i64, expression: &str) {
    crate::block_on(async {
        let store = open(dir).await;
        let range = EvalRange { start_ms, end_ms, step_ms };
        let mut seconds = Vec::new();
        let (mut series, mut points) = (0, 0);
        for _ in 0..rounds {
            let began = Instant::now();
            let expr = promql::parse(expression).unwrap();
            let options = EvalOptions::default();
            let wanted = promql::selections(&expr, &range, &options);
            let loaded = samples::load(&store, &wanted, options.max_samples).await.unwrap();
            let result = promql::eval_range(&expr, &loaded.series, &range, &options).unwrap();
            seconds.push(began.elapsed().as_secs_f64());
            series = result.len();
            points = result.iter().map(|series| series.len()).sum();
        }
        seconds.sort_by(f64::total_cmp);
        let (worst, median) = (seconds[seconds.len() - 1], seconds[seconds.len() / 2]);
        println!("series={series} points={points} worst={worst:.5} median={median:.5}");
    });
}
