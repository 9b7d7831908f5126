//! Inhibition: what keeps silent because something worse says it already.

use std::collections::HashMap;

use serde::Deserialize;

use super::{MatchersError, parse_matcher};
use crate::model::{Incident, Labels, MatchOp, Matcher};

/// While an incident that fits `source` is active, those that fit `target` and agree with it on the `equal`
/// labels are not told to anybody. An absent label is equal to an absent or empty one.
#[derive(Debug, Clone)]
pub struct InhibitRule {
    source: Vec<Matcher>,
    target: Vec<Matcher>,
    equal: Vec<String>,
    /// How long after the source's end it still speaks for what began before that end, ms.
    linger_ms: i64,
}

/// How long a rule over a range goes on after what it measured: 5 minutes of range, as many of
/// `keep_firing_for`, and an evaluation.
const RANGE_LINGER_MS: i64 = 11 * 60_000;
/// How long a rule over the newest samples goes on: until its member was scraped well twice.
const STATE_LINGER_MS: i64 = 2 * 60_000;
/// Shipped alerts without a range.
const OF_STATE: &[&str] = &["EtcdMemberDown", "EtcdNoLeader"];

/// An inhibit rule as configuration writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InhibitConfig {
    pub source: Vec<String>,
    pub target: Vec<String>,
    #[serde(default)]
    pub equal: Vec<String>,
}

/// A shipped alert, and those that say nothing new while it is active: one fault, one incident.
const EXPLAINS: &[(&str, &[&str])] = &[
    (
        "EtcdQuorumLost",
        &[
            "EtcdNoLeader",
            "EtcdMemberDown",
            "EtcdMemberUnhealthy",
            "EtcdPeersCutOff",
            "EtcdProposalsFailing",
            "EtcdProposalsPending",
            "EtcdReadsSlow",
            "EtcdGrpcFailing",
            "EtcdRequestsSlow",
            "EtcdRequestsSlower",
            "EtcdLeaderChanged",
            "EtcdSloBurn",
        ],
    ),
    (
        "EtcdNoLeader",
        &[
            "EtcdMemberUnhealthy",
            "EtcdSloBurn",
            "EtcdProposalsFailing",
            "EtcdProposalsPending",
            "EtcdReadsSlow",
            "EtcdGrpcFailing",
            "EtcdRequestsSlow",
            "EtcdRequestsSlower",
            "EtcdLeaderChanged",
        ],
    ),
    ("EtcdMemberDown", &["EtcdPeersCutOff", "EtcdLeaderChanged"]),
    // A member that hears no leader is cut off from it; without any leader the quorum is lost, which is told first.
    (
        "EtcdPeersCutOff",
        &[
            "EtcdNoLeader",
            "EtcdMemberUnhealthy",
            "EtcdSplitBrain",
            "EtcdLeaderChanged",
            "EtcdPeerRoundTripSlow",
            "EtcdProposalsFailing",
        ],
    ),
    ("EtcdLeaderChanges", &["EtcdLeaderChanged", "EtcdProposalsFailing", "EtcdReadsSlow"]),
    ("EtcdAlarmActive", &["EtcdDatabaseNearQuota", "EtcdGrpcFailing", "EtcdMemberUnhealthy"]),
    (
        "EtcdWalFsyncSlow",
        &[
            "EtcdBackendCommitSlow",
            "EtcdProposalsPending",
            "EtcdSlowApplies",
            "EtcdHeartbeatsLate",
            "EtcdRequestsSlow",
            "EtcdRequestsSlower",
            "EtcdProposalCommitsSlower",
        ],
    ),
    (
        "EtcdBackendCommitSlow",
        &["EtcdSlowApplies", "EtcdRequestsSlow", "EtcdRequestsSlower", "EtcdProposalCommitsSlower"],
    ),
    ("EtcdPeerRoundTripSlow", &["EtcdProposalsPending", "EtcdRequestsSlow", "EtcdRequestsSlower"]),
    ("EtcdRequestsSlow", &["EtcdRequestsSlower"]),
];

