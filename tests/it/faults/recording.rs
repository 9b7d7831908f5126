//! What was read of a cluster while it met a fault, in one small file: JSON lines, compressed. Of a scrape only the
//! values that changed since the member's last one are written, of its list of series only what is new.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use etcd_monitor::inspect::Inspection;
use etcd_monitor::model::{Instance, Labels, Reading, Samples, SeriesList, TargetSeries};
use etcd_monitor::probe::{Parts, Prober, ReadingSource};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::scenario::{Scenario, folder};

/// The file's first line says it: a reader knows whether it can read on.
const FORMAT: u32 = 1;

/// One line. Times are ms since the epoch, as they were.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Format(u32),
    Reading {
        reading: Reading,
        scrapes: BTreeMap<Instance, Delta>,
    },
    Inspection(Box<Inspection>),
    Step {
        number: usize,
        ts_ms: i64,
    },
    /// A member became leader of this term, by its own log.
    Leader {
        term: u64,
        ts_ms: i64,
    },
    Impact(Impact),
}

/// What clients felt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    /// When the first of two requests within ten seconds failed everywhere or took longer than a second, ms since the
    /// epoch: one alone may be this machine's, busy with other tests.
    pub first_ms: Option<i64>,
    #[serde(skip)]
    last_failed_ms: Option<i64>,
    /// Requests that did.
    pub failed: usize,
    pub requests: usize,
}

impl Impact {
    /// Of a request that began then.
    pub fn count(&mut self, began_ms: i64, done: bool) {
        self.requests += 1;
        if !done {
            self.failed += 1;
            let before = self.last_failed_ms.replace(began_ms).filter(|before| began_ms - before <= 10_000);
            self.first_ms = self.first_ms.or(before);
        }
    }
}

/// A scrape against the member's last one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Delta {
    /// All series, where they are not those of the last scrape: a number is the position there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    series: Option<Vec<Named>>,
    /// Position and value of each that is not as it was; `None` is not a number.
    changed: Vec<(u32, Option<f64>)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Named {
    Known(u32),
    New(Vec<(String, String)>),
}

/// All that is known of one run of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// In the order in which they began.
    pub readings: Vec<Reading>,
    pub inspections: Vec<Inspection>,
    /// When each step was done, from the first.
    pub steps: Vec<i64>,
    /// When a leader of each term came to be.
    pub leaders: BTreeMap<u64, i64>,
    pub impact: Impact,
}

impl Recording {
    pub fn path(scenario: &Scenario) -> PathBuf {
        folder().join(format!("{}.jsonl.zst", scenario.name))
    }

    pub fn load(scenario: &Scenario) -> Self {
        let path = Self::path(scenario);
        let again = "record it: see docs/reliability.md";
        let file =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; {again}", path.display()));
        let text = zstd::decode_all(&file[..]).expect("a recording");
        let mut recording = Self::default();
        let mut last = BTreeMap::new();
        for line in String::from_utf8(text).expect("UTF-8").lines() {
            match serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}; {again}", path.display()))
            {
                Line::Format(format) => assert_eq!(format, FORMAT, "{}: {again}", path.display()),
                Line::Reading { mut reading, scrapes } => {
                    for (instance, delta) in scrapes {
                        let samples = delta.after(last.get(&instance));
                        last.insert(instance.clone(), samples.clone());
                        let mut members = reading.members.iter_mut();
                        let member = members.find(|member| member.instance == instance).expect("a member");
                        member.scrape.as_mut().expect("scraped").samples = samples;
                    }
                    recording.readings.push(reading);
                }
                Line::Inspection(inspection) => recording.inspections.push(*inspection),
                Line::Step { number, ts_ms } => {
                    assert_eq!(number, recording.steps.len() + 1);
                    recording.steps.push(ts_ms);
                }
                Line::Leader { term, ts_ms } => {
                    recording.leaders.insert(term, ts_ms);
                }
                Line::Impact(impact) => recording.impact = impact,
            }
        }
        recording
    }

    pub fn save(&self, scenario: &Scenario) {
        let mut lines = vec![Line::Format(FORMAT)];
        let mut last: BTreeMap<Instance, Samples> = BTreeMap::new();
        for reading in &self.readings {
            let mut scrapes = BTreeMap::new();
            for member in &reading.members {
                let Some(scrape) = member.scrape.as_ref().filter(|scrape| scrape.ok) else { continue };
                let delta = Delta::between(last.get(&member.instance), &scrape.samples);
                scrapes.insert(member.instance.clone(), delta);
                last.insert(member.instance.clone(), scrape.samples.clone());
            }
            lines.push(Line::Reading { reading: reading.clone(), scrapes });
        }
        lines.extend(self.inspections.iter().cloned().map(Box::new).map(Line::Inspection));
        lines.extend(self.steps.iter().zip(1..).map(|(ts_ms, number)| Line::Step { number, ts_ms: *ts_ms }));
        lines.extend(self.leaders.iter().map(|(term, ts_ms)| Line::Leader { term: *term, ts_ms: *ts_ms }));
        lines.push(Line::Impact(self.impact.clone()));
        let text: String =
            lines.iter().map(|line| serde_json::to_string(line).expect("JSON") + "\n").collect();
        let file = zstd::encode_all(text.as_bytes(), 19).expect("compressed");
        std::fs::write(Self::path(scenario), file).expect("written");
    }

    /// The instant of the first reading.
    pub fn start_ms(&self) -> i64 {
        self.readings.first().expect("a reading").ts_ms
    }
}

