//! What came before an incident, in the order in which it is suspected.
//!
//! The ranking, best first: an incident that the shipped inhibition says explains this one; an event of a kind that
//! is known to bring this alert about; a change that somebody made; whatever else happened. Among equals what
//! happened to the same member, and what happened later, comes first. Only the first three are called a cause.

use serde::Serialize;

use crate::alert::explains;
use crate::model::unit::{human_span, rfc3339};
use crate::model::{Event, EventKind, Incident, Severity};

/// How far before an incident's beginning its causes are looked for, ms.
pub const LOOK_BACK_MS: i64 = 15 * 60_000;
/// A cause may be seen this much later than its effect: causes are scraped or inspected, effects polled, ms.
const SEEN_LATE_MS: i64 = 30_000;

/// Why something is suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It happened before, no more.
    Earlier,
    /// Somebody changed something.
    Change,
    /// Such events are known to bring such alerts about.
    BringsAbout,
    /// The alert is a known consequence of that one.
    Explains,
}

impl Reason {
    /// How people are told.
    pub fn words(self) -> &'static str {
        match self {
            Self::Explains => "explains it",
            Self::BringsAbout => "is a known cause of it",
            Self::Change => "was changed shortly before",
            Self::Earlier => "happened before",
        }
    }
}

/// One thing that came before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    pub reason: Reason,
    /// Whether it happened to the member that the incident is about.
    pub same_member: bool,
    pub ts_ms: i64,
    /// An [`EventKind`]'s name, or `incident`.
    pub kind: String,
    pub severity: Severity,
    pub subject: String,
    pub text: String,
    /// The event's id, or the incident's fingerprint.
    pub id: String,
}

/// What came before one incident.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Background {
    /// The first of `before`, if it is suspected by more than its time.
    pub probable_cause: Option<Candidate>,
    /// Everything, the most suspected first.
    pub before: Vec<Candidate>,
}

/// A beginning of an alert's name, and the kinds of events that bring it about, the likeliest first.
const BROUGHT_ABOUT_BY: &[(&str, &[EventKind])] = &{
    use EventKind::*;
    [
        ("EtcdMemberDown", &[MemberRestarted, ConfigChanged, VersionChanged, MemberRemoved] as &[EventKind]),
        (
            "EtcdQuorumLost",
            &[
                PartitionStarted,
                MemberUnreachable,
                MemberRemoved,
                MemberRestarted,
                MemberAdded,
                ConfigChanged,
            ],
        ),
        (
            "EtcdNoLeader",
            &[
                PartitionStarted,
                MemberUnreachable,
                MemberRemoved,
                MemberRestarted,
                ElectionsHeld,
                ConfigChanged,
            ],
        ),
        (
            "EtcdLeaderChange",
            &[
                PartitionStarted,
                MemberUnreachable,
                MemberRestarted,
                DefragStarted,
                DefragEnded,
                ConfigChanged,
            ],
        ),
        (
            "EtcdPeersCutOff",
            &[PartitionStarted, MemberUnreachable, MemberRestarted, ConfigChanged, MemberAdded],
        ),
        ("EtcdSplitBrain", &[PartitionStarted, MemberAdded, MemberRestarted, ConfigChanged]),
        ("EtcdClusterIdClash", &[ConfigChanged, MemberAdded, MemberRestarted, MonitorConfigChanged]),
        ("EtcdMembersChanged", &[MemberAdded, MemberRemoved, MemberPromoted]),
        ("EtcdVersionSkew", &[VersionChanged, MemberAdded]),
        ("EtcdDatabaseNearQuota", &[ConfigChanged]),
        ("EtcdAlarmActive", &[AlarmRaised]),
        (
            "EtcdWalFsyncSlow",
            &[DefragStarted, DefragEnded, RaftSnapshotSaved, RaftSnapshotApplied, Compaction],
        ),
        ("EtcdBackendCommitSlow", &[DefragStarted, DefragEnded, Compaction, RaftSnapshotApplied]),
        ("EtcdSlowApplies", &[DefragStarted, DefragEnded, Compaction, RaftSnapshotApplied]),
        ("EtcdApplyLag", &[DefragStarted, DefragEnded, MemberRestarted, RaftSnapshotApplied, MemberAdded]),
        (
            "EtcdRequestsSlow",
            &[DefragStarted, DefragEnded, LeaderChanged, LeaderLost, ElectionsHeld, Compaction],
        ),
        ("EtcdReadsSlow", &[DefragStarted, DefragEnded, LeaderChanged, LeaderLost, ElectionsHeld]),
        (
            "EtcdProposal",
            &[LeaderLost, LeaderChanged, ElectionsHeld, MemberUnreachable, DefragStarted, AlarmRaised],
        ),
        ("EtcdGrpcFailing", &[AlarmRaised, LeaderLost, MemberUnreachable, LeaderChanged, MemberRestarted]),
        ("EtcdHeartbeatsLate", &[DefragStarted, DefragEnded, RaftSnapshotSaved, RaftSnapshotApplied]),
        ("EtcdLearnerStuck", &[MemberAdded, LeaderChanged, MemberUnreachable]),
        ("EtcdMemberListsDisagree", &[MemberAdded, MemberRemoved, MemberPromoted]),
        ("EtcdHashMismatch", &[MemberRestarted, AlarmRaised, DefragEnded, VersionChanged]),
        ("EtcdSloBurn", &[AlarmRaised, LeaderLost, MemberUnreachable, LeaderChanged, DefragStarted]),
        ("EtcdMetricsMissing", &[VersionChanged, MemberRestarted, ConfigChanged]),
        ("EtcdMonitorBlind", &[MonitorConfigChanged, ConfigChanged]),
    ]
};

