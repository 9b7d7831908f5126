//! One cluster's part of `watch`: when to ask what, and what becomes of the answer.

use std::time::Duration;

use super::buffer::Buffer;
use super::config::WatchConfig;
use super::head::{Head, HeadSample, SampleKind};
use crate::model::{ClusterName, Event, Instance, Reading, Role, ScrapedSample};
use crate::probe::{self, Known, Parts, Prober};

/// Asked again after this long although nothing hints at a change.
const MEMBERS_EVERY: Duration = Duration::from_secs(30);
const ALARMS_EVERY: Duration = Duration::from_secs(300);

/// What one tick found.
#[derive(Debug)]
pub struct Tick {
    pub reading: Reading,
    /// What changed since the last reading; not empty means that the rules should look now.
    pub events: Vec<Event>,
    /// Whether a page would say something else than before: who answers, who leads, what is wrong.
    pub changed: bool,
}

/// Polls one cluster. A slow or dead one costs only its own ticks.
pub struct ClusterWatch {
    name: ClusterName,
    prober: Prober,
    schedule: Schedule,
    known: Option<Known>,
    face: Face,
}

/// When each part was last asked, ms since the epoch.
struct Schedule {
    intervals: WatchConfig,
    quorum_ms: i64,
    scrape_ms: i64,
    members_ms: i64,
    alarms_ms: i64,
}

impl ClusterWatch {
    pub fn new(name: ClusterName, prober: Prober, config: &WatchConfig) -> Self {
        let never = i64::MIN / 2;
        let schedule = Schedule {
            intervals: config.clone(),
            quorum_ms: never,
            scrape_ms: never,
            members_ms: never,
            alarms_ms: never,
        };
        Self { name, prober, schedule, known: None, face: Face::new() }
    }

    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// Reads what is due at `now_ms` and hands it to the head and the buffer.
    pub async fn tick(&mut self, now_ms: i64, head: &Head, buffer: &Buffer) -> Tick {
        let parts = self.schedule.due(now_ms);
        let reading = self.prober.read(now_ms, parts).await;
        let events = match &mut self.known {
            Some(known) => known.observe(&reading),
            None => {
                self.known = Some(Known::new(&reading));
                Vec::new()
            }
        };
        let scraped = parts.scrape;
        if scraped || !events.is_empty() {
            let kind = if scraped { SampleKind::Derived } else { SampleKind::Between };
            keep(&reading, kind, head, buffer);
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

/// What of a reading a page shows at first sight: of each member its role, whether it answers, and whether
/// its status is known.
type Face = Vec<(Instance, Role, bool, bool)>;

fn face_of(reading: &Reading) -> Face {
    let member = |member: &crate::model::MemberReading| {
        let has_status = member.status.is_some();
        (member.instance.clone(), member.role(), member.reachable(), has_status)
    };
    reading.members.iter().map(member).collect()
}

impl Schedule {
    fn due(&mut self, now_ms: i64) -> Parts {
        let is_due = |last_ms: &mut i64, every: Duration| {
            let due = now_ms - *last_ms >= i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
            if due {
                *last_ms = now_ms;
            }
            due
        };
        let scrape = is_due(&mut self.scrape_ms, self.intervals.scrape_interval.0);
        // A scrape's instant has all of the probe's series, so that none seems to end for want of asking.
        let quorum_read = is_due(&mut self.quorum_ms, self.intervals.quorum_interval.0) || scrape;
        Parts {
            status: true,
            quorum_read,
            scrape,
            member_list: is_due(&mut self.members_ms, MEMBERS_EVERY),
            alarms: is_due(&mut self.alarms_ms, ALARMS_EVERY),
        }
    }
}

/// Gives the reading's samples to the head and, with its rows, to the buffer.
fn keep(reading: &Reading, derived: SampleKind, head: &Head, buffer: &Buffer) {
    let cluster = &reading.cluster;
    let mut samples: Vec<HeadSample> = Vec::new();
    for member in &reading.members {
        let Some(scrape) = &member.scrape else { continue };
        let instance = Some(&member.instance);
        samples.extend(head.append(cluster, instance, SampleKind::Scraped, scrape.ts_ms, &scrape.samples));
        samples.extend(scrape.samples.iter().map(|sample| HeadSample {
            cluster: cluster.clone(),
            instance: Some(member.instance.clone()),
            labels: sample.labels.clone(),
            ts_ms: scrape.ts_ms,
            value: sample.value,
        }));
    }
    for (instance, own) in by_instance(probe::derived::derived(reading)) {
        samples.extend(head.append(cluster, instance.as_ref(), derived, reading.ts_ms, &own));
        samples.extend(own.into_iter().map(|sample| HeadSample {
            cluster: cluster.clone(),
            instance: instance.clone(),
            labels: sample.labels,
            ts_ms: reading.ts_ms,
            value: sample.value,
        }));
    }
    buffer.add_samples(samples);
    buffer.add_rows(reading.rows());
}

fn by_instance(
    derived: Vec<(Option<Instance>, ScrapedSample)>,
) -> std::collections::BTreeMap<Option<Instance>, Vec<ScrapedSample>> {
    let mut grouped = std::collections::BTreeMap::<_, Vec<_>>::new();
    for (instance, sample) in derived {
        grouped.entry(instance).or_default().push(sample);
    }
    grouped
}
