//! Inhibition: what keeps silent because something worse says it already.

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
}

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
            "EtcdPeersCutOff",
            "EtcdProposalsFailing",
            "EtcdProposalsPending",
            "EtcdReadsSlow",
            "EtcdGrpcFailing",
            "EtcdRequestsSlow",
            "EtcdRequestsSlower",
            "EtcdLeaderChanged",
        ],
    ),
    (
        "EtcdNoLeader",
        &[
            "EtcdPeersCutOff",
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
    ("EtcdPeersCutOff", &["EtcdLeaderChanged", "EtcdPeerRoundTripSlow"]),
    ("EtcdLeaderChanges", &["EtcdLeaderChanged", "EtcdProposalsFailing", "EtcdReadsSlow"]),
    ("EtcdAlarmActive", &["EtcdDatabaseNearQuota", "EtcdGrpcFailing"]),
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

impl InhibitRule {
    /// # Errors
    /// When a matcher does not parse.
    pub fn new(config: &InhibitConfig) -> Result<Self, MatchersError> {
        let all = |texts: &[String]| texts.iter().map(|text| parse_matcher(text)).collect::<Result<_, _>>();
        Ok(Self { source: all(&config.source)?, target: all(&config.target)?, equal: config.equal.clone() })
    }

    /// What the shipped rules need: a warning is silent under the critical incident of the same alert and
    /// series, and an alert under the one that explains it in the same cluster.
    pub fn shipped() -> Vec<Self> {
        let equal = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let severity = |value| vec![Matcher::equal("severity", value)];
        let alert = |value| vec![Matcher::equal("alertname", value)];
        let mut rules = vec![Self {
            source: severity("critical"),
            target: severity("warning"),
            equal: equal(&["cluster", "alertname", "instance"]),
        }];
        for (source, targets) in EXPLAINS {
            for target in *targets {
                // A warning never keeps a critical incident silent.
                let mut lesser = alert(target);
                lesser.extend(Matcher::new("severity", MatchOp::NotEqual, "critical"));
                let worse = [alert(source), severity("critical")].concat();
                rules.push(Self { source: alert(source), target: lesser, equal: equal(&["cluster"]) });
                rules.push(Self { source: worse, target: alert(target), equal: equal(&["cluster"]) });
            }
        }
        rules
    }

    /// Whether the incident is one that silences others.
    pub fn may_speak(&self, incident: &Incident) -> bool {
        incident.state.is_active() && self.source.iter().all(|matcher| matcher.matches(&incident.labels))
    }

    fn may_silence(&self, target: &Labels) -> bool {
        self.target.iter().all(|matcher| matcher.matches(target))
    }

    fn silences(&self, source: &Labels, target: &Labels) -> bool {
        let fits = |matchers: &[Matcher], labels: &Labels| matchers.iter().all(|m| m.matches(labels));
        let value = |labels: &Labels, name: &str| labels.get(name).unwrap_or_default().to_owned();
        // As in Alertmanager: what fits both sides is not silenced by its like, else two would silence
        // each other.
        fits(&self.source, source)
            && fits(&self.target, target)
            && !(fits(&self.source, target) && fits(&self.target, source))
            && self.equal.iter().all(|name| value(source, name) == value(target, name))
    }
}

/// The active incident that speaks for `incident`, if there is one.
pub fn inhibitor<'a>(
    incident: &Incident,
    all: impl IntoIterator<Item = &'a Incident>,
    rules: &[InhibitRule],
) -> Option<&'a Incident> {
    // Most incidents are no rule's target; then the others, which may be thousands, are not looked at.
    let rules: Vec<&InhibitRule> = rules.iter().filter(|rule| rule.may_silence(&incident.labels)).collect();
    if rules.is_empty() {
        return None;
    }
    all.into_iter().find(|other| {
        other.state.is_active()
            && other.fingerprint != incident.fingerprint
            && rules.iter().any(|rule| rule.silences(&other.labels, &incident.labels))
    })
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
                "source resolved",
                slow("warning"),
                Incident { state: IncidentState::Resolved, ..slow("critical") },
                false,
            ),
        ] {
            let rules = InhibitRule::shipped();
            assert_eq!(inhibitor(&target, [&source], &rules).is_some(), silent, "{name}");
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