/// What came before `incident`: the others of its cluster among `incidents` that began earlier and were there at its
/// beginning or [`LOOK_BACK_MS`] before, and the `events` of its cluster of that time. Equal input gives equal order.
pub fn background<'a, 'b>(
    incident: &Incident,
    incidents: impl IntoIterator<Item = &'a Incident>,
    events: impl IntoIterator<Item = &'b Event>,
) -> Background {
    let since_ms = incident.active_since_ms.saturating_sub(LOOK_BACK_MS);
    let until_ms = incident.active_since_ms.saturating_add(SEEN_LATE_MS);
    let mut before: Vec<(u32, Candidate)> = Vec::new();
    for other in incidents {
        // In a storm there are thousands: most are ruled out by this.
        if other.cluster() != incident.cluster() || other.fingerprint == incident.fingerprint {
            continue;
        }
        let brought_it_on = explains(&other.alert, &incident.alert);
        let is_consequence = explains(&incident.alert, &other.alert);
        // Of alerts with one cause the lesser may be seen a moment earlier; others of the same evaluation are no
        // background.
        let began = match brought_it_on {
            true => other.active_since_ms <= until_ms,
            false => other.active_since_ms < incident.active_since_ms,
        };
        let was_there = other.state.is_active() || other.changed_ms >= since_ms;
        if began && was_there && !is_consequence {
            before.push(of_incident(incident, other, brought_it_on));
        }
    }
    let kinds = BROUGHT_ABOUT_BY.iter().find(|(alert, _)| incident.alert.starts_with(alert));
    let kinds = kinds.map_or(&[][..], |(_, kinds)| kinds);
    for event in events {
        let in_time = (since_ms..=until_ms).contains(&event.ts_ms);
        if in_time && incident.cluster() == Some(event.cluster.as_str()) && !is_said_by_incidents(event.kind)
        {
            before.push(of_event(incident, event, kinds));
        }
    }
    before.sort_by(|(rank_a, a), (rank_b, b)| {
        (b.reason, b.same_member)
            .cmp(&(a.reason, a.same_member))
            .then_with(|| rank_a.cmp(rank_b))
            .then_with(|| (b.ts_ms, &a.id).cmp(&(a.ts_ms, &b.id)))
    });
    let before: Vec<Candidate> = before.into_iter().map(|(_, candidate)| candidate).collect();
    let probable_cause = before.first().filter(|first| first.reason > Reason::Earlier).cloned();
    Background { probable_cause, before }
}

