//! The tables: their columns, their order, and the keys of their files.
//!
//! `data/<table>/level=raw|hour|day/dt=YYYY-MM-DD/<name>.parquet`. Every file holds rows of one UTC day;
//! raw and hour files hold rows of one UTC hour, which their name starts with.

mod fields;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use fields::{
    advice_fields, backup_fields, bench_fields, disk_fields, float, instant_field, int, plain,
    reading_fields, required, series_fields, text,
};

use super::key::{DAY_MS, Day, HOUR_MS, Key, Prefix, instant, parse_instant};

/// A table of Parquet files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Samples,
    Rollup5m,
    Rollup1h,
    Readings,
    Events,
    JobRuns,
    Backups,
    BenchRuns,
    DiskRuns,
    Advice,
}

impl Table {
    pub const ALL: [Self; 10] = [
        Self::Samples,
        Self::Rollup5m,
        Self::Rollup1h,
        Self::Readings,
        Self::Events,
        Self::JobRuns,
        Self::Backups,
        Self::BenchRuns,
        Self::DiskRuns,
        Self::Advice,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Rollup5m => "rollup_5m",
            Self::Rollup1h => "rollup_1h",
            Self::Readings => "readings",
            Self::Events => "events",
            Self::JobRuns => "job_runs",
            Self::Backups => "backups",
            Self::BenchRuns => "bench_runs",
            Self::DiskRuns => "disk_runs",
            Self::Advice => "advice",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == text)
    }

    /// The columns, in file order.
    pub fn schema(self) -> SchemaRef {
        let fields = match self {
            Self::Samples => [series_fields(), vec![int("value_int"), float("value")]].concat(),
            Self::Rollup5m | Self::Rollup1h => [
                series_fields(),
                vec![instant_field("last_ts", true), float("min"), float("max"), float("last")],
                vec![float("sum"), required(int("count"))],
            ]
            .concat(),
            Self::Readings => reading_fields(),
            Self::Events => vec![
                required(text("cluster")),
                required(plain("id")),
                required(instant_field("ts", false)),
                required(text("kind")),
                required(text("severity")),
                required(text("subject")),
                text("actor"),
                required(plain("text")),
                required(plain("details")),
            ],
            Self::JobRuns => vec![
                required(text("job")),
                required(text("shard")),
                required(int("attempt")),
                required(instant_field("slot", false)),
                required(text("host")),
                required(instant_field("started", false)),
                required(instant_field("ended", false)),
                required(text("outcome")),
                required(plain("summary")),
                required(plain("errors")),
            ],
            Self::Backups => backup_fields(),
            Self::BenchRuns => bench_fields(),
            Self::DiskRuns => disk_fields(),
            Self::Advice => advice_fields(),
        };
        Arc::new(Schema::new(fields))
    }

    /// The columns that, with [`Table::time_column`] after them, sort the rows and identify one.
    pub fn group_columns(self) -> &'static [&'static str] {
        match self {
            Self::Samples | Self::Rollup5m | Self::Rollup1h => &["cluster", "metric", "instance", "labels"],
            Self::Readings => &["cluster", "instance"],
            Self::Events => &["cluster", "id"],
            Self::JobRuns => &["job", "shard", "attempt"],
            Self::Backups => &["cluster", "at", "id"],
            Self::BenchRuns => &["cluster", "id", "part"],
            Self::DiskRuns => &["host", "id", "test"],
            Self::Advice => &["cluster", "rule"],
        }
    }

    /// The tables that are written as things happen, whose files are merged; rollups are made from others.
    pub(super) fn merged() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|table| table.bucket_ms().is_none())
    }

    /// The width of a rollup's buckets, ms; `None` for what is no rollup.
    pub fn bucket_ms(self) -> Option<i64> {
        match self {
            Self::Rollup5m => Some(300_000),
            Self::Rollup1h => Some(HOUR_MS),
            _ => None,
        }
    }

    pub fn time_column(self) -> &'static str {
        match self {
            Self::JobRuns => "slot",
            _ => "ts",
        }
    }

    /// All files of one level.
    pub(super) fn level(self, level: Level) -> Prefix {
        Prefix::listed(&format!("data/{}/level={}", self.as_str(), level.as_str()))
    }

    pub(super) fn day(self, level: Level, day: Day) -> Prefix {
        Prefix::listed(&format!("{}/dt={day}", self.level(level).as_str()))
    }
}

/// How far a file is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As flushed: a segment.
    Raw,
    Hour,
    Day,
}

