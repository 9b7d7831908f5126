//! What a member's own counters say happened between two scrapes: restarts, compactions, defragmentations,
//! snapshots of the raft state.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Happening, event, label};
use crate::model::{Event, EventKind, Instance, MemberReading, Reading, Samples, Severity};

/// Under much writing a member saves its raft state every few seconds: told once in so long, with their number.
const SAVES_TOLD_EVERY_MS: i64 = 600_000;

/// Of the counters that were read, as far as the member has them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counters {
    started_seconds: f64,
    compact_revision: Option<f64>,
    compaction_ms: f64,
    defrags: f64,
    defrag_seconds: f64,
    defrag_runs: bool,
    raft_saves: f64,
    raft_received: f64,
    /// What was told of `raft_saves`, and when.
    saves_told: (f64, i64),
}

/// The counters of all members as last scraped.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    by_instance: BTreeMap<Instance, Counters>,
    /// The highest compact revision of the cluster: each member compacts, and it is one compaction.
    compacted: Option<f64>,
}

impl Counted {
    /// The events that lead to `next`, whose counters are known from then on.
    pub(super) fn observe(&mut self, next: &Reading) -> Vec<Event> {
        let mut events = Vec::new();
        for member in &next.members {
            let scrape = member.scrape.as_ref().filter(|scrape| scrape.ok);
            let Some(mut now) = scrape.and_then(|scrape| Counters::of(&scrape.samples, scrape.ts_ms)) else {
                continue;
            };
            if let Some(before) = self.by_instance.get(&member.instance).copied() {
                if (before.started_seconds - now.started_seconds).abs() >= 1.0 {
                    events.push(restarted(next, member, &now));
                } else {
                    now.saves_told = before.saves_told;
                    events.extend(self.compaction(next, member, &before, &now));
                    of_member(next, member, &before, &mut now, &mut events);
                }
            }
            if let Some(revision) = now.compact_revision {
                self.compacted = Some(self.compacted.map_or(revision, |known| known.max(revision)));
            }
            self.by_instance.insert(member.instance.clone(), now);
        }
        events
    }

    fn compaction(
        &self,
        next: &Reading,
        member: &MemberReading,
        before: &Counters,
        now: &Counters,
    ) -> Option<Event> {
        let revision = now.compact_revision?;
        let known = self.compacted?;
        if revision <= known {
            return None;
        }
        let took_ms = now.compaction_ms - before.compaction_ms;
        Some(event(
            next,
            Happening {
                kind: EventKind::Compaction,
                severity: Severity::Info,
                subject: next.cluster.as_str(),
                occurrence: format!("revision {revision}"),
                text: format!("history was compacted up to revision {revision}; it was {known} before"),
                details: json!({
                    "revision": revision,
                    "previous_revision": known,
                    "duration_ms": took_ms,
                    "seen_at": member.instance,
                }),
            },
        ))
    }
}

impl Counters {
    /// `None` without the start of the process: then nobody can tell a reset from a decrease.
    fn of(samples: &Samples, ts_ms: i64) -> Option<Self> {
        let sum = |name: &str| {
            let of_it = samples.list().of_metric(name);
            let value = |at: &u32| usize::try_from(*at).ok().and_then(|at| samples.values().get(at));
            (!of_it.is_empty()).then(|| of_it.iter().filter_map(value).sum::<f64>())
        };
        let or_none = |name: &str| sum(name).unwrap_or(0.0);
        let raft_saves = or_none("etcd_debugging_snap_save_total_duration_seconds_count");
        Some(Self {
            started_seconds: sum("process_start_time_seconds")?,
            compact_revision: sum("etcd_debugging_mvcc_compact_revision"),
            compaction_ms: or_none("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_sum"),
            defrags: or_none("etcd_disk_backend_defrag_duration_seconds_count"),
            defrag_seconds: or_none("etcd_disk_backend_defrag_duration_seconds_sum"),
            defrag_runs: or_none("etcd_disk_defrag_inflight") > 0.0,
            raft_saves,
            raft_received: or_none("etcd_network_snapshot_receive_success"),
            saves_told: (raft_saves, ts_ms - SAVES_TOLD_EVERY_MS),
        })
    }
}

fn restarted(next: &Reading, member: &MemberReading, now: &Counters) -> Event {
    let started = now.started_seconds.round();
    event(
        next,
        Happening {
            kind: EventKind::MemberRestarted,
            severity: Severity::Warning,
            subject: member.instance.as_str(),
            occurrence: format!("{started}"),
            text: format!("the process of member {} started anew", label(member)),
            details: json!({ "member_id": member.member_id, "started_unix_seconds": started }),
        },
    )
}

