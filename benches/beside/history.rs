//! A history in both formats, and queries over ours.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use etcd_monitor::model::Labels;
use etcd_monitor::promql::{self, EvalOptions, EvalRange};
use etcd_monitor::store::compact::{Plan, compact};
use etcd_monitor::store::samples::{self, Row};
use etcd_monitor::store::table::Table;
use etcd_monitor::store::{Writer, listing};

use crate::ingest::open;
use crate::members::Member;

/// 2025-11-24T00:00:00Z: a block of Prometheus and a day of ours begin here.
pub const START_MS: i64 = 1_763_942_400_000;
const INTERVAL_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;
const PORT: u16 = 2379;

/// Writes `hours` of `targets` members to `dir/store`, compacted to a day file, and to `dir/openmetrics.txt`.
pub fn write(dir: &Path, targets: usize, hours: i64, moving: f64) {
    crate::block_on(async {
        let store = open(&dir.join("store")).await;
        let writer = Writer::new(START_MS, 1);
        let mut members: Vec<Member> = (0..targets).map(|n| Member::new(n, moving)).collect();
        let names: Vec<String> = (0..targets).map(|n| crate::replay::address(n, PORT).to_string()).collect();
        let labels: Vec<Vec<Labels>> = members.iter().map(labels_of).collect();
        let mut values: Vec<Vec<Vec<f64>>> =
            members.iter().map(|member| vec![Vec::new(); member.lines.len()]).collect();
        for step in 0..hours * HOUR_MS / INTERVAL_MS {
            let ts_ms = START_MS + step * INTERVAL_MS;
            let rows: Vec<Row<'_>> = members
                .iter()
                .zip(&names)
                .zip(&labels)
                .flat_map(|((member, instance), labels)| {
                    member.lines.iter().zip(labels).map(move |(line, labels)| Row {
                        cluster: "prod",
                        instance,
                        labels,
                        ts_ms,
                        value: line.value,
                    })
                })
                .collect();
            let n = u64::try_from(step).unwrap();
            samples::write_segment(&store, &writer, ts_ms + 500, n, &rows).await.unwrap();
            for (member, values) in members.iter_mut().zip(&mut values) {
                for (line, values) in member.lines.iter().zip(values) {
                    values.push(line.value);
                }
                member.step();
            }
        }
        openmetrics(&dir.join("openmetrics.txt"), &members, &names, &values);
        let began = Instant::now();
        compact(&store, &Plan::default(), START_MS + hours * HOUR_MS + HOUR_MS / 6, &|_| {}).await.unwrap();
        // The hours first, then the day from them.
        compact(&store, &Plan::default(), START_MS + 26 * HOUR_MS, &|_| {}).await.unwrap();
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

fn labels_of(member: &Member) -> Vec<Labels> {
    let parsed = member.lines.iter().map(|line| {
        let (metric, labels) = line.series.split_once('{').unwrap_or((line.series, "}"));
        Labels::parse_canonical(labels.trim_end_matches('}')).unwrap().with("__name__", metric)
    });
    parsed.collect()
}

/// Series by series, as `promtool tsdb create-blocks-from openmetrics` reads it best. Types are left out, so
/// that any name may stand anywhere.
fn openmetrics(path: &Path, members: &[Member], names: &[String], values: &[Vec<Vec<f64>>]) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    for ((member, instance), values) in members.iter().zip(names).zip(values) {
        for (line, values) in member.lines.iter().zip(values) {
            let (metric, labels) = line.series.split_once('{').unwrap_or((line.series, "}"));
            let comma = if labels == "}" { "" } else { "," };
            for (value, step) in values.iter().zip(0_i64..) {
                let ts_s = (START_MS + step * INTERVAL_MS) / 1000;
                writeln!(
                    out,
                    "{metric}{{cluster=\"prod\",instance=\"{instance}\",job=\"etcd\"{comma}{labels} {value} {ts_s}"
                )
                .unwrap();
            }
        }
    }
    writeln!(out, "# EOF").unwrap();
}

/// One range query, five times: parsing, loading from the store and evaluating.
pub fn query(dir: &Path, start_s: i64, end_s: i64, step_s: i64, expression: &str) {
    crate::block_on(async {
        let store = open(dir).await;
        let range = EvalRange { start_ms: start_s * 1000, end_ms: end_s * 1000, step_ms: step_s * 1000 };
        let mut seconds = Vec::new();
        let (mut series, mut points) = (0, 0);
        for _ in 0..5 {
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
        println!("series={series} points={points} first_or_worst={:.4} median={:.4}", seconds[4], seconds[2]);
    });
}
