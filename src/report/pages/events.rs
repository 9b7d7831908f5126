//! The page of events: what happened in the whole fleet.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Shell;
use crate::model::ClusterName;
use crate::report::facts::Facts;
use crate::report::happened::Happened;
use crate::report::refresh::fleet_next_ms;
use crate::report::text::{count, visible};
use crate::report::{Input, ReportConfig};

/// The page is read by people: the rest is in the exports and in `etcd-monitor events`.
const ROWS_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct EventsPage {
    pub(crate) shell: Shell,
    pub(crate) about: String,
    /// Newest first.
    pub(crate) rows: Vec<Row>,
    /// What the choices of the filter are.
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) clusters: Vec<String>,
    pub(crate) exports: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) event: Happened,
    /// Whether its cluster has a page.
    pub(crate) has_page: bool,
}

/// Where the exports lie.
pub(crate) const JSON_PATH: &str = "api/v1/events.json";
pub(crate) const CSV_PATH: &str = "api/v1/events.csv";

impl EventsPage {
    /// The page of what [`history`] gave.
    pub(crate) fn new(config: &ReportConfig, input: &Input, history: &[Happened]) -> Self {
        let mut shell = Shell::new(config, input, "Events".to_owned(), "", fleet_next_ms(input));
        shell.twins = vec![("Events", JSON_PATH.to_owned())];
        let pages: BTreeSet<&str> = input.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        let row =
            |event: &Happened| Row { event: event.clone(), has_page: pages.contains(event.cluster.as_str()) };
        let rows: Vec<Row> = history.iter().take(ROWS_MAX).map(row).collect();
        let kinds: BTreeSet<&'static str> = rows.iter().map(|row| row.event.kind).collect();
        let clusters: BTreeSet<String> = rows.iter().map(|row| row.event.cluster.clone()).collect();
        let about = match (history.len() > rows.len(), history.len() < Input::HISTORY_MAX) {
            (false, _) => format!("{} in the last 30 days", count(rows.len(), "event")),
            (true, true) => {
                format!("the newest {} of {} events in the last 30 days", rows.len(), history.len())
            }
            (true, false) => format!("the newest {} of more than {} events", rows.len(), history.len()),
        };
        Self {
            shell,
            about,
            rows,
            kinds: kinds.into_iter().collect(),
            clusters: clusters.into_iter().collect(),
            exports: vec![("CSV", CSV_PATH), ("JSON", JSON_PATH)],
        }
    }
}

/// The events of the whole fleet, fit to be shown. Where addresses are redacted, events of clusters that are not
/// there any more are left out: nobody knows what their members are called.
pub(crate) fn history(config: &ReportConfig, input: &Input) -> Vec<Happened> {
    let facts: BTreeMap<&ClusterName, Facts<'_>> =
        input.clusters.iter().map(|cluster| (&cluster.name, Facts::new(config, input, cluster))).collect();
    let shown = input.history.iter().filter_map(|event| match facts.get(&event.cluster) {
        Some(facts) => Some(Happened::new(event, input.data_through_ms, |text| facts.clean(text))),
        None if config.redact_addresses => None,
        None => Some(Happened::new(event, input.data_through_ms, visible)),
    });
    shown.collect()
}
