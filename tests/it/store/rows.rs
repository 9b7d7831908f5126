//! Samples to write, and how to add them up again: by our reader and by DuckDB.

use std::ops::Range;
use std::process::Command;

use etcd_monitor::model::{Labels, Selection, is_stale_marker};
use etcd_monitor::store::samples::{self, Row};
use etcd_monitor::store::{Store, views};

use crate::s3::tool;

/// 2026-11-22T22:58:00Z: an hour and a day end soon.
pub const START_MS: i64 = 1_795_388_280_000;

/// Series of a few members, with a value for every scrape.
pub struct Scrapes {
    series: Vec<(String, Labels)>,
}

/// One scrape of all series.
pub struct Scraped<'a> {
    scrapes: &'a Scrapes,
    ts_ms: i64,
    values: Vec<f64>,
}

impl Scrapes {
    pub fn synthetic(series: usize, members: usize) -> Self {
        let series = (0..series * members)
            .map(|index| {
                let le = format!("{}", index % 7);
                let name = format!("etcd_metric_{}", index / members / 7);
                let instance = format!("10.0.0.{}:2379", index % members);
                (
                    instance,
                    Labels::from_pairs([
                        ("__name__", name.as_str()),
                        ("le", &le),
                        ("n", &format!("{index}")),
                    ]),
                )
            })
            .collect();
        Self { series }
    }

    /// The `n`th scrape, every 15 s. Some series are integers, some are not, one goes stale.
    pub fn at(&self, n: i64) -> Scraped<'_> {
        let values = (0..self.series.len()).map(|index| value(index, n)).collect();
        Scraped { scrapes: self, ts_ms: START_MS + n * 15_000, values }
    }

    /// Count and sum of the non-stale samples of some scrapes.
    pub fn sum(&self, scrapes: Range<i64>) -> (usize, f64) {
        let values = scrapes.flat_map(|n| self.at(n).values).filter(|value| !is_stale_marker(*value));
        values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value))
    }
}

/// Halves and integers only, so that sums are exact in any order.
fn value(index: usize, n: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let (index_f, n_f) = (index as f64, n as f64);
    match index % 5 {
        0 => n_f * 3.0,
        1 => n_f * 0.5 + index_f,
        2 if n % 9 == 8 => f64::from_bits(0x7ff0_0000_0000_0002),
        2 => 7.0,
        3 => -index_f,
        _ => n_f * 1024.5,
    }
}

impl Scraped<'_> {
    pub fn rows(&self) -> Vec<Row<'_>> {
        let rows = self.scrapes.series.iter().zip(&self.values);
        rows.map(|((instance, labels), value)| Row {
            cluster: "prod",
            instance,
            labels,
            ts_ms: self.ts_ms,
            value: *value,
        })
        .collect()
    }
}

pub fn everything() -> Selection {
    Selection { matchers: vec![], start_ms: i64::MIN, end_ms: i64::MAX }
}

/// Count and sum of all non-stale samples, as our reader sees them.
pub async fn sum(store: &Store) -> (usize, f64) {
    let loaded = samples::load(store, &[everything()], 10_000_000).await.expect("loads");
    assert_eq!(loaded.rollups, [], "raw data is there");
    let values = loaded.series.iter().flat_map(|series| series.values.clone());
    values
        .filter(|value| !is_stale_marker(*value))
        .fold((0, 0.0), |(count, sum), value| (count + 1, sum + value))
}

/// The one line that DuckDB answers to a query over the shipped views.
pub async fn duckdb(store: &Store, query: &str) -> String {
    ask_duckdb(&views::duckdb(store).await.expect("lists"), query)
}

/// [`sum_by_duckdb`] with the view's `DISTINCT` taken out: right only when the hiding of merged sources alone
/// leaves every row once.
pub async fn sum_without_distinct(store: &Store) -> (usize, f64) {
    let views = views::duckdb(store).await.expect("lists");
    let distinct = "DISTINCT ON (dt, cluster, metric, instance, labels, ts)";
    assert!(views.contains(distinct));
    count_and_sum(&ask_duckdb(&views.replace(distinct, ""), SUM))
}

/// [`sum`] by the views for Athena. sqlglot must read every statement; then DuckDB runs the
/// views, with its own way of reading files in place of the external tables.
pub fn sum_by_athena(store: &Store) -> (usize, f64) {
    const SCRIPT: &str = "
import sys, duckdb, sqlglot
from sqlglot import exp
root, sql, query = sys.argv[1:]
c = duckdb.connect()
for text in filter(str.strip, sql.split(';\\n')):
    # Athena's tables are Hive's SQL, its views are Trino's.
    dialect = 'athena' if 'EXTERNAL TABLE' in text else 'trino'
    statement = sqlglot.parse_one(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(statement, exp.Create), repr(statement)
    if statement.kind == 'TABLE':
        name = statement.this.this.name
        projection = {p.name for p in statement.find_all(exp.Property) if p.name.startswith('projection.')}
        assert statement.find(exp.PartitionedByProperty) and 'projection.enabled' in projection, projection
        folder = f'{root}/data/' + name.removesuffix('_files')
        try:
            c.execute(f\"CREATE VIEW {name} AS SELECT * FROM read_parquet('{folder}/*/*/*.parquet', hive_partitioning = true)\")
        except duckdb.IOException:
            pass  # a table without files
        continue
    assert statement.kind == 'VIEW', statement.kind
    if c.execute('SELECT count(*) FROM duckdb_views() WHERE view_name = ?', [statement.this.name + '_files']).fetchone()[0]:
        c.execute(statement.sql('duckdb'))
print(*c.execute(query).fetchone())";
    let root = store.local_path().expect("a folder").display().to_string();
    let sql = views::athena(&root);
    let output =
        Command::new(tool("python")).args(["-c", SCRIPT, &root, &sql, SUM]).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    count_and_sum(String::from_utf8_lossy(&output.stdout).trim())
}

fn ask_duckdb(views: &str, query: &str) -> String {
    let script = "import duckdb, sys\nc = duckdb.connect()\nc.execute(\"SET TimeZone='UTC'\")\nc.execute(sys.argv[1])\nprint(*c.execute(sys.argv[2]).fetchone())";
    let output =
        Command::new(tool("python")).args(["-c", script, views, query]).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

const SUM: &str = "SELECT count(value), sum(value) FROM samples";

/// [`sum`] by DuckDB.
pub async fn sum_by_duckdb(store: &Store) -> (usize, f64) {
    count_and_sum(&duckdb(store, SUM).await)
}

fn count_and_sum(line: &str) -> (usize, f64) {
    let (count, sum) = line.split_once(' ').expect("two numbers");
    (count.parse().expect("a count"), sum.parse().expect("a sum"))
}
