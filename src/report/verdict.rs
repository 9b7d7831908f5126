//! The verdict: one word and a few sentences on whether a cluster is safe, and what to do next.
//!
//! Pages, JSON twins, `status` and `check` all say what [`verdict`] says. A parent is as bad as its worst
//! child, and silence is never health: no data is UNKNOWN, old data is stale.

use serde::{Deserialize, Serialize};

use crate::model::unit::{human_seconds, human_span};
use crate::model::{Incident, IncidentState, Severity};

use super::facts::{Facts, Standing};
use super::text::{clock, count, web_link};
use super::{ClusterInput, Input, ReportConfig};

/// The state of a cluster; the worst comes first, so sorting gives the order of the fleet page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    NoQuorum,
    Critical,
    Degraded,
    /// There was a reading, but it is too old to speak of now.
    Stale,
    /// Nothing is known.
    Unknown,
    Healthy,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::NoQuorum, Self::Critical, Self::Degraded, Self::Stale, Self::Unknown, Self::Healthy];

    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoQuorum => "No quorum",
            Self::Critical => "Critical",
            Self::Degraded => "Degraded",
            Self::Stale => "Stale data",
            Self::Unknown => "Unknown",
            Self::Healthy => "Healthy",
        }
    }

    /// As JSON and query strings write it.
    pub fn key(self) -> &'static str {
        match self {
            Self::NoQuorum => "no-quorum",
            Self::Critical => "critical",
            Self::Degraded => "degraded",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
        }
    }

    /// Which of the four looks (colour and shape) it has.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::NoQuorum | Self::Critical => "crit",
            Self::Degraded => "warn",
            Self::Stale | Self::Unknown => "unknown",
            Self::Healthy => "ok",
        }
    }
}

/// One thing that makes a cluster less than healthy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    pub state: State,
    /// A clause without a full stop: `etcd-1 does not answer`.
    pub text: String,
    /// Value, limit and consequence, in sentences; may be empty.
    pub detail: String,
    pub since_ms: Option<i64>,
    /// Where to read what to do; always `http` or `https`.
    pub runbook: Option<String>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub text: String,
    pub href: Option<String>,
}

/// What there is to say of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub state: State,
    /// One or two sentences that begin with the state's word.
    pub headline: String,
    /// Since when, how bad, with what consequence.
    pub detail: String,
    pub steps: Vec<Step>,
    /// Since when the worst reason holds.
    pub since_ms: Option<i64>,
    /// Worst first; empty when healthy.
    pub reasons: Vec<Reason>,
}

/// The verdict on `cluster` at `report.data_through_ms`. Panels may be missing (`status` and `check` have
/// none): then their limits are not judged.
pub fn verdict(config: &ReportConfig, report: &Input, cluster: &ClusterInput) -> Verdict {
    of_facts(&Facts::new(config, report, cluster))
}

pub(crate) fn of_facts(facts: &Facts<'_>) -> Verdict {
    let mut reasons = Vec::new();
    reasons.extend(availability(facts));
    reasons.extend(alarms(facts));
    reasons.extend(facts.active.iter().filter_map(|incident| of_incident(facts, incident)));
    if facts.active.iter().all(|i| i.severity == Severity::Info) {
        reasons.extend(above_limits(facts));
    }
    // Equal states keep the order above: what is seen now comes before what a rule said.
    reasons.sort_by_key(|reason| reason.state);
    let state = match reasons.first() {
        None => State::Healthy,
        // Old data cannot vouch for anything but the trouble that was already there.
        Some(first) if first.state > State::Critical && facts.is_stale() => State::Stale,
        Some(first) => first.state,
    };
    reasons.sort_by_key(|reason| (reason.state != state, reason.state));
    describe(facts, state, reasons)
}

/// Whether nothing but figures above their limits makes the cluster less than healthy: what is known without
/// its series, as the live file is, cannot say better.
pub(crate) fn rests_on_limits(facts: &Facts<'_>, verdict: &Verdict) -> bool {
    !verdict.reasons.is_empty() && verdict.reasons == above_limits(facts)
}

fn reason(state: State, text: impl Into<String>, detail: impl Into<String>) -> Reason {
    Reason { state, text: text.into(), detail: detail.into(), since_ms: None, runbook: None }
}