impl Delta {
    fn between(last: Option<&Samples>, now: &Samples) -> Self {
        let known: BTreeMap<&Labels, u32> = match last {
            Some(last) => last.iter().map(|(labels, _)| labels).zip(0..).collect(),
            None => BTreeMap::new(),
        };
        let same = last.is_some_and(|last| last.list().same(now.list()));
        let series = (!same).then(|| {
            let named = |labels: &Labels| match known.get(labels) {
                Some(position) => Named::Known(*position),
                None => {
                    Named::New(labels.iter().map(|l| (l.name.to_string(), l.value.to_string())).collect())
                }
            };
            now.iter().map(|(labels, _)| named(labels)).collect()
        });
        let before = |labels: &Labels| {
            let position = *known.get(labels)? as usize;
            last?.values().get(position).copied()
        };
        let changed = now.iter().zip(0..).filter_map(|((labels, value), position)| {
            let differs = before(labels).is_none_or(|before| before.to_bits() != value.to_bits());
            differs.then_some((position, Some(value).filter(|value| !value.is_nan())))
        });
        Self { changed: changed.collect(), series }
    }

    fn after(self, last: Option<&Samples>) -> Samples {
        let empty = Samples::default();
        let last = last.unwrap_or(&empty);
        let (list, mut values) = match self.series {
            None => (Arc::clone(last.list()), last.values().to_vec()),
            Some(named) => {
                let each = named.into_iter().map(|named| match named {
                    Named::Known(at) => {
                        let at = at as usize;
                        (Arc::clone(last.list().get(at).expect("known")), last.values()[at])
                    }
                    Named::New(labels) => {
                        let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                        (Arc::new(TargetSeries::new(Labels::from_pairs(pairs))), f64::NAN)
                    }
                });
                let (series, values): (Vec<_>, Vec<_>) = each.unzip();
                (Arc::new(SeriesList::new(series)), values)
            }
        };
        for (position, value) in self.changed {
            values[position as usize] = value.unwrap_or(f64::NAN);
        }
        Samples::new(list, values)
    }
}

/// Reads etcd, and remembers what it read.
pub struct Recorder {
    pub prober: Prober,
    pub readings: Arc<Mutex<Vec<Reading>>>,
}

impl ReadingSource for Recorder {
    fn read(&self, now_ms: i64, parts: Parts) -> BoxFuture<'_, Reading> {
        async move {
            let reading = self.prober.read(now_ms, parts).await;
            self.readings.lock().expect("no panic").push(reading.clone());
            reading
        }
        .boxed()
    }
}

/// Gives what was read before, each reading at its time and after as long as it took.
pub struct Replayed {
    readings: Vec<Reading>,
    next: Mutex<usize>,
}

/// Ticks are two seconds apart, and not to the millisecond when they were then.
const NEAR_MS: i64 = 1_000;

impl Replayed {
    pub fn new(readings: Vec<Reading>) -> Self {
        Self { readings, next: Mutex::new(0) }
    }

    /// What was read at about `now_ms`. A tick that the recording does not have, of a machine that was busy then,
    /// finds what the one before it found.
    fn at(&self, now_ms: i64) -> Reading {
        let mut next = self.next.lock().expect("no panic");
        let of = |position: usize| self.readings.get(position);
        // What a scrape is in may not be passed over.
        while of(*next).is_some_and(|reading| reading.ts_ms < now_ms - NEAR_MS && !has_scrape(reading)) {
            *next += 1;
        }
        if let Some(reading) = of(*next).filter(|reading| reading.ts_ms <= now_ms + NEAR_MS) {
            *next += 1;
            return reading.clone();
        }
        let before = of(next.saturating_sub(1)).or(self.readings.last()).expect("a reading");
        let mut again = before.without_samples();
        again.members.iter_mut().for_each(|member| member.scrape = None);
        Reading { ts_ms: now_ms, ..again }
    }
}

fn has_scrape(reading: &Reading) -> bool {
    reading.members.iter().any(|member| member.scrape.is_some())
}

impl ReadingSource for Replayed {
    fn read(&self, now_ms: i64, _parts: Parts) -> BoxFuture<'_, Reading> {
        async move {
            let reading = self.at(now_ms);
            tokio::time::sleep(std::time::Duration::from_millis(reading.duration_ms)).await;
            reading
        }
        .boxed()
    }
}
