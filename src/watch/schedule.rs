//! When a cluster is asked for which part of a reading. Refuses: asking, and the clock: instants are given.

use std::time::Duration;

use super::config::WatchConfig;
use crate::probe::Parts;

/// Asked again after this long although nothing hints at a change.
pub(super) const MEMBERS_EVERY: Duration = Duration::from_secs(8);
/// Of a watch that stands by: what only events need, the one that tells them sees.
const MEMBERS_EVERY_STANDING_BY: Duration = Duration::from_secs(60);
/// Three requests each time, and what they tell is seldom what nothing else does. All watches over a store ask in the same
/// moments, so that they judge by the same answers.
pub(super) const HEALTH_EVERY: Duration = Duration::from_secs(120);
const ALARMS_EVERY: Duration = Duration::from_secs(300);

/// When each part is next to be asked, ms since the epoch.
pub(super) struct Schedule {
    pub(super) intervals: WatchConfig,
    quorum_ms: i64,
    scrape_ms: i64,
    members_ms: i64,
    alarms_ms: i64,
    health_ms: Option<i64>,
    health_asked: bool,
    /// When `/metrics` was asked last, whatever for.
    looked_ms: i64,
    pub(super) patience: Option<Duration>,
}

/// What to ask, and what becomes of a scrape.
pub(super) struct Due {
    pub(super) parts: Parts,
    /// The scrape is only looked at for events; its samples are not kept.
    pub(super) look: bool,
    /// Scrapes that the plan has had since the last: more than one where some were missed.
    pub(super) scrapes: u64,
}

impl Schedule {
    /// Everything is due.
    pub(super) fn new(intervals: WatchConfig) -> Self {
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

    /// Everything is due, and nothing was missed.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { patience: self.patience, ..Self::new(self.intervals.clone()) };
    }

    /// The tick nearest to the planned instant asks, and the plan does not move with it. Counting from the
    /// last tick instead would add every tick's delay to the interval, and skip a whole status interval when a
    /// tick comes a millisecond early.
    pub(super) fn due(&mut self, now_ms: i64, speaks: bool) -> Due {
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