fn of_incident(incident: &Incident, other: &Incident, explains: bool) -> (u32, Candidate) {
    let instance = |incident: &Incident| incident.labels.get("instance").map(str::to_owned);
    let candidate = Candidate {
        reason: if explains { Reason::Explains } else { Reason::Earlier },
        same_member: instance(incident).is_some() && instance(incident) == instance(other),
        ts_ms: other.active_since_ms,
        kind: "incident".to_owned(),
        severity: other.severity,
        subject: other.alert.clone(),
        text: other.summary().to_owned(),
        id: other.fingerprint.clone(),
    };
    (0, candidate)
}

fn of_event(incident: &Incident, event: &Event, kinds: &[EventKind]) -> (u32, Candidate) {
    let rank = kinds.iter().position(|kind| *kind == event.kind);
    let reason = match rank {
        Some(_) => Reason::BringsAbout,
        None if is_change(event.kind) => Reason::Change,
        None => Reason::Earlier,
    };
    let candidate = Candidate {
        reason,
        same_member: incident.labels.get("instance") == Some(event.subject.as_str()),
        ts_ms: event.ts_ms,
        kind: event.kind.as_str().to_owned(),
        severity: event.severity,
        subject: event.subject.clone(),
        text: event.text.clone(),
        id: event.id.clone(),
    };
    (rank.and_then(|rank| u32::try_from(rank).ok()).unwrap_or(u32::MAX), candidate)
}

/// What people do to a cluster or to its monitor.
fn is_change(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::ConfigChanged
            | EventKind::VersionChanged
            | EventKind::MemberAdded
            | EventKind::MemberRemoved
            | EventKind::MemberPromoted
            | EventKind::MonitorConfigChanged
            | EventKind::MaintenanceStarted
    )
}

/// The incidents themselves stand for these.
fn is_said_by_incidents(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::AlertFiring
            | EventKind::AlertResolved
            | EventKind::AlertAcknowledged
            | EventKind::AlertGivenBack
            | EventKind::SilenceStarted
            | EventKind::SilenceEnded
    )
}

impl Candidate {
    /// `4 min before: the process of member m1 started anew`.
    pub fn sentence(&self, incident: &Incident) -> String {
        let lead_ms = incident.active_since_ms.saturating_sub(self.ts_ms);
        let when = match lead_ms / 1000 {
            0 => "at the same time".to_owned(),
            1.. => format!("{} before", human_span(lead_ms)),
            _ => format!("seen {} later", human_span(-lead_ms)),
        };
        format!("{when}: {}", self.text)
    }