/// Whether the shipped alert `source` says already what `target` says: one fault shows as both.
pub fn explains(source: &str, target: &str) -> bool {
    EXPLAINS.iter().any(|(alert, targets)| *alert == source && targets.contains(&target))
}

impl InhibitRule {
    /// # Errors
    /// When a matcher does not parse.
    pub fn new(config: &InhibitConfig) -> Result<Self, MatchersError> {
        let all = |texts: &[String]| texts.iter().map(|text| parse_matcher(text)).collect::<Result<_, _>>();
        Ok(Self {
            source: all(&config.source)?,
            target: all(&config.target)?,
            equal: config.equal.clone(),
            linger_ms: 0,
        })
    }

    /// What the shipped rules need: a warning is silent under the critical incident of the same alert and
    /// series, and an alert under the one that explains it in the same cluster. Rules over a range outlive
    /// what they measure, so the end of the cause does not make its consequences news.
    pub fn shipped() -> Vec<Self> {
        let equal = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let severity = |value| vec![Matcher::equal("severity", value)];
        let alert = |value| vec![Matcher::equal("alertname", value)];
        let mut rules = vec![Self {
            source: severity("critical"),
            target: severity("warning"),
            equal: equal(&["cluster", "alertname", "instance"]),
            linger_ms: RANGE_LINGER_MS,
        }];
        for (source, targets) in EXPLAINS {
            for target in *targets {
                // A warning never keeps a critical incident silent.
                let mut lesser = alert(target);
                lesser.extend(Matcher::new("severity", MatchOp::NotEqual, "critical"));
                let worse = [alert(source), severity("critical")].concat();
                let linger_ms = if OF_STATE.contains(target) { STATE_LINGER_MS } else { RANGE_LINGER_MS };
                for (source, target) in [(alert(source), lesser), (worse, alert(target))] {
                    rules.push(Self { source, target, equal: equal(&["cluster"]), linger_ms });
                }
            }
        }
        rules
    }

    /// Whether the incident is one that silences others.
    fn may_speak(&self, incident: &Incident, now_ms: i64) -> bool {
        (incident.state.is_active() || now_ms < incident.changed_ms.saturating_add(self.linger_ms))
            && self.source.iter().all(|matcher| matcher.matches(&incident.labels))
    }

    /// Whether the source is there, or gone so recently that it still speaks for `target`.
    fn speaks(&self, source: &Incident, target: &Incident, now_ms: i64) -> bool {
        source.state.is_active()
            || (target.active_since_ms <= source.changed_ms
                && now_ms < source.changed_ms.saturating_add(self.linger_ms))
    }

    fn may_silence(&self, target: &Labels) -> bool {
        self.target.iter().all(|matcher| matcher.matches(target))
    }

    /// The values that source and target agree on; an absent label is an empty one.
    fn equal_of<'a>(&self, labels: &'a Labels) -> Vec<&'a str> {
        self.equal.iter().map(|name| labels.get(name).unwrap_or_default()).collect()
    }

    fn silences(&self, source: &Labels, target: &Labels) -> bool {
        let fits = |matchers: &[Matcher], labels: &Labels| matchers.iter().all(|m| m.matches(labels));
        // As in Alertmanager: what fits both sides is not silenced by its like, else two would silence
        // each other.
        fits(&self.source, source)
            && fits(&self.target, target)
            && !(fits(&self.source, target) && fits(&self.target, source))
            && self.equal_of(source) == self.equal_of(target)
    }
}

/// Sources by the values of the rule's `equal` labels.
type ByEqual<'a> = HashMap<Vec<&'a str>, Vec<&'a Incident>>;

/// The incidents that may silence others, found by what rule and target demand of them: in a storm there are
/// thousands of both.
pub struct Speakers<'a> {
    now_ms: i64,
    rules: Vec<(&'a InhibitRule, ByEqual<'a>)>,
}

