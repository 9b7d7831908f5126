//! Bytes per sample on real `/metrics` texts of a 3-member cluster, advanced by a seeded replayer, and how
//! fast one series is found in a month of them.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null};
use arrow::datatypes::{DataType, Field, Schema};
use etcd_monitor::model::unit::ConfigDuration;
use etcd_monitor::model::{Labels, Matcher, Selection};
use etcd_monitor::store::compact::{Plan, compact};
use etcd_monitor::store::key::Prefix;
use etcd_monitor::store::samples::{self, Row};
use etcd_monitor::store::table::{Level, Table};
use etcd_monitor::store::{RetentionConfig, Store, Writer, listing};

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::conformance::local;

/// A small generator with a seed: the replay must be the same everywhere.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How a series moves from scrape to scrape.
enum Motion {
    /// Most of what etcd exports: set once, or a counter of what does not happen.
    Still,
    /// A counter, with its mean increase per scrape.
    Counter(f64),
    /// Cumulative float seconds.
    Seconds(f64),
    /// A gauge around its first value.
    Gauge,
}

struct Moving {
    instance: String,
    labels: Labels,
    first: f64,
    value: f64,
    motion: Motion,
}

struct Replay {
    series: Vec<Moving>,
    seeded: Seeded,
}

impl Replay {
    fn of_three_members(mix: Mix) -> Self {
        let mut seeded = Seeded(0x5eed);
        let mut series = Vec::new();
        for port in [13100, 13102, 13104] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(format!("tests/data/store/metrics/member-{port}.txt"));
            let text = std::fs::read_to_string(&path).expect("checked in");
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let (name, value) = line.rsplit_once(' ').expect("a sample");
                let (metric, labels) = name.split_once('{').unwrap_or((name, "}"));
                let labels = Labels::parse_canonical(labels.trim_end_matches('}')).expect("labels");
                let value: f64 = value.parse().expect("a value");
                let motion = motion_of(mix, metric, value, &mut seeded);
                let labels = labels.with("__name__", metric);
                series.push(Moving {
                    instance: format!("127.0.0.1:{port}"),
                    labels,
                    first: value,
                    value,
                    motion,
                });
            }
        }
        Self { series, seeded }
    }

    fn step(&mut self) {
        for series in &mut self.series {
            match series.motion {
                Motion::Still => {}
                Motion::Counter(mean) => series.value += (self.seeded.fraction() * 2.0 * mean).round(),
                Motion::Seconds(mean) => series.value += self.seeded.fraction() * 2.0 * mean,
                Motion::Gauge => {
                    series.value = (series.first * (0.95 + 0.1 * self.seeded.fraction())).round();
                }
            }
        }
    }

    fn rows(&self, ts_ms: i64) -> Vec<Row<'_>> {
        let rows = self.series.iter().map(|series| Row {
            cluster: "prod",
            instance: &series.instance,
            labels: &series.labels,
            ts_ms,
            value: series.value,
        });
        rows.collect()
    }
}

/// How much moves.
#[derive(Clone, Copy, PartialEq)]
enum Mix {
    /// As in the texts: what was zero stays zero, counters grow at the pace that brought them where they are.
    Idle,
    /// Half of all counters and buckets move, from once in a minute to thousands per scrape.
    Busy,
}

fn motion_of(mix: Mix, metric: &str, value: f64, seeded: &mut Seeded) -> Motion {
    let is = |endings: &[&str]| endings.iter().any(|ending| metric.ends_with(ending));
    let moves = match mix {
        Mix::Idle => value != 0.0,
        Mix::Busy => seeded.fraction() < 0.5,
    };
    // The texts were taken some minutes after the start.
    let pace = match mix {
        Mix::Idle => value / 40.0,
        Mix::Busy => 10_f64.powf(seeded.fraction() * 5.0 - 1.0),
    };
    if !moves || metric.ends_with("_info") || metric.contains("version") {
        Motion::Still
    } else if is(&["_sum", "_seconds_total"]) {
        Motion::Seconds(pace)
    } else if is(&["_total", "_bucket", "_count"]) {
        Motion::Counter(pace)
    } else if value > 10.0 {
        Motion::Gauge
    } else {
        Motion::Still
    }
}

