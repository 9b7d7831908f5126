//! Which members hear each other, from what each counts of its peers' messages.
//!
//! `etcd_network_active_peers` alone does not tell: etcd 3.5 goes on calling a peer active for minutes after
//! packets to it are lost (seen on 3.5.30; 3.4.23 notices within 5 s). What a member *received* tells at the
//! next scrape:
//! - A leader sends heartbeats to each peer every 100 ms (`--heartbeat-interval`) and is answered, so between a
//!   leader and another member `etcd_network_peer_received_bytes_total{From}` always grows at both ends.
//! - Followers have no raft messages for each other, but each connection carries a keep-alive every 1.7 s,
//!   counted for all peers together as `From="0"`: without any, the member hears nobody.
//! - A member checks each connection and counts the checks (`etcd_network_peer_round_trip_time_seconds_count`):
//!   every 30 s for each of its two connections to a peer while they are well, every 5 s while they are not.

use std::collections::BTreeMap;

use crate::model::{Instance, MemberId, MemberReading, Reading, Samples};

/// Two scrapes nearer to each other than this are not compared: a pause of the process could be the reason.
const LEAST_GAP_MS: i64 = 8_000;
/// What was heard is not known any more so long after the last scrape.
const OLD_MS: i64 = 60_000;
/// Checks of a peer per second that only one with a broken connection makes: well ones make 2 in 30 s.
const CHECKS_PER_SECOND: f64 = 0.2;
/// As many checks of well connections may fall into a short gap.
const LEAST_CHECKS: f64 = 3.0;

/// What a member has counted of its peers.
#[derive(Debug, Clone)]
struct Counted {
    ts_ms: i64,
    started_seconds: Option<f64>,
    received: BTreeMap<MemberId, f64>,
    /// From all peers: keep-alives that name no sender.
    keep_alives: f64,
    checks: BTreeMap<MemberId, f64>,
    inactive: Vec<MemberId>,
    leader: Option<MemberId>,
}

/// What is remembered from reading to reading.
#[derive(Debug, Default)]
pub(super) struct Links {
    counted: BTreeMap<Instance, Counted>,
    hears: BTreeMap<Instance, BTreeMap<Instance, bool>>,
    /// Since when a member has answered every reading, ms since the epoch.
    answering_since: BTreeMap<Instance, i64>,
}

impl Links {
    /// Fills [`MemberReading::hears`] of every member that answers. A peer that does not answer the monitor is
    /// not heard for another reason, so nothing is said of it.
    pub(super) fn observe(&mut self, reading: &mut Reading) {
        for member in &reading.members {
            if member.status.is_some() {
                self.answering_since.entry(member.instance.clone()).or_insert(reading.ts_ms);
            } else if !member.errors.is_empty() {
                self.answering_since.remove(&member.instance);
            }
        }
        for member in &reading.members {
            let Some(scrape) = member.scrape.as_ref().filter(|scrape| scrape.ok) else { continue };
            let now = Counted::of(&scrape.samples, scrape.ts_ms, reading.leader().map(|(leader, _)| leader));
            let Some(before) = self.counted.get(&member.instance) else {
                self.counted.insert(member.instance.clone(), now);
                continue;
            };
            if now.ts_ms - before.ts_ms < LEAST_GAP_MS {
                continue;
            }
            let hears = self.compare(reading, member, before, &now);
            self.hears.insert(member.instance.clone(), hears);
            self.counted.insert(member.instance.clone(), now);
        }
        let here: Vec<Instance> = reading.members.iter().map(|member| member.instance.clone()).collect();
        self.counted.retain(|instance, at| here.contains(instance) && reading.ts_ms - at.ts_ms < OLD_MS);
        for member in &mut reading.members {
            let known =
                self.hears.get(&member.instance).filter(|_| self.counted.contains_key(&member.instance));
            let answers = |peer: &Instance| self.answering_since.contains_key(peer);
            if answers(&member.instance) {
                member.hears = known
                    .into_iter()
                    .flatten()
                    .filter(|(peer, _)| answers(peer))
                    .map(|(peer, heard)| (peer.clone(), *heard))
                    .collect();
            }
        }
    }