impl Level {
    /// Lowest first: the order in which files may be deleted, so that none comes back to sight.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Hour, Self::Day];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a table file's key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    pub table: Table,
    pub level: Level,
    pub day: Day,
    /// The UTC hour, for raw and hour files.
    pub hour: Option<u8>,
    /// The part's number, for hour and day files.
    pub part: Option<u32>,
    /// When it was flushed, for segments: no row of samples is of a later time.
    pub flush_ms: Option<i64>,
}

impl FileKey {
    pub fn parse(key: &Key) -> Option<Self> {
        let segments = key.segments();
        let ["data", table, level, dt, name] = segments.as_slice() else { return None };
        let table = Table::parse(table)?;
        let level = level.strip_prefix("level=")?;
        let level = Level::ALL.into_iter().find(|known| known.as_str() == level)?;
        let day = Day::parse(dt.strip_prefix("dt=")?)?;
        let stem = name.strip_suffix(".parquet")?;
        let hour_and_rest = stem
            .strip_prefix('h')
            .and_then(|rest| rest.split_once('-'))
            .and_then(|(hour, rest)| Some((hour.parse::<u8>().ok().filter(|hour| *hour < 24)?, rest)));
        let part = |text: &str| text.strip_prefix("part-").and_then(|number| number.parse().ok());
        let (hour, part, flush_ms) = match level {
            Level::Raw => {
                let (hour, rest) = hour_and_rest?;
                (Some(hour), None, Some(parse_instant(rest.split('-').next()?)?))
            }
            Level::Hour => {
                let (hour, rest) = hour_and_rest?;
                (Some(hour), Some(part(rest)?), None)
            }
            Level::Day => (None, Some(part(stem)?), None),
        };
        Some(Self { table, level, day, hour, part, flush_ms })
    }

    /// First and last millisecond that rows of this file can have.
    pub fn span_ms(&self) -> (i64, i64) {
        let day_ms = self.day.start_ms();
        match self.hour {
            Some(hour) => {
                let start_ms = day_ms + i64::from(hour) * HOUR_MS;
                (start_ms, start_ms + HOUR_MS - 1)
            }
            None => (day_ms, day_ms + DAY_MS - 1),
        }
    }
}

/// The UTC hour of the day.
pub(super) fn hour_of(ts_ms: i64) -> u8 {
    u8::try_from(ts_ms.rem_euclid(DAY_MS) / HOUR_MS).unwrap_or(0)
}

/// A segment: rows of the hour of `row_ms`, flushed at `flush_ms` as the writer's `n`th.
pub(super) fn raw_key(table: Table, row_ms: i64, flush_ms: i64, writer: &str, n: u64) -> Key {
    let folder = table.day(Level::Raw, Day::of(row_ms));
    let hour = hour_of(row_ms);
    Key::listed(&format!("{}/h{hour:02}-{}-{writer}-{n:06}.parquet", folder.as_str(), instant(flush_ms)))
}

pub(super) fn hour_key(table: Table, day: Day, hour: u8, part: u32) -> Key {
    Key::listed(&format!("{}/h{hour:02}-part-{part:04}.parquet", table.day(Level::Hour, day).as_str()))
}

pub(super) fn day_key(table: Table, day: Day, part: u32) -> Key {
    Key::listed(&format!("{}/part-{part:04}.parquet", table.day(Level::Day, day).as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_keys_say_what_they_hold() {
        let ts_ms = 1_795_442_712_345;
        let day = Day::of(ts_ms);
        let raw = raw_key(Table::Samples, ts_ms, ts_ms + 9, "01AB", 3);
        assert_eq!(
            raw.as_str(),
            "data/samples/level=raw/dt=2026-11-23/h14-20261123T140512354Z-01AB-000003.parquet"
        );
        for (key, hour, part) in [
            (raw, Some(14), None),
            (hour_key(Table::Events, day, 7, 2), Some(7), Some(2)),
            (day_key(Table::Readings, day, 0), None, Some(0)),
        ] {
            let parsed = FileKey::parse(&key).expect("our own key");
            assert_eq!((parsed.hour, parsed.part, parsed.day), (hour, part, day), "{key}");
            let flush_ms = (parsed.level == Level::Raw).then_some(ts_ms + 9);
            assert_eq!(parsed.flush_ms, flush_ms);
        }
        for bad in ["data/samples/x", "data/samples/level=day/dt=2026-11-23/h25-part-0001.parquet"] {
            assert_eq!(FileKey::parse(&Key::listed(bad)), None, "{bad}");
        }
    }

    #[test]
    fn columns_are_a_contract() {
        let text: String = Table::ALL
            .iter()
            .flat_map(|table| {
                table
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| {
                        let null = if field.is_nullable() { "" } else { " not null" };
                        format!("{}.{} {}{null}\n", table.as_str(), field.name(), field.data_type())
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        insta::assert_snapshot!(text);
    }
}