/// The day's rows again, with all values in one f64 column: byte-stream split, and the Parquet writer's
/// default dictionary.
async fn one_column_sizes(store: &Store) -> (f64, f64) {
    let listed = store.list(&Prefix::data()).await.expect("lists");
    let day = listed.iter().find(|entry| entry.key.as_str().contains("level=day")).expect("merged");
    let body = store.get(&day.key).await.expect("reads").expect("is there");
    let batches: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(body)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .expect("our file")
        .map(|batch| {
            let batch = batch.expect("decodes");
            let ints = cast(&batch["value_int"], &DataType::Float64).expect("casts");
            let floats = &batch["value"];
            let has_int = is_not_null(&ints).expect("computes");
            let values = zip(&has_int, &ints, floats).expect("computes");
            let mut fields: Vec<_> = batch.schema().fields().iter().take(5).cloned().collect();
            fields.push(Field::new("value", DataType::Float64, true).into());
            let mut columns = batch.columns()[..5].to_vec();
            columns.push(values);
            RecordBatch::try_new(Schema::new(fields).into(), columns).expect("fits")
        })
        .collect();
    let size = |dictionary: bool| {
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("valid")))
            .set_data_page_row_count_limit(20_000)
            .set_column_dictionary_enabled("ts".into(), false)
            .set_column_encoding("ts".into(), Encoding::DELTA_BINARY_PACKED);
        if !dictionary {
            properties = properties
                .set_column_dictionary_enabled("value".into(), false)
                .set_column_encoding("value".into(), Encoding::BYTE_STREAM_SPLIT);
        }
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batches[0].schema(), Some(properties.build())).expect("opens");
        for batch in &batches {
            writer.write(batch).expect("writes");
        }
        writer.into_inner().expect("ends").len() as f64
    };
    (size(false), size(true))
}

const START_MS: i64 = 1_795_305_600_000;
const HOUR_MS: i64 = 3_600_000;

async fn bytes_and_rows(store: &Store, level: Level) -> (f64, f64) {
    let lines = listing(store).await.expect("lists");
    let line = &lines[&(Table::Samples, level)];
    (line.bytes as f64, line.rows as f64)
}

#[tokio::test]
async fn a_busy_hour_takes_less_than_a_byte_and_a_half_per_sample() {
    measure(Mix::Busy, hours_or(1)).await;
}

#[tokio::test]
async fn an_idle_hour_takes_less_than_half_a_byte_per_sample() {
    measure(Mix::Idle, hours_or(1)).await;
}

/// Longer replays, for `docs/decisions/0004`.
fn hours_or(hours: i64) -> i64 {
    std::env::var("ETCD_MONITOR_TEST_HOURS").ok().and_then(|text| text.parse().ok()).unwrap_or(hours)
}

async fn measure(mix: Mix, hours: i64) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = local(&folder).await;
    let writer = Writer::new(START_MS, 1);
    let mut replay = Replay::of_three_members(mix);
    let began = Instant::now();
    for scrape in 0..hours * 240 {
        let ts_ms = START_MS + scrape * 15_000;
        samples::write_segment(
            &store,
            &writer,
            ts_ms + 500,
            u64::try_from(scrape).expect("small"),
            &replay.rows(ts_ms),
        )
        .await
        .expect("writes");
        replay.step();
    }
    let written = began.elapsed();
    let (raw_bytes, rows) = bytes_and_rows(&store, Level::Raw).await;
    let began = Instant::now();
    compact(&store, &Plan::default(), START_MS + hours * HOUR_MS + 600_000, &|_| {}).await.expect("compacts");
    let merged = began.elapsed();
    let (hour_bytes, hour_rows) = bytes_and_rows(&store, Level::Hour).await;
    assert_eq!(hour_rows, rows);
    compact(&store, &Plan::default(), START_MS + 26 * HOUR_MS, &|_| {}).await.expect("compacts");
    let (day_bytes, _) = bytes_and_rows(&store, Level::Day).await;
    let (one_column, dictionary) = one_column_sizes(&store).await;
    println!(
        "day with one f64 column: {:.3} B, and with a dictionary {:.3} B",
        one_column / rows,
        dictionary / rows
    );

    let moving = replay.series.iter().filter(|series| !matches!(series.motion, Motion::Still)).count();
    println!(
        "{rows} samples of {} series, {moving} moving: raw {:.2} B, hour {:.3} B, day ({hours} h) {:.3} B per sample; \
         wrote in {written:.1?}, merged hours in {merged:.1?}",
        replay.series.len(),
        raw_bytes / rows,
        hour_bytes / rows,
        day_bytes / rows,
    );
    let selection = Selection {
        matchers: vec![
            Matcher::equal("__name__", "etcd_server_proposals_committed_total"),
            Matcher::equal("instance", "127.0.0.1:13102"),
        ],
        start_ms: START_MS,
        end_ms: START_MS + 24 * HOUR_MS,
    };
    for _ in 0..2 {
        let began = Instant::now();
        let loaded = samples::load(&store, std::slice::from_ref(&selection), 1_000_000).await.expect("loads");
        println!("one series of {} in {:.1?}", replay.series.len(), began.elapsed());
        assert_eq!(
            loaded.series.iter().map(|series| series.len()).sum::<usize>(),
            usize::try_from(hours * 240).expect("small")
        );
    }
    assert!(mix == Mix::Idle || day_bytes < one_column, "the integer column does not pay");
    let limit = if mix == Mix::Busy { 1.5 } else { 0.5 };
    assert!(hour_bytes / rows < limit, "{:.3} bytes per sample", hour_bytes / rows);
}