/// Does it answer, does it have a leader, is what we know of it fresh?
fn availability(facts: &Facts<'_>) -> Vec<Reason> {
    let Some(read_ms) = facts.read_ms() else {
        return vec![reason(
            State::Unknown,
            "no reading of this cluster yet",
            "The next run of collect or watch brings the first one.",
        )];
    };
    let mut reasons = Vec::new();
    if facts.is_stale() {
        let age = human_span(facts.now_ms - read_ms);
        let mut stale = reason(
            State::Stale,
            format!("the newest reading is {age} old"),
            "What this page shows may no longer be true.",
        );
        stale.since_ms = Some(read_ms);
        reasons.push(stale);
    }
    let (up, all) = (facts.voters_up, facts.voters);
    if up == 0 {
        reasons.push(reason(
            State::NoQuorum,
            format!("none of {} answers", count(all, "voting member")),
            "Either the cluster is down, or the monitor is cut off from it.",
        ));
    } else if up <= all / 2 {
        reasons.push(reason(
            State::NoQuorum,
            format!("{up} of {} answer, {} needed", count(all, "voting member"), all / 2 + 1),
            "Writes and linearizable reads fail until a majority is back.",
        ));
    } else if facts.leader.is_none() {
        reasons.push(reason(
            State::NoQuorum,
            "no member knows a leader",
            "Writes and linearizable reads fail until an election succeeds.",
        ));
    }
    if let Some(partition) = facts.partition() {
        reasons.push(reason(
            State::Critical,
            format!("members do not reach each other: {partition}"),
            "The monitor reaches them; the network between them is cut.",
        ));
    }
    if up > 0 {
        reasons.extend(facts.rows.iter().filter(|row| !row.reachable).map(|row| {
            let what = row.errors.first().map(|e| facts.clean(&e.message)).unwrap_or_default();
            let detail = if what.is_empty() { what } else { format!("Last error: {what}.") };
            reason(State::Degraded, format!("{} does not answer", facts.name(row)), detail)
        }));
    }
    reasons
}

fn alarms(facts: &Facts<'_>) -> Vec<Reason> {
    let text_of = |alarm: &str| match alarm {
        "NOSPACE" => {
            "The database reached its quota: writes are refused until space is freed and the alarm disarmed."
        }
        "CORRUPT" => {
            "Members disagree about the data: writes are refused. Restore the bad member from a healthy one."
        }
        _ => "",
    };
    let alarms = facts.alarms();
    let reasons = alarms
        .iter()
        .map(|alarm| reason(State::Critical, format!("alarm {alarm} is active"), text_of(alarm)));
    reasons.collect()
}

fn of_incident(facts: &Facts<'_>, incident: &Incident) -> Option<Reason> {
    let state = match (incident.state, incident.severity) {
        (IncidentState::Resolved, _) | (_, Severity::Info) => return None,
        (IncidentState::Unknown, _) => State::Unknown,
        (_, Severity::Warning) => State::Degraded,
        (_, Severity::Critical) => State::Critical,
    };
    let annotation = |name| incident.annotations.get(name).map(String::as_str);
    let mut detail = annotation("description").map(|text| facts.clean(text)).unwrap_or_default();
    if state == State::Unknown {
        let why = incident.reason.as_deref().map_or_else(|| "no data".to_owned(), |why| facts.clean(why));
        detail = format!("It fired, and cannot be evaluated now: {why}.");
    }
    Some(Reason {
        state,
        text: facts.summary(incident),
        detail,
        since_ms: Some(incident.active_since_ms),
        runbook: annotation("runbook_url").and_then(web_link),
    })
}

/// Values above their limits that no alert speaks of.
fn above_limits(facts: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut push = |subject: String, what: &str, standing: Standing, detail: &str| {
        let (Some(limit), Some(since_ms)) = (standing.limit, standing.above_since_ms) else { return };
        let values = format!("{} (limit {})", human_seconds(standing.value), human_seconds(limit));
        reasons.push(Reason {
            since_ms: Some(since_ms),
            ..reason(State::Degraded, format!("{what} {subject} is {values}"), detail)
        });
    };
    if let Some((instance, standing)) = facts.worst("wal_fsync") {
        let detail =
            "Every write waits for the disks of a majority; if this member leads, all writes slow down.";
        push(format!("on {}", facts.name_of_instance(instance)), "WAL fsync p99", standing, detail);
    }
    if let Some(standing) = facts.put_p99() {
        push("of the cluster".to_owned(), "put p99", standing, "Clients wait for their writes.");
    }
    reasons
}

