//! One cluster's part of `watch`: when to ask what, and what becomes of the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::buffer::{Batch, Buffer};
use super::config::WatchConfig;
use super::head::{Head, SampleKind};
use crate::model::{
    ClusterName, ErrorKind, Event, Instance, Labels, METRIC_NAME, MemberReading, Reading, ReadingError, Role,
    Samples, SeriesList,
};
use crate::probe::derived::Derived;
use crate::probe::{self, Known, Parts, ReadingSource};

/// Asked again after this long although nothing hints at a change.
pub(super) const MEMBERS_EVERY: Duration = Duration::from_secs(8);
/// Of a watch that stands by: what only events need, the one that tells them sees.
const MEMBERS_EVERY_STANDING_BY: Duration = Duration::from_secs(60);
/// Three requests each time, and what they tell is seldom what nothing else does. All watches over a store ask in the same
/// moments, so that they judge by the same answers.
pub(super) const HEALTH_EVERY: Duration = Duration::from_secs(120);
const ALARMS_EVERY: Duration = Duration::from_secs(300);

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

/// When each part is next to be asked, ms since the epoch.
struct Schedule {
    intervals: WatchConfig,
    quorum_ms: i64,
    scrape_ms: i64,
    members_ms: i64,
    alarms_ms: i64,
    health_ms: Option<i64>,
    health_asked: bool,
    /// When `/metrics` was asked last, whatever for.
    looked_ms: i64,
    patience: Option<Duration>,
}

/// What to ask, and what becomes of a scrape.
struct Due {
    parts: Parts,
    /// The scrape is only looked at for events; its samples are not kept.
    look: bool,
    /// Scrapes that the plan has had since the last: more than one where some were missed.
    scrapes: u64,
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
        let patience = self.schedule.patience;
        self.schedule = Schedule { patience, ..Schedule::new(self.schedule.intervals.clone()) };
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

impl Schedule {
    /// Everything is due.
    fn new(intervals: WatchConfig) -> Self {
        let never = i64::MIN / 2;
        Self {
            intervals,
            quorum_ms: never,
            scrape_ms: never,
            members_ms: never,
            alarms_ms: never,
            health_ms: None,
            health_asked: false,
            looked_ms: never,
            patience: None,
        }
    }

