//! One cluster's part of `watch`: when to ask what, and what becomes of the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::buffer::{Batch, Buffer};
use super::config::WatchConfig;
use super::head::{Head, SampleKind};
use super::schedule::{Due, Schedule};
use crate::model::{
    ClusterName, ErrorKind, Event, Instance, Labels, METRIC_NAME, MemberReading, Reading, ReadingError, Role,
    Samples, SeriesList,
};
use crate::probe::derived::Derived;
use crate::probe::{self, Known, Parts, ReadingSource};

/// What of the time between two ticks a slow member may take of one.
const PATIENCE: f64 = 0.75;

/// What one tick found.
#[derive(Debug)]
pub struct Tick {
    pub reading: Reading,
    /// What changed since the last reading; not empty means that the rules should look now.
    pub events: Vec<Event>,
    /// Whether a page would say something else than before: who answers, who leads, what is wrong.
    pub changed: bool,
}

impl Tick {
    /// Nothing was read, for a fault of ours.
    pub(super) fn failed(cluster: ClusterName, now_ms: i64, message: String) -> Self {
        let kind = ErrorKind::Other;
        let error = ReadingError { kind, during: "reading".to_owned(), message, missing_right: None };
        let reading = Reading {
            cluster,
            ts_ms: now_ms,
            duration_ms: 0,
            cluster_id: None,
            members: Vec::new(),
            alarms: Vec::new(),
            errors: vec![error],
        };
        Self { reading, events: Vec::new(), changed: true }
    }
}

/// Polls one cluster. A slow or dead one costs only its own ticks.
pub struct ClusterWatch {
    name: ClusterName,
    source: Box<dyn ReadingSource>,
    schedule: Schedule,
    known: Option<Known>,
    lists: Lists,
    face: Face,
    scrapes: Scrapes,
    owed: Owed,
}

/// Members whose scrape was due and has not come yet, with how many scrapes are to be counted as due when it does.
type Owed = BTreeMap<Instance, u64>;

/// Of each member how many scrapes were due while it answered, and how many of them were good.
type Scrapes = BTreeMap<Instance, (u64, u64)>;

impl ClusterWatch {
    pub fn new(name: ClusterName, source: Box<dyn ReadingSource>, config: &WatchConfig) -> Self {
        let schedule = Schedule::new(config.clone());
        Self {
            name,
            source,
            schedule,
            known: None,
            lists: Lists::new(),
            face: Face::new(),
            scrapes: Scrapes::new(),
            owed: Owed::new(),
        }
    }

    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// From now on a tick ends before the next one is due, however slow a member is; what it says late is heard in a
    /// later tick.
    pub(super) fn keep_pace(&mut self) {
        self.schedule.patience = Some(self.period().mul_f64(PATIENCE));
    }

    /// How often it is to be ticked.
    pub(super) fn period(&self) -> Duration {
        self.schedule.intervals.status_interval.0
    }

    /// Nothing is read for a while: what is read after it is compared with nothing before it, and nothing was due meanwhile.
    pub(super) fn rest(&mut self) {
        self.schedule.begin_anew();
        self.known = None;
        self.scrapes.clear();
        self.owed.clear();
    }

    /// Reads what is due at `now_ms` and hands it to the head and the buffer.
    /// A watch that stands by (not `speaks`) asks less: all instances together keep the promise of requests.
    pub async fn tick(&mut self, now_ms: i64, speaks: bool, head: &Head, buffer: &Buffer) -> Tick {
        let due = self.schedule.due(now_ms, speaks);
        self.read(now_ms, due, head, buffer).await
    }

    /// Reads just these parts.
    pub async fn ask(&mut self, now_ms: i64, parts: Parts, head: &Head, buffer: &Buffer) -> Tick {
        self.read(now_ms, Due { parts, look: false, scrapes: u64::from(parts.scrape) }, head, buffer).await
    }

    async fn read(&mut self, now_ms: i64, due: Due, head: &Head, buffer: &Buffer) -> Tick {
        let Due { parts, look, scrapes } = due;
        let mut reading = self.source.read(now_ms, parts).await;
        let events = match &mut self.known {
            Some(known) => known.observe(&reading),
            None => {
                self.known = Some(Known::new(&reading));
                Vec::new()
            }
        };
        let scraped = parts.scrape && !look;
        if !scraped {
            let owed = |member: &MemberReading| self.owed.contains_key(&member.instance);
            let looked_at = reading.members.iter_mut().filter(|member| !owed(member));
            looked_at.for_each(|member| {
                member.scrape = None;
                member.host.clear();
                member.node = None;
            });
        }
        let late = !scraped && reading.members.iter().any(|member| member.scrape.is_some());
        if scraped || late {
            self.count_scrapes(&reading, scrapes, late);
        }
        if scraped || late || !events.is_empty() {
            let kind = if scraped { SampleKind::Derived } else { SampleKind::Between };
            keep(&reading, kind, &self.scrapes, &mut self.lists, head, buffer);
        }
        buffer.add_events(events.iter().cloned());
        let face = face_of(&reading);
        let changed = face != self.face;
        if changed && !scraped && events.is_empty() {
            buffer.add_rows(reading.rows());
        }
        self.face = face;
        Tick { reading, events, changed }
    }
}