    /// Of each peer that answered all the time between the two scrapes, and of which it can be said, whether
    /// `member` heard it.
    fn compare(
        &self,
        reading: &Reading,
        member: &MemberReading,
        before: &Counted,
        now: &Counted,
    ) -> BTreeMap<Instance, bool> {
        let same_process = before.started_seconds == now.started_seconds;
        let throughout = |peer: &&MemberReading| {
            let since = self.answering_since.get(&peer.instance);
            since.is_some_and(|since_ms| *since_ms <= before.ts_ms)
        };
        let peers = reading.members.iter().filter(|peer| peer.instance != member.instance);
        peers
            .filter(|_| same_process)
            .filter(throughout)
            .filter_map(|peer| {
                let heard = heard(member.member_id?, peer.member_id?, before, now)?;
                Some((peer.instance.clone(), heard))
            })
            .collect()
    }
}

/// `None` if the counters cannot tell.
fn heard(own: MemberId, peer: MemberId, before: &Counted, now: &Counted) -> Option<bool> {
    let grew = |of: fn(&Counted) -> &BTreeMap<MemberId, f64>| {
        let value = |at: &Counted| of(at).get(&peer).copied().unwrap_or(0.0);
        value(now) - value(before)
    };
    if grew(|at| &at.received) > 0.0 {
        return Some(true);
    }
    let steady_leader = now.leader.filter(|leader| before.leader == Some(*leader));
    let must_talk = steady_leader.is_some_and(|leader| leader == own || leader == peer);
    let hears_nobody =
        now.keep_alives == before.keep_alives && now.received == before.received && now.keep_alives > 0.0;
    let seconds = (now.ts_ms - before.ts_ms) as f64 / 1e3;
    let checks = grew(|at| &at.checks);
    let ill = checks > LEAST_CHECKS && checks > CHECKS_PER_SECOND * seconds;
    (must_talk || hears_nobody || ill || now.inactive.contains(&peer)).then_some(false)
}

impl Counted {
    fn of(samples: &Samples, ts_ms: i64, leader: Option<MemberId>) -> Self {
        let by_peer = |name: &str, label: &str| -> BTreeMap<MemberId, f64> {
            let named = of_metric(samples, name);
            named.filter_map(|(labels, value)| Some((labels.get(label)?.parse().ok()?, value))).collect()
        };
        let mut received = by_peer("etcd_network_peer_received_bytes_total", "From");
        let keep_alives = received.remove(&MemberId(0)).unwrap_or(0.0);
        let active = by_peer("etcd_network_active_peers", "Remote");
        Self {
            ts_ms,
            started_seconds: samples.first("process_start_time_seconds").map(|(_, value)| value),
            received,
            keep_alives,
            checks: by_peer("etcd_network_peer_round_trip_time_seconds_count", "To"),
            inactive: active.into_iter().filter(|(_, active)| *active == 0.0).map(|(peer, _)| peer).collect(),
            leader,
        }
    }
}