    /// The tick nearest to the planned instant asks, and the plan does not move with it. Counting from the
    /// last tick instead would add every tick's delay to the interval, and skip a whole status interval when a
    /// tick comes a millisecond early.
    fn due(&mut self, now_ms: i64, speaks: bool) -> Due {
        let half_tick_ms = ms(self.intervals.status_interval.0) / 2;
        let scrape_ms = ms(self.intervals.scrape_interval.0).max(1);
        let missed = now_ms.saturating_sub(self.scrape_ms).max(0) / scrape_ms;
        let members_every = if speaks { MEMBERS_EVERY } else { MEMBERS_EVERY_STANDING_BY };
        // What it planned while it stood by is too late for one that speaks.
        self.members_ms = self.members_ms.min(now_ms + ms(members_every));
        let is_due = |next_ms: &mut i64, every: Duration| {
            let every_ms = ms(every);
            let due = now_ms + half_tick_ms.min(every_ms / 2) >= *next_ms;
            if due {
                let planned_ms = *next_ms + every_ms;
                // What was missed, by a sleep of the machine say, is not made up for.
                *next_ms = if planned_ms > now_ms { planned_ms } else { now_ms + every_ms };
            }
            due
        };
        let scrape = is_due(&mut self.scrape_ms, self.intervals.scrape_interval.0);
        // A scrape's instant has all of the probe's series, so that none seems to end for want of asking.
        let quorum_due = is_due(&mut self.quorum_ms, self.intervals.quorum_interval.0);
        // Reads between scrapes only bring news earlier: to the one that tells them.
        let quorum_read = speaks && quorum_due || scrape;
        let look = speaks
            && !scrape
            && now_ms + half_tick_ms >= self.looked_ms + ms(self.intervals.events_interval.0);
        if scrape || look {
            self.looked_ms = now_ms;
        }
        let health = self.health_due(now_ms, speaks);
        let parts = Parts {
            health,
            patience: self.patience,
            status: true,
            quorum_read,
            scrape: scrape || look,
            member_list: is_due(&mut self.members_ms, members_every),
            alarms: is_due(&mut self.alarms_ms, ALARMS_EVERY),
        };
        let scrapes = if scrape { 1 + u64::try_from(missed).unwrap_or(0) } else { 0 };
        Due { parts, look, scrapes }
    }
}

impl Schedule {
    /// In the moments that all watches share; one that speaks also as soon as it does, and one that reads but once.
    fn health_due(&mut self, now_ms: i64, speaks: bool) -> bool {
        let every_ms = ms(HEALTH_EVERY);
        let next_ms = now_ms - now_ms.rem_euclid(every_ms) + every_ms;
        let first_ms = if self.patience.is_some() { next_ms } else { now_ms };
        let is_due = now_ms >= *self.health_ms.get_or_insert(first_ms) || speaks && !self.health_asked;
        if is_due {
            self.health_ms = Some(next_ms);
            self.health_asked = true;
        }
        is_due
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::unit::ConfigDuration;

    /// Instants, in ms, of the scrapes among ticks `status_ms` apart of which each is late or early by what
    /// `jitter_ms` has in turn; with `looks` of those that are not kept.
    fn scrapes(status_ms: u64, jitter_ms: &[i64], until_ms: i64, looks: bool) -> Vec<i64> {
        let config = WatchConfig {
            status_interval: ConfigDuration(Duration::from_millis(status_ms)),
            ..WatchConfig::default()
        };
        let mut schedule = Schedule::new(config);
        let ticks = (0..until_ms).step_by(usize::try_from(status_ms).expect("small"));
        let ticks =
            ticks.zip(jitter_ms.iter().cycle()).map(|(tick_ms, late_ms)| 1_000_000 + tick_ms + late_ms);
        let scraped = |now_ms: &i64| {
            let due = schedule.due(*now_ms, true);
            due.parts.scrape && due.look == looks
        };
        ticks.filter(scraped).collect()
    }

    #[test]
    fn scrapes_keep_their_interval_whatever_the_ticks_do() {
        for (status_ms, jitter_ms) in
            [(2_000, &[0][..]), (2_000, &[0, 1, -1]), (15_000, &[1, 0, 3, 2]), (1_000, &[5, -5])]
        {
            let found = scrapes(status_ms, jitter_ms, 1_500_000, false);
            assert_eq!(found.len(), 100, "status every {status_ms} ms");
            let half_tick_ms = i64::try_from(status_ms).expect("small") / 2;
            for (n, at_ms) in (0..).zip(&found) {
                let off_ms = (at_ms - (1_000_000 + n * 15_000)).abs();
                assert!(off_ms <= half_tick_ms + 5, "scrape {n} is {off_ms} ms off");
            }
        }
    }

    #[test]
    fn one_that_begins_to_speak_asks_for_the_members_soon() {
        let mut schedule = Schedule::new(WatchConfig::default());
        let mut asks = |now_ms: i64| schedule.due(now_ms, now_ms >= 4_000).parts.member_list;
        let asked: Vec<i64> = (0..30_000).step_by(2_000).filter(|now_ms| asks(*now_ms)).collect();
        assert_eq!(asked, [0, 12_000, 20_000, 28_000]);
    }

    #[test]
    fn all_watches_ask_for_health_in_the_same_moments() {
        let patience = Some(Duration::from_secs(1));
        for (began_ms, patience, speaks, expected) in [
            (1_000_000, None, false, vec![1_000_000, 1_080_000, 1_200_000]),
            (1_061_000, patience, true, vec![1_061_000, 1_081_000, 1_201_000]),
            // Who begins to stand by is in no hurry: its like knows.
            (1_000_000, patience, false, vec![1_080_000, 1_200_000]),
        ] {
            let mut schedule = Schedule { patience, ..Schedule::new(WatchConfig::default()) };
            let ticks = (began_ms..1_230_000).step_by(2_000);
            let asked: Vec<i64> = ticks.filter(|now_ms| schedule.due(*now_ms, speaks).parts.health).collect();
            assert_eq!(asked, expected);
        }
    }

    #[test]
    fn counters_are_looked_at_for_events_between_scrapes_that_are_far_apart() {
        for jitter_ms in [&[0][..], &[0, 300, -300]] {
            let looks = scrapes(2_000, jitter_ms, 150_000, true);
            let kept = scrapes(2_000, jitter_ms, 150_000, false);
            assert_eq!((kept.len(), looks.len()), (10, 10), "one between two scrapes: {looks:?}");
            let mut all = [looks, kept].concat();
            all.sort_unstable();
            let longest_ms = all.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(longest_ms <= Some(9_000), "{longest_ms:?}");
        }
    }

    #[test]
    fn missed_scrapes_are_not_made_up_for() {
        let mut ticks = scrapes(2_000, &[0], 20_000, false);
        assert_eq!(ticks.pop(), Some(1_014_000));
        assert_eq!(ticks, [1_000_000]);
        let mut schedule = Schedule::new(WatchConfig::default());
        assert!(schedule.due(3_600_000, true).parts.scrape);
        assert!(!schedule.due(3_602_000, true).parts.scrape);
        // The plan was for every 15 s: what a sleep of 45 s left out is counted as due.
        assert_eq!(schedule.due(3_615_000, true).scrapes, 1);
        assert_eq!(schedule.due(3_660_000, true).scrapes, 3);
    }
}