impl ClusterWatch {
    /// A member that does not answer owes no scrape; one that answers and gives none, or that the monitor was too late
    /// for, does.
    fn count_scrapes(&mut self, reading: &Reading, due: u64, late: bool) {
        for member in &reading.members {
            let due = if late { 0 } else { due };
            let Some(scrape) = &member.scrape else {
                // Counted when it comes; of a member without metrics none ever does.
                if !late {
                    *self.owed.entry(member.instance.clone()).or_default() += due;
                }
                continue;
            };
            let due = due + self.owed.remove(&member.instance).unwrap_or(0);
            // One that was given up may come all the same.
            if !scrape.ok {
                self.owed.insert(member.instance.clone(), 0);
            }
            if member.reachable() {
                let (known, good) = self.scrapes.entry(member.instance.clone()).or_default();
                // What was missed since the last of them; nothing was due before the first.
                *known += if *known == 0 { due.min(1) } else { due };
                *good += u64::from(scrape.ok);
            }
        }
    }
}

/// What of a reading a page shows at first sight: of each member its role, whether it answers, and whether
/// its status is known.
type Face = Vec<(Instance, Role, bool, bool)>;

fn face_of(reading: &Reading) -> Face {
    let member = |member: &MemberReading| {
        let has_status = member.status.is_some();
        (member.instance.clone(), member.role(), member.reachable(), has_status)
    };
    reading.members.iter().map(member).collect()
}

/// Gives the reading's samples to the head and, with its rows, to the buffer.
fn keep(
    reading: &Reading,
    derived: SampleKind,
    scrapes: &Scrapes,
    lists: &mut Lists,
    head: &Head,
    buffer: &Buffer,
) {
    let put = |instance: Option<&Instance>, kind: SampleKind, ts_ms: i64, samples: Samples| {
        let ended = head.append(&reading.cluster, instance, kind, ts_ms, &samples);
        for samples in [samples, ended] {
            buffer.add_samples(Batch {
                cluster: reading.cluster.clone(),
                instance: instance.cloned(),
                ts_ms,
                samples,
            });
        }
    };
    for member in &reading.members {
        if let Some(scrape) = &member.scrape {
            put(Some(&member.instance), SampleKind::Scraped, scrape.ts_ms, scrape.samples.clone());
        }
        if let Some(node) = &member.node {
            put(Some(&member.instance), SampleKind::Node, node.ts_ms, node.samples.clone());
        }
    }
    let counted = scrapes.iter().filter(|(instance, _)| is_member(reading, instance));
    let own = probe::derived::derived(reading).into_iter().chain(counted.flat_map(of_scrapes));
    for (instance, own) in by_instance(own) {
        let list = lists.entry(instance.clone()).or_default();
        let samples = Samples::following(list, own);
        if derived == SampleKind::Derived {
            *list = Arc::clone(samples.list());
        }
        put(instance.as_ref(), derived, reading.ts_ms, samples);
    }
    buffer.add_rows(reading.rows());
}

/// The series that the probe added last time, by target.
type Lists = BTreeMap<Option<Instance>, Arc<SeriesList>>;

fn is_member(reading: &Reading, instance: &Instance) -> bool {
    reading.members.iter().any(|member| member.instance == *instance)
}

fn of_scrapes((instance, (due, good)): (&Instance, &(u64, u64))) -> [Derived; 2] {
    [("etcd_monitor_scrapes_due_total", *due), ("etcd_monitor_scrapes_good_total", *good)].map(
        |(name, count)| (Some(instance.clone()), (Labels::from_pairs([(METRIC_NAME, name)]), count as f64)),
    )
}

fn by_instance(derived: impl Iterator<Item = Derived>) -> BTreeMap<Option<Instance>, Vec<(Labels, f64)>> {
    let mut grouped = BTreeMap::<_, Vec<_>>::new();
    for (instance, sample) in derived {
        grouped.entry(instance).or_default().push(sample);
    }
    grouped
}
