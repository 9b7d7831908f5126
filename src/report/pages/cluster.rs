//! The overview page of one cluster.

mod charts;

use std::collections::BTreeSet;

use serde::Serialize;

use super::advice::{self, AdviceSection};
use super::backups::{BackupSection, section};
use super::benches::{self, BenchSection};
use super::disks::{self, DiskSection};
use super::layers::{LayerBlock, blocks, of as layers_of};
use super::members::{Member, members};
use super::strip::{Strip, strip};
use super::tiles::{Tile, tiles};
use super::topology::{Topology, topology};
use super::{Badge, Shell};
use crate::correlate::{Candidate, background};
use crate::model::unit::{human_span, rfc3339};
use crate::model::{Event, Incident, IncidentState};
use crate::report::chart::{Heatmap, LineChart};
use crate::report::facts::{Facts, class_of};
use crate::report::happened::{Happened, moved};
use crate::report::refresh::next_ms;
use crate::report::text::{clock, count, visible, web_link};
use crate::report::verdict::{Verdict, of_facts, rests_on_limits};
use crate::report::{ClusterInput, Input, ReportConfig};

/// So many events are shown, and so many lines of what came before an alert.
pub(crate) const EVENTS_MAX: usize = 30;
const BEFORE_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ClusterPage {
    pub(crate) shell: Shell,
    pub(crate) id: String,
    pub(crate) state: Badge,
    /// Tags, version, members, cluster id.
    pub(crate) about: Vec<String>,
    pub(crate) verdict: Verdict,
    pub(crate) verdict_class: &'static str,
    /// The live file does not know the series that the verdict rests on.
    pub(crate) rests_on_limits: bool,
    pub(crate) read_clock: Option<String>,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) topology: Option<Topology>,
    pub(crate) layers: Vec<LayerBlock>,
    /// Of the newest inspection: what, state, text, how long ago.
    pub(crate) care: Vec<(&'static str, Badge, String, String)>,
    pub(crate) backups: Option<BackupSection>,
    pub(crate) benches: Option<BenchSection>,
    pub(crate) disks: Option<DiskSection>,
    pub(crate) advice: Option<AdviceSection>,
    pub(crate) members: Vec<Member>,
    /// Headings of the members' numbers.
    pub(crate) member_heads: Vec<&'static str>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) alerts_note: String,
    /// Alert and reason.
    pub(crate) speechless: Vec<(String, String)>,
    /// Of the last day, newest first.
    pub(crate) events: Vec<Happened>,
    pub(crate) events_note: String,
    pub(crate) strip: Strip,
    pub(crate) charts: Vec<LineChart>,
    pub(crate) heatmap: Option<Heatmap>,
    pub(crate) heatmap_note: String,
    pub(crate) heatmap_caption: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Alert {
    pub(crate) fingerprint: String,
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) badge: Badge,
    pub(crate) state: &'static str,
    pub(crate) place: String,
    pub(crate) since: String,
    pub(crate) since_time: String,
    pub(crate) lasts: String,
    pub(crate) value: String,
    pub(crate) runbook: Option<String>,
    /// What likely brought it about, with how long before.
    pub(crate) cause: Option<String>,
    /// What came before it, the most suspected first.
    pub(crate) before: Vec<String>,
    /// The metrics that moved when it began.
    pub(crate) moved: Vec<String>,
}

impl ClusterPage {
    pub(crate) fn new(config: &ReportConfig, input: &Input, cluster: &ClusterInput) -> Self {
        let facts = Facts::new(config, input, cluster);
        let verdict = of_facts(&facts);
        let name = cluster.name.as_str();
        let mut shell = Shell::new(config, input, name.to_owned(), "../../", next_ms(cluster, input.made_ms));
        let twin = |file: &str| format!("api/v1/clusters/{name}/{file}.json");
        shell.twins = vec![
            ("Health", twin("health")),
            ("Members", twin("members")),
            ("Topology", twin("topology")),
            ("Alerts", twin("alerts")),
            ("Events", twin("events")),
            ("Series", twin("bundles/overview.24h")),
        ];
        let members = members(&facts, config.redact_addresses);
        let past = past(input, cluster);
        let events: Vec<Happened> = recent(cluster)
            .into_iter()
            .take(EVENTS_MAX)
            .map(|event| Happened::of_cluster(&facts, event))
            .collect();
        let (heatmap, heatmap_note, heatmap_caption) = charts::distribution(&facts);
        Self {
            shell,
            id: name.to_owned(),
            state: Badge::of_state(verdict.state),
            about: about(&facts),
            verdict_class: verdict.state.class(),
            rests_on_limits: rests_on_limits(&facts, &verdict),
            verdict,
            read_clock: facts.read_ms().map(|ts| clock(ts, facts.now_ms)),
            tiles: tiles(&facts),
            topology: topology(&facts, config.redact_addresses),
            layers: blocks(&layers_of(&facts)),
            care: care(&facts),
            backups: section(&facts),
            benches: benches::section(&facts),
            disks: disks::section(&facts),
            advice: advice::section(&facts),
            member_heads: members
                .first()
                .map(|m| m.cells.iter().map(|c| c.head).collect())
                .unwrap_or_default(),
            members,
            alerts: facts.active.iter().map(|incident| alert(&facts, &past, incident)).collect(),
            alerts_note: match cluster.rules_total {
                0 => "no rules loaded".to_owned(),
                total => {
                    format!("{} active · {} watch this cluster", facts.active.len(), count(total, "rule"))
                }
            },
            speechless: cluster.speechless.clone(),
            events_note: match cluster.events.len() {
                all if all > events.len() => format!("the newest {} of {all} in 24 h", events.len()),
                _ => "last 24 h".to_owned(),
            },
            events,
            strip: strip(&cluster.days, input.data_through_ms),
            charts: charts::charts(&facts),
            heatmap,
            heatmap_note,
            heatmap_caption,
        }
    }
}