/// A month of day files: only the pages of the wanted series are read, each file's footer once.
#[tokio::test]
async fn one_series_is_found_in_a_month_of_day_files() {
    const SCRAPES: i64 = 96;
    let folder = tempfile::tempdir().expect("a folder");
    let store = local(&folder).await;
    let writer = Writer::new(START_MS, 1);
    let mut replay = Replay::of_three_members(Mix::Busy);
    replay.series.truncate(200);
    for day in 0..30 {
        let mut scraped = Vec::new();
        for scrape in 0..SCRAPES {
            let ts_ms = START_MS + day * 24 * HOUR_MS + scrape * 24 * HOUR_MS / SCRAPES;
            let rows = replay.rows(ts_ms);
            scraped.extend(rows.iter().map(|row| (row.labels.clone(), row.ts_ms, row.value)));
            replay.step();
        }
        let instance = "127.0.0.1:13100";
        let rows: Vec<Row<'_>> = scraped
            .iter()
            .map(|(labels, ts_ms, value)| Row {
                cluster: "prod",
                instance,
                labels,
                ts_ms: *ts_ms,
                value: *value,
            })
            .collect();
        let flush_ms = START_MS + (day + 1) * 24 * HOUR_MS;
        samples::write_segment(&store, &writer, flush_ms, u64::try_from(day).expect("small"), &rows)
            .await
            .expect("writes");
    }
    let plan = Plan {
        retention: RetentionConfig {
            raw: ConfigDuration(Duration::from_secs(90 * 86_400)),
            ..Default::default()
        },
        ..Plan::default()
    };
    compact(&store, &plan, START_MS + 31 * 24 * HOUR_MS, &|_| {}).await.expect("compacts");
    let labels = replay.series[100].labels.clone();
    let matchers = labels.iter().map(|label| Matcher::equal(&label.name, &label.value)).collect();
    let selection = Selection { matchers, start_ms: START_MS, end_ms: START_MS + 31 * 24 * HOUR_MS };
    let none = Selection { matchers: vec![Matcher::equal("__name__", "absent")], ..selection.clone() };
    for what in ["cold", "warm"] {
        let began = Instant::now();
        samples::load(&store, std::slice::from_ref(&none), 1).await.expect("loads");
        println!("an absent series of a month, {what}: {:.1?}", began.elapsed());
    }
    for what in ["first", "second"] {
        let began = Instant::now();
        let loaded = samples::load(&store, std::slice::from_ref(&selection), 1_000_000).await.expect("loads");
        println!("one series of a month, {what}: {:.1?}", began.elapsed());
        let lengths: Vec<usize> = loaded.series.iter().map(|series| series.len()).collect();
        assert_eq!(lengths, [usize::try_from(30 * SCRAPES).expect("small")]);
    }
}