fn describe(facts: &Facts<'_>, state: State, reasons: Vec<Reason>) -> Verdict {
    let worst = reasons.first();
    let safety = match state {
        State::Critical | State::Degraded if facts.has_quorum() && !facts.is_stale() => " Quorum is safe.",
        _ => "",
    };
    let headline = match worst {
        None => format!(
            "Healthy: {} of {} answer and agree on a leader.",
            facts.voters_up,
            count(facts.voters, "voting member")
        ),
        Some(worst) => format!("{}: {}.{safety}", state.word(), worst.text),
    };
    let since_ms = worst.and_then(|reason| reason.since_ms);
    let mut detail = worst.map(|reason| reason.detail.clone()).unwrap_or_default();
    if let Some(since_ms) = since_ms.filter(|_| state != State::Stale) {
        let since =
            format!("Since {}, {}.", clock(since_ms, facts.now_ms), human_span(facts.now_ms - since_ms));
        detail = if detail.is_empty() { since } else { format!("{since} {detail}") };
    }
    if state == State::Degraded || state == State::Critical {
        // A rule's text rarely has the value of now; the limits it stands for do.
        for above in above_limits(facts).iter().filter(|above| Some(&above.text) != worst.map(|w| &w.text)) {
            detail.push_str(&format!(" {}.", capitalized(&above.text)));
        }
    }
    if worst.is_none() {
        let tolerated = facts.voters.saturating_sub(1) / 2;
        detail = match tolerated {
            0 => "No member can be lost without losing quorum.".to_owned(),
            n => format!("The cluster can lose {} and go on.", count(n, "member")),
        };
    }
    let steps = steps(state, &reasons);
    Verdict { state, headline, detail, steps, since_ms, reasons }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn steps(state: State, reasons: &[Reason]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for reason in reasons.iter().filter(|reason| reason.runbook.is_some()).take(3) {
        steps.push(Step { text: format!("Runbook: {}", reason.text), href: reason.runbook.clone() });
    }
    let step = |text: &str, href: &str| Step { text: text.to_owned(), href: Some(href.to_owned()) };
    match state {
        State::NoQuorum => {
            steps.push(step("See which members answer, and why the others do not", "#members"));
        }
        State::Stale | State::Unknown => {
            steps.push(Step { text: "Check that the jobs run: etcd-monitor status".to_owned(), href: None });
        }
        State::Critical | State::Degraded if steps.is_empty() => {
            let more = reasons.len().saturating_sub(1);
            steps.push(step("Compare the members", "#members"));
            if more > 0 {
                steps.push(step(&format!("See {} more", count(more, "reason")), "#alerts"));
            }
        }
        _ => {}
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn every_state_of_the_example_fleet_has_its_word() {
        let input = example::fleet();
        let config = ReportConfig::default();
        for (cluster, state) in example::EXPECTED {
            let found = input.clusters.iter().find(|c| c.name.as_str() == *cluster).expect("is in the fleet");
            let verdict = verdict(&config, &input, found);
            assert_eq!(verdict.state, *state, "{cluster}: {verdict:?}");
            assert!(verdict.headline.starts_with(state.word()), "{}", verdict.headline);
            assert_eq!(verdict.reasons.is_empty(), *state == State::Healthy);
        }
    }

    #[test]
    fn silence_is_never_health() {
        let mut input = example::fleet();
        for cluster in &mut input.clusters {
            cluster.rows.clear();
            cluster.incidents.clear();
            cluster.panels.clear();
        }
        for cluster in &input.clusters {
            assert_eq!(verdict(&ReportConfig::default(), &input, cluster).state, State::Unknown);
        }
        let mut input = example::fleet();
        input.data_through_ms += 3_600_000;
        for cluster in &input.clusters {
            assert_ne!(verdict(&ReportConfig::default(), &input, cluster).state, State::Healthy);
        }
    }

    #[test]
    fn states_sort_worst_first() {
        let mut sorted = State::ALL;
        sorted.sort();
        assert_eq!(sorted, State::ALL);
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).expect("serializes"), state.key());
        }
    }
}