    /// When it was, in UTC.
    pub fn time(&self) -> String {
        rfc3339(self.ts_ms)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{ClusterName, IncidentState, Labels};

    const BEGAN_MS: i64 = 10_000_000;

    fn incident(alert: &str, instance: &str, active_since_ms: i64) -> Incident {
        Incident {
            fingerprint: format!("{alert}/{instance}"),
            episode: 1,
            state: IncidentState::Firing,
            group: "g".to_owned(),
            alert: alert.to_owned(),
            severity: Severity::Warning,
            labels: Labels::from_pairs([("cluster", "prod"), ("instance", instance)]),
            annotations: Default::default(),
            value: 1.0,
            active_since_ms,
            fired_ms: active_since_ms,
            changed_ms: active_since_ms,
            reason: None,
            silenced_by: None,
        }
    }

    fn event(kind: EventKind, subject: &str, before_ms: i64) -> Event {
        let cluster: ClusterName = "prod".parse().expect("a name");
        let ts_ms = BEGAN_MS - before_ms;
        Event {
            id: Event::id_of(&cluster, kind, subject, &ts_ms.to_string()),
            cluster,
            ts_ms,
            kind,
            severity: Severity::Info,
            subject: subject.to_owned(),
            actor: None,
            text: kind.as_str().to_owned(),
            details: json!({}),
        }
    }

    #[test]
    fn what_is_suspected_first() {
        use EventKind::*;
        let slow = || incident("EtcdRequestsSlow", "m1", BEGAN_MS);
        for (name, others, events, wanted, order) in [
            ("nothing", vec![], vec![], None, vec![]),
            (
                "an explaining incident before all",
                vec![incident("EtcdWalFsyncSlow", "m2", BEGAN_MS - 60_000)],
                vec![event(DefragStarted, "m1", 1_000)],
                Some((Reason::Explains, "incident")),
                vec!["incident", "defrag-started"],
            ),
            (
                "known causes before changes, changes before the rest",
                vec![incident("EtcdApplyLag", "m1", BEGAN_MS - 1)],
                vec![
                    event(ConfigChanged, "m1", 5_000),
                    event(AlarmCleared, "m1", 4_000),
                    event(LeaderChanged, "prod", 600_000),
                ],
                Some((Reason::BringsAbout, "leader-changed")),
                vec!["leader-changed", "config-changed", "incident", "alarm-cleared"],
            ),
            (
                "the same member's first, then the likelier kind, then the later",
                vec![],
                vec![
                    event(Compaction, "m2", 1_000),
                    event(DefragEnded, "m2", 3_000),
                    event(DefragEnded, "m2", 2_000),
                    event(Compaction, "m1", 700_000),
                ],
                Some((Reason::BringsAbout, "compaction")),
                vec!["compaction", "defrag-ended", "defrag-ended", "compaction"],
            ),
            (
                "too old, too late, and what incidents say themselves",
                vec![],
                vec![
                    event(DefragStarted, "m1", LOOK_BACK_MS + 1),
                    event(DefragStarted, "m1", -SEEN_LATE_MS - 1),
                    event(AlertFiring, "m1", 5),
                ],
                None,
                vec![],
            ),
            (
                "time alone accuses nobody",
                vec![],
                vec![event(MemberReachable, "m1", 9)],
                None,
                vec!["member-reachable"],
            ),
        ] {
            let found = background(&slow(), &others, &events);
            let kinds: Vec<&str> = found.before.iter().map(|c| c.kind.as_str()).collect();
            assert_eq!(kinds, order, "{name}");
            let cause = found.probable_cause.as_ref().map(|c| (c.reason, c.kind.as_str()));
            assert_eq!(cause, wanted, "{name}");
        }
    }

    #[test]
    fn consequences_and_other_clusters_are_no_background() {
        let down = incident("EtcdQuorumLost", "", BEGAN_MS);
        let consequence = incident("EtcdNoLeader", "", BEGAN_MS - 10_000);
        let mut elsewhere = incident("EtcdWalFsyncSlow", "", BEGAN_MS - 10_000);
        elsewhere.labels = Labels::from_pairs([("cluster", "other")]);
        let mut over = incident("EtcdApplyLag", "", BEGAN_MS - 5 * LOOK_BACK_MS);
        (over.state, over.changed_ms) = (IncidentState::Resolved, BEGAN_MS - LOOK_BACK_MS - 1);
        let found = background(&down, &[down.clone(), consequence, elsewhere, over], &[]);
        assert_eq!(found, Background::default());
    }

    #[test]
    fn a_cause_says_when_it_was() {
        let slow = incident("EtcdRequestsSlow", "m1", BEGAN_MS);
        for (before_ms, wanted) in [
            (240_000, "4 min before: compaction"),
            (0, "at the same time: compaction"),
            (-5000, "seen 5 s later: compaction"),
        ] {
            let found = background(&slow, &[], &[event(EventKind::Compaction, "m1", before_ms)]);
            assert_eq!(found.before[0].sentence(&slow), wanted);
        }
    }

    #[test]
    fn the_table_names_alerts_that_exist() {
        let pack = crate::rules::default_pack().expect("parses");
        let names: Vec<String> =
            pack.iter().flat_map(|g| g.rules.iter().map(|rule| rule.name.clone())).collect();
        for (alert, kinds) in BROUGHT_ABOUT_BY {
            let known = names.iter().any(|name| name.starts_with(alert)) || *alert == "EtcdSloBurn";
            assert!(known && !kinds.is_empty(), "{alert}");
        }
    }
}