fn of_member(
    next: &Reading,
    member: &MemberReading,
    before: &Counters,
    now: &mut Counters,
    events: &mut Vec<Event>,
) {
    let mut tell = |kind: EventKind, count: f64, text: String, details: serde_json::Value| {
        // Counters are equal to all who scrape, as long as the process lives.
        let occurrence = format!("{} of {}", count, now.started_seconds.round());
        let subject = member.instance.as_str();
        events.push(event(
            next,
            Happening { kind, severity: Severity::Info, subject, occurrence, text, details },
        ));
    };
    let who = label(member);
    let ended = now.defrags - before.defrags;
    if now.defrag_runs && !before.defrag_runs {
        let text = format!("member {who} began to defragment its database; it serves nobody meanwhile");
        tell(EventKind::DefragStarted, now.defrags + 1.0, text, json!({}));
    }
    if ended > 0.0 {
        let seconds = now.defrag_seconds - before.defrag_seconds;
        let text = format!("member {who} defragmented its database in {seconds:.3} s");
        tell(EventKind::DefragEnded, now.defrags, text, json!({ "duration_seconds": seconds }));
    }
    let saved = now.raft_saves - now.saves_told.0;
    let told = if saved > 0.0 && next.ts_ms - now.saves_told.1 >= SAVES_TOLD_EVERY_MS {
        let text = format!("member {who} saved its raft state {saved} time(s)");
        tell(EventKind::RaftSnapshotSaved, now.raft_saves, text, json!({ "saves": saved }));
        (now.raft_saves, next.ts_ms)
    } else {
        now.saves_told
    };
    let received = now.raft_received - before.raft_received;
    if received > 0.0 {
        let text = format!("member {who} was so far behind that it was sent the whole database");
        tell(EventKind::RaftSnapshotApplied, now.raft_received, text, json!({ "received": received }));
    }
    now.saves_told = told;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Labels, METRIC_NAME, Scrape, SeriesList};

    /// One member's counters; those of `changed` are other than 0.
    fn reading(ts_ms: i64, changed: &[(&str, f64)]) -> Reading {
        let names = [
            "process_start_time_seconds",
            "etcd_debugging_mvcc_compact_revision",
            "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_sum",
            "etcd_disk_backend_defrag_duration_seconds_count",
            "etcd_disk_backend_defrag_duration_seconds_sum",
            "etcd_disk_defrag_inflight",
            "etcd_debugging_snap_save_total_duration_seconds_count",
            "etcd_network_snapshot_receive_success",
        ];
        let value = |name: &str| changed.iter().find(|(of, _)| *of == name).map_or(0.0, |(_, value)| *value);
        let samples: Vec<(Labels, f64)> =
            names.iter().map(|name| (Labels::from_pairs([(METRIC_NAME, *name)]), value(name))).collect();
        let samples = Samples::following(&Arc::<SeriesList>::default(), samples);
        let mut member = super::super::tests::member(1, 1, 2);
        member.scrape = Some(Scrape {
            ts_ms,
            duration_seconds: 0.1,
            ok: true,
            body_bytes: 1,
            samples,
            dropped_series: 0,
            added_series: 0,
            clock: None,
        });
        super::super::tests::reading(ts_ms, vec![member])
    }

    #[test]
    fn counters_that_moved_are_events_and_restarts_are_no_movement() {
        use EventKind::*;
        let minute = 60_000;
        type Step<'a> = (&'a [(&'a str, f64)], &'a [EventKind]);
        let steps: [Step<'_>; 8] = [
            (&[("process_start_time_seconds", 100.0)], &[]),
            (
                &[("process_start_time_seconds", 100.0), ("etcd_debugging_mvcc_compact_revision", 7.0)],
                &[Compaction],
            ),
            (
                &[
                    ("process_start_time_seconds", 100.0),
                    ("etcd_debugging_mvcc_compact_revision", 7.0),
                    ("etcd_disk_defrag_inflight", 1.0),
                ],
                &[DefragStarted],
            ),
            (
                &[
                    ("process_start_time_seconds", 100.0),
                    ("etcd_debugging_mvcc_compact_revision", 7.0),
                    ("etcd_disk_backend_defrag_duration_seconds_count", 1.0),
                    ("etcd_disk_backend_defrag_duration_seconds_sum", 2.5),
                    ("etcd_debugging_snap_save_total_duration_seconds_count", 3.0),
                ],
                &[DefragEnded, RaftSnapshotSaved],
            ),
            // Told a minute ago.
            (
                &[
                    ("process_start_time_seconds", 100.0),
                    ("etcd_debugging_mvcc_compact_revision", 7.0),
                    ("etcd_disk_backend_defrag_duration_seconds_count", 1.0),
                    ("etcd_debugging_snap_save_total_duration_seconds_count", 4.0),
                    ("etcd_network_snapshot_receive_success", 1.0),
                ],
                &[RaftSnapshotApplied],
            ),
            (&[("process_start_time_seconds", 400.0)], &[MemberRestarted]),
            // The compact revision comes back from the disk: it is not new.
            (&[("process_start_time_seconds", 400.0), ("etcd_debugging_mvcc_compact_revision", 7.0)], &[]),
            (
                &[("process_start_time_seconds", 400.0), ("etcd_debugging_mvcc_compact_revision", 9.0)],
                &[Compaction],
            ),
        ];
        let (mut counted, mut witness) = (Counted::default(), Counted::default());
        for (n, (changed, kinds)) in (0..).zip(steps) {
            let events = counted.observe(&reading(n * minute, changed));
            assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), kinds, "step {n}");
            let others = witness.observe(&reading(n * minute + 7_000, changed));
            let ids = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
            assert_eq!(ids(&events), ids(&others), "two witnesses of step {n}");
        }
    }
}