fn care(facts: &Facts<'_>) -> Vec<(&'static str, Badge, String, String)> {
    let word = |class: &str| match class {
        "ok" => "OK",
        "warn" => "Warning",
        "crit" => "Critical",
        _ => "Unknown",
    };
    let line = |line: &crate::report::CareLine| {
        let badge = Badge::new(line.class, word(line.class));
        (line.what, badge, facts.clean(&line.text), human_span(facts.now_ms - line.ts_ms))
    };
    facts.input.care.iter().map(line).collect()
}

fn about(facts: &Facts<'_>) -> Vec<String> {
    let mut about: Vec<String> =
        facts.input.tags.iter().map(|(key, value)| format!("{}: {}", visible(key), visible(value))).collect();
    let mut versions: Vec<&str> = facts.rows.iter().filter_map(|row| row.version.as_deref()).collect();
    versions.sort_unstable();
    versions.dedup();
    if !versions.is_empty() {
        about.push(format!("etcd {}", visible(&versions.join(", "))));
    }
    if !facts.rows.is_empty() {
        about.push(count(facts.rows.len(), "member"));
    }
    about.extend(facts.rows.iter().find_map(|row| row.cluster_id).map(|id| format!("ID {id}")));
    about
}

/// The cluster's events of the last day, newest first.
fn recent(cluster: &ClusterInput) -> Vec<&Event> {
    let mut events: Vec<&Event> = cluster.events.iter().collect();
    events.sort_by(|a, b| b.ts_ms.cmp(&a.ts_ms).then_with(|| a.id.cmp(&b.id)));
    events
}

/// All events of the cluster that are known: incidents may be older than a day.
fn past(input: &Input, cluster: &ClusterInput) -> Vec<Event> {
    let known: BTreeSet<&str> = cluster.events.iter().map(|event| event.id.as_str()).collect();
    let of_cluster = input.history.iter().filter(|event| event.cluster == cluster.name);
    let older = of_cluster.filter(|event| !known.contains(event.id.as_str()));
    cluster.events.iter().chain(older).cloned().collect()
}

fn alert(facts: &Facts<'_>, past: &[Event], incident: &Incident) -> Alert {
    let background = background(incident, &facts.input.incidents, past);
    let told = |candidate: &Candidate| facts.clean(&candidate.sentence(incident));
    let word = match incident.severity {
        crate::model::Severity::Info => "Info",
        crate::model::Severity::Warning => "Warning",
        crate::model::Severity::Critical => "Critical",
    };
    let state = match incident.state {
        IncidentState::Firing | IncidentState::Unknown if incident.silenced_by.is_some() => "silenced",
        IncidentState::Firing => "",
        IncidentState::Acked => "acknowledged",
        IncidentState::Unknown => "cannot be evaluated now",
        IncidentState::Resolved => "resolved",
    };
    let badge = match incident.state {
        IncidentState::Unknown => Badge::new("unknown", format!("{word}?")),
        _ => Badge::new(class_of(incident.severity), word),
    };
    let place = incident.labels.get("instance").map(|i| facts.name_of_instance(i));
    Alert {
        fingerprint: incident.fingerprint.clone(),
        name: facts.clean(&incident.alert),
        summary: facts.summary(incident),
        badge,
        state,
        place: place.unwrap_or_else(|| "cluster".to_owned()),
        since: clock(incident.active_since_ms, facts.now_ms),
        since_time: rfc3339(incident.active_since_ms),
        lasts: human_span(facts.now_ms - incident.active_since_ms),
        value: crate::model::unit::three_digits(incident.value),
        runbook: incident.annotations.get("runbook_url").and_then(|url| web_link(url)),
        cause: background.probable_cause.as_ref().map(told),
        before: background.before.iter().take(BEFORE_MAX).map(told).collect(),
        moved: moved(facts, incident.active_since_ms, incident.labels.get("instance")),
    }
}