impl<'a> Speakers<'a> {
    pub fn new(rules: &'a [InhibitRule], all: &[&'a Incident], now_ms: i64) -> Self {
        let of_rule = |rule: &'a InhibitRule| {
            let mut by_equal = ByEqual::new();
            for incident in all.iter().filter(|incident| rule.may_speak(incident, now_ms)) {
                by_equal.entry(rule.equal_of(&incident.labels)).or_default().push(incident);
            }
            (rule, by_equal)
        };
        // Most rules have no source most of the time.
        Self { now_ms, rules: rules.iter().map(of_rule).filter(|(_, found)| !found.is_empty()).collect() }
    }

    /// The incident that speaks for `incident`, if there is one.
    pub fn inhibitor(&self, incident: &Incident) -> Option<&'a Incident> {
        self.rules.iter().filter(|(rule, _)| rule.may_silence(&incident.labels)).find_map(
            |(rule, sources)| {
                let sources = sources.get(&rule.equal_of(&incident.labels))?;
                sources.iter().copied().find(|other| {
                    other.fingerprint != incident.fingerprint
                        && rule.speaks(other, incident, self.now_ms)
                        && rule.silences(&other.labels, &incident.labels)
                })
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::incident::{Observation, step, tests::finding};
    use super::*;
    use crate::model::IncidentState;

    fn incident(alert: &str, cluster: &str, instance: &str, severity: &str) -> Incident {
        let finding = finding(alert, cluster, instance, severity);
        step(None, &Observation::Found(&finding), 1).expect("fires")
    }

    #[test]
    fn shipped_rules_leave_one_voice_per_cause() {
        let quorum = incident("EtcdQuorumLost", "a", "", "critical");
        let slow = |severity| incident("EtcdWalFsyncSlow", "a", "m1", severity);
        for (name, target, source, silent) in [
            ("member under quorum", incident("EtcdMemberDown", "a", "m1", "critical"), quorum.clone(), true),
            ("other cluster", incident("EtcdMemberDown", "b", "m1", "critical"), quorum.clone(), false),
            ("no leader", incident("EtcdNoLeader", "a", "m1", "critical"), quorum.clone(), true),
            ("quorum itself", quorum.clone(), quorum, false),
            ("slow disk", incident("EtcdRequestsSlow", "a", "", "warning"), slow("warning"), true),
            (
                "critical under a warning",
                incident("EtcdRequestsSlow", "a", "", "critical"),
                slow("warning"),
                false,
            ),
            (
                "critical under critical",
                incident("EtcdRequestsSlow", "a", "", "critical"),
                slow("critical"),
                true,
            ),
            ("warning under critical", slow("warning"), slow("critical"), true),
            ("critical over warning", slow("critical"), slow("warning"), false),
            ("other member", incident("EtcdWalFsyncSlow", "a", "m2", "warning"), slow("critical"), false),
            (
                "source just resolved",
                slow("warning"),
                Incident { state: IncidentState::Resolved, ..slow("critical") },
                true,
            ),
            (
                "began after the source's end",
                Incident { active_since_ms: 2, ..slow("warning") },
                Incident { state: IncidentState::Resolved, ..slow("critical") },
                false,
            ),
            (
                "source resolved long ago",
                slow("warning"),
                Incident { state: IncidentState::Resolved, changed_ms: -RANGE_LINGER_MS, ..slow("critical") },
                false,
            ),
        ] {
            let rules = InhibitRule::shipped();
            assert_eq!(Speakers::new(&rules, &[&source], 1).inhibitor(&target).is_some(), silent, "{name}");
        }
    }

    /// Alerts that explain each other would both be silent.
    #[test]
    fn no_alert_explains_what_explains_it() {
        for (source, targets) in EXPLAINS {
            for target in *targets {
                let back = EXPLAINS.iter().any(|(other, them)| other == target && them.contains(source));
                assert!(!back && source != target, "{source} and {target}");
            }
        }
    }
}