fn of_metric<'a>(samples: &'a Samples, name: &str) -> impl Iterator<Item = (&'a crate::model::Labels, f64)> {
    let at = |position: &u32| {
        let position = usize::try_from(*position).ok()?;
        Some((samples.list().get(position)?.labels(), *samples.values().get(position)?))
    };
    samples.list().of_metric(name).iter().filter_map(at).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Labels, METRIC_NAME, Scrape, SeriesList};
    use crate::probe::changes::tests::{member, reading};

    /// What happened, keep-alives and peers at the second scrape, who is heard.
    type Case = (&'static str, f64, &'static [Peer], Vec<(String, bool)>);
    /// Per peer: bytes received, checks, active.
    type Peer = (u64, f64, f64, f64);

    fn scraped(ts_ms: i64, keep_alives: f64, peers: &[Peer]) -> Scrape {
        let series = |name: &str, label: &str, id: u64, value: f64| {
            let id = MemberId(id).to_string();
            (Labels::from_pairs([(METRIC_NAME, name), (label, id.as_str())]), value)
        };
        let mut samples = vec![(Labels::from_pairs([(METRIC_NAME, "process_start_time_seconds")]), 7.0)];
        samples.push((
            Labels::from_pairs([(METRIC_NAME, "etcd_network_peer_received_bytes_total"), ("From", "0")]),
            keep_alives,
        ));
        for (id, received, checks, active) in peers {
            samples.push(series("etcd_network_peer_received_bytes_total", "From", *id, *received));
            samples.push(series("etcd_network_peer_round_trip_time_seconds_count", "To", *id, *checks));
            samples.push(series("etcd_network_active_peers", "Remote", *id, *active));
        }
        let samples = Samples::following(&Arc::<SeriesList>::default(), samples);
        Scrape {
            ts_ms,
            duration_seconds: 0.1,
            ok: true,
            body_bytes: 1,
            samples,
            dropped_series: 0,
            added_series: 0,
            clock: None,
        }
    }

    /// Member 1 leads. What member `n` hears after the second of two scrapes.
    fn hears(n: u64, first: (f64, &[Peer]), second: (f64, &[Peer])) -> Vec<(String, bool)> {
        let mut links = Links::default();
        let mut at = |ts_ms: i64, (keep_alives, peers): (f64, &[Peer])| {
            let mut members: Vec<MemberReading> = (1..=3).map(|id| member(id, 1, 2)).collect();
            let own = members.iter_mut().find(|m| m.member_id == Some(MemberId(n))).expect("listed");
            own.scrape = Some(scraped(ts_ms, keep_alives, peers));
            let mut reading = reading(ts_ms, members);
            links.observe(&mut reading);
            let own = reading.members.iter().find(|m| m.member_id == Some(MemberId(n))).expect("listed");
            own.hears.iter().map(|(peer, heard)| (peer.to_string(), *heard)).collect::<Vec<_>>()
        };
        assert_eq!(at(0, first), []);
        at(15_000, second)
    }

    #[test]
    fn what_is_received_tells_who_is_heard() {
        let well: &[Peer] = &[(1, 700.0, 4.0, 1.0), (3, 50.0, 4.0, 1.0)];
        let (one, three) = ("10.0.0.1:2379".to_owned(), "10.0.0.3:2379".to_owned());
        let cases: [Case; 6] = [
            ("all is well", 90.0, &[(1, 1400.0, 4.0, 1.0), (3, 50.0, 6.0, 1.0)], vec![(one.clone(), true)]),
            (
                "votes of a follower",
                90.0,
                &[(1, 1400.0, 4.0, 1.0), (3, 90.0, 6.0, 1.0)],
                vec![(one.clone(), true), (three.clone(), true)],
            ),
            (
                "the leader's heartbeats are lost",
                70.0,
                &[(1, 700.0, 4.0, 1.0), (3, 50.0, 4.0, 1.0)],
                vec![(one.clone(), false)],
            ),
            (
                "nothing arrives",
                60.0,
                &[(1, 700.0, 4.0, 1.0), (3, 50.0, 4.0, 1.0)],
                vec![(one.clone(), false), (three.clone(), false)],
            ),
            (
                "checks of a follower fail",
                80.0,
                &[(1, 1400.0, 5.0, 1.0), (3, 50.0, 10.0, 1.0)],
                vec![(one.clone(), true), (three.clone(), false)],
            ),
            (
                "a connection is known to be lost",
                80.0,
                &[(1, 1400.0, 5.0, 1.0), (3, 50.0, 4.0, 0.0)],
                vec![(one, true), (three, false)],
            ),
        ];
        for (what, keep_alives, second, expected) in cases {
            assert_eq!(hears(2, (60.0, well), (keep_alives, second)), expected, "{what}");
        }
    }

    #[test]
    fn a_peer_that_does_not_answer_the_monitor_is_not_said_to_be_cut_off() {
        let mut links = Links::default();
        let still: &[Peer] = &[(1, 700.0, 4.0, 1.0)];
        for (ts_ms, silent) in [(0, false), (6_000, true), (15_000, false)] {
            let mut members = vec![member(1, 1, 2), member(2, 1, 2)];
            if silent {
                let first = members.first_mut().expect("two");
                first.status = None;
                let why = "refused".to_owned();
                first.errors.push(super::super::member::error(
                    crate::model::ErrorKind::Unreachable,
                    "status",
                    why,
                ));
            } else {
                members.last_mut().expect("two").scrape = Some(scraped(ts_ms, 60.0, still));
            }
            let mut reading = reading(ts_ms, members);
            links.observe(&mut reading);
            assert!(reading.members.iter().all(|m| m.hears.is_empty()), "at {ts_ms}");
        }
    }
}
