//! The life of an incident: FIRING → (ACKED) → RESOLVED, with UNKNOWN while nobody can tell.
//!
//! PENDING is not here: a finding becomes an incident once its rule's `for` has passed.

use super::event::{ACKNOWLEDGED, GIVEN_BACK};
use crate::model::{Finding, FindingState, Incident, IncidentState};

/// What is known of one fingerprint at one evaluation.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation<'a> {
    /// The condition holds (a pending finding: not long enough yet).
    Found(&'a Finding),
    /// The evaluation was complete and the condition does not hold.
    Clear,
    /// The condition was not seen, and the data to say that it does not hold is missing.
    Incomplete(String),
    /// What the incident is about is no longer watched: the rule, the member or the cluster was removed.
    Removed(String),
    /// A person took it on; who.
    Acknowledged(String),
    /// A person gave it back; who.
    GivenBack(String),
}

/// Evaluations of several writers may reach the store in another order than they were made. One that is
/// older than the newest state, by no more than this, is late and changes nothing. One that is older by more
/// means that a clock was wrong, and believing the present one is the safe side.
const LATE_MS: i64 = 120_000;

/// The next state of an incident, or `None` where the observation changes nothing. `now_ms` is the
/// instant of the observation.
///
/// An UNKNOWN incident never resolves by silence: only a complete evaluation or a removal does that. An
/// acknowledged one stays acknowledged while data is missing, as somebody has it in hand.
pub fn step(previous: Option<&Incident>, observation: &Observation<'_>, now_ms: i64) -> Option<Incident> {
    use IncidentState::{Acked, Firing, Resolved, Unknown};

    if previous.is_some_and(|incident| is_late(incident, now_ms)) {
        return None;
    }
    let active = previous.filter(|incident| incident.state.is_active());
    match (active, observation) {
        (None, Observation::Found(finding)) => {
            let episode = previous.map_or(0, |incident| incident.episode).saturating_add(1);
            (finding.state == FindingState::Firing).then(|| fired(finding, episode, now_ms))
        }
        (None, _) => None,
        (Some(incident), Observation::Found(finding)) => match incident.state {
            Unknown => Some(Incident { value: finding.value, ..changed(incident, Firing, None, now_ms) }),
            Firing | Acked | Resolved => None,
        },
        (Some(incident), Observation::Clear) => Some(changed(incident, Resolved, None, now_ms)),
        (Some(incident), Observation::Removed(reason)) => {
            Some(changed(incident, Resolved, Some(reason), now_ms))
        }
        (Some(incident), Observation::Incomplete(reason)) => {
            (incident.state == Firing).then(|| changed(incident, Unknown, Some(reason), now_ms))
        }
        (Some(incident), Observation::Acknowledged(who)) => (incident.state != Acked)
            .then(|| changed(incident, Acked, Some(&format!("{ACKNOWLEDGED}{who}")), now_ms)),
        (Some(incident), Observation::GivenBack(who)) => (incident.state == Acked)
            .then(|| changed(incident, Firing, Some(&format!("{GIVEN_BACK}{who}")), now_ms)),
    }
}

fn is_late(incident: &Incident, now_ms: i64) -> bool {
    let behind_ms = incident.changed_ms.saturating_sub(now_ms);
    (0..=LATE_MS).contains(&behind_ms)
}

fn fired(finding: &Finding, episode: u64, now_ms: i64) -> Incident {
    Incident {
        fingerprint: finding.fingerprint(),
        episode,
        state: IncidentState::Firing,
        group: finding.group.clone(),
        alert: finding.alert.clone(),
        severity: finding.severity(),
        labels: finding.labels.clone(),
        annotations: finding.annotations.clone(),
        value: finding.value,
        active_since_ms: finding.active_since_ms,
        fired_ms: now_ms,
        changed_ms: now_ms,
        reason: None,
        silenced_by: None,
    }
}

fn changed(incident: &Incident, state: IncidentState, reason: Option<&String>, now_ms: i64) -> Incident {
    Incident { state, reason: reason.cloned(), changed_ms: now_ms, ..incident.clone() }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Labels;

    pub(crate) fn finding(alert: &str, cluster: &str, instance: &str, severity: &str) -> Finding {
        Finding {
            group: "etcd".to_owned(),
            alert: alert.to_owned(),
            labels: Labels::from_pairs([
                ("alertname", alert),
                ("cluster", cluster),
                ("instance", instance),
                ("severity", severity),
            ]),
            annotations: BTreeMap::from([("summary".to_owned(), format!("{alert} on {instance}"))]),
            value: 1.0,
            state: FindingState::Firing,
            active_since_ms: 0,
        }
    }

    fn down() -> Finding {
        finding("EtcdMemberDown", "prod-eu-1", "10.0.0.1:2379", "critical")
    }

    #[test]
    fn a_story_from_firing_to_resolved() {
        use IncidentState::{Acked, Firing, Resolved, Unknown};
        let firing = down();
        let pending = Finding { state: FindingState::Pending, ..down() };
        let gone = || Observation::Incomplete("no data".to_owned());
        let ack = || Observation::Acknowledged("ann".to_owned());
        let removed = || Observation::Removed("member removed".to_owned());
        // From state, observation, to state and episode (None: no transition).
        let table = [
            (None, Observation::Found(&pending), None),
            (None, Observation::Found(&firing), Some((Firing, 1))),
            (None, Observation::Clear, None),
            (None, gone(), None),
            (None, removed(), None),
            (Some(Firing), Observation::Found(&firing), None),
            (Some(Firing), Observation::Found(&pending), None),
            (Some(Firing), Observation::Clear, Some((Resolved, 1))),
            (Some(Firing), gone(), Some((Unknown, 1))),
            (Some(Firing), removed(), Some((Resolved, 1))),
            (Some(Firing), ack(), Some((Acked, 1))),
            (Some(Acked), Observation::Found(&firing), None),
            (Some(Acked), gone(), None),
            (Some(Acked), ack(), None),
            (Some(Acked), Observation::Clear, Some((Resolved, 1))),
            (Some(Unknown), gone(), None),
            (Some(Unknown), Observation::Found(&pending), Some((Firing, 1))),
            (Some(Unknown), Observation::Clear, Some((Resolved, 1))),
            (Some(Resolved), Observation::Clear, None),
            (Some(Resolved), gone(), None),
            (Some(Resolved), Observation::Found(&pending), None),
            (Some(Resolved), Observation::Found(&firing), Some((Firing, 2))),
        ];
        for (state, observation, expected) in table {
            let previous = state.map(|state| Incident { state, ..fired(&firing, 1, 1_000) });
            let next = step(previous.as_ref(), &observation, 2_000);
            assert_eq!(next.map(|n| (n.state, n.episode)), expected, "{state:?} {observation:?}");
        }
    }

    #[test]
    fn a_late_observation_changes_nothing_and_a_wrong_clock_is_not_believed() {
        let resolved =
            Incident { state: IncidentState::Resolved, changed_ms: 1_000_000, ..fired(&down(), 1, 0) };
        for (now_ms, fires) in [(1_000_000, false), (999_000, false), (880_000, false), (879_999, true)] {
            let firing = down();
            let next = step(Some(&resolved), &Observation::Found(&firing), now_ms);
            assert_eq!(next.is_some(), fires, "{now_ms}");
        }
    }

    proptest! {
        /// Only a complete evaluation or a removal resolves, whatever came before in whatever order.
        #[test]
        fn never_resolves_on_incomplete_data(inputs in prop::collection::vec((0_u8..5, 0_i64..400_000), 1..40)) {
            let firing = down();
            let mut state: Option<Incident> = None;
            for (kind, now_ms) in inputs {
                let observation = match kind {
                    0 => Observation::Found(&firing),
                    1 => Observation::Clear,
                    2 => Observation::Removed(String::new()),
                    3 => Observation::Acknowledged("ann".to_owned()),
                    _ => Observation::Incomplete("no data".to_owned()),
                };
                if let Some(next) = step(state.as_ref(), &observation, now_ms) {
                    if next.state == IncidentState::Resolved {
                        prop_assert!(matches!(observation, Observation::Clear | Observation::Removed(_)));
                    }
                    let (old_episode, was_active) =
                        state.as_ref().map_or((0, false), |old| (old.episode, old.state.is_active()));
                    prop_assert_eq!(next.episode, old_episode + u64::from(!was_active));
                    // The same observation again is no further transition.
                    prop_assert!(step(Some(&next), &observation, now_ms).is_none());
                    state = Some(next);
                }
            }
        }
    }
}
