//! What the report is made from: configuration, and what the `report` job read of every cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DayState;
use crate::model::{
    Advice, BackupState, BenchStanding, ClusterName, DiskStanding, Event, Incident, JobRun, ReadingRow,
    Series,
};

/// The `[report]` table of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReportConfig {
    /// Stands at the top of every page.
    pub title: String,
    /// Where people open the site; printed on paper. No link of the site depends on it.
    pub public_url: Option<String>,
    /// Replaces members' addresses by their names, in pages and in the JSON twins.
    pub redact_addresses: bool,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self { title: "etcd-monitor".to_owned(), public_url: None, redact_addresses: false }
    }
}

/// Everything one rendering of the site shows.
#[derive(Debug, Clone)]
pub struct Input {
    /// The newest instant the data covers, ms since the epoch: the pages' "now".
    pub data_through_ms: i64,
    /// When the pages are made, ms since the epoch.
    pub made_ms: i64,
    /// How often readings are expected. Data older than three intervals is called stale.
    pub expected_interval_ms: i64,
    /// The program's version.
    pub version: String,
    pub clusters: Vec<ClusterInput>,
    /// The newest run of each job.
    pub job_runs: Vec<JobRun>,
    /// What happened in the fleet in the last [`Self::HISTORY_MS`], the newest first, at most
    /// [`Self::HISTORY_MAX`].
    pub history: Vec<Event>,
}

impl Input {
    /// How far back the page of events reaches, ms.
    pub const HISTORY_MS: i64 = 30 * 86_400_000;
    /// How many events it and its exports have at most.
    pub const HISTORY_MAX: usize = 5000;
}

/// What was found when somebody looked closer than polls do: at certificates, lists, data.
#[derive(Debug, Clone, PartialEq)]
pub struct CareLine {
    pub what: &'static str,
    pub text: String,
    /// The state's class on pages: `ok`, `warn`, `crit` or `unknown`.
    pub class: &'static str,
    pub ts_ms: i64,
}

/// One cluster's part of an [`Input`].
#[derive(Debug, Clone)]
pub struct ClusterInput {
    pub name: ClusterName,
    pub tags: BTreeMap<String, String>,
    /// The rows of the newest reading; empty when there never was one.
    pub rows: Vec<ReadingRow>,
    /// Active ones, and resolved ones of the last days.
    pub incidents: Vec<Incident>,
    /// What happened in the range of the charts.
    pub events: Vec<Event>,
    /// By [`super::Panel::id`]: the series its expression gave for its range and step.
    pub panels: BTreeMap<String, Vec<Series>>,
    /// Of the newest inspection; empty before the first.
    pub care: Vec<CareLine>,
    /// What is known of its backups; `None` where there never was one.
    pub backups: Option<BackupState>,
    /// What benchmarks said, by kind.
    pub benches: Vec<BenchStanding>,
    /// What checks said of its members' disks.
    pub disks: Vec<DiskStanding>,
    /// What is advised, and its health score; `None` before it was worked out.
    pub advice: Option<Advice>,
    /// By [`super::Panel::id`]: what the expressions of [`super::figures`] gave for now.
    pub figures: BTreeMap<String, Vec<Series>>,
    /// Oldest first; missing days are days without data. [`super::day_states`] makes them.
    pub days: Vec<DayState>,
    /// How many alert rules are evaluated for this cluster.
    pub rules_total: usize,
    /// Those of them that cannot speak of it, and why.
    pub speechless: Vec<(String, String)>,
    /// How far back the charts reach, ms: a day, or less for a cluster that was not watched as long.
    pub chart_range_ms: i64,
    /// The step of the panels behind them, ms.
    pub chart_step_ms: i64,
}

impl ClusterInput {
    /// How far back charts reach at most, ms.
    pub const DAY_MS: i64 = 86_400_000;

    /// A cluster of which nothing is known yet.
    pub fn new(name: ClusterName) -> Self {
        Self {
            name,
            tags: BTreeMap::new(),
            rows: Vec::new(),
            incidents: Vec::new(),
            events: Vec::new(),
            panels: BTreeMap::new(),
            figures: BTreeMap::new(),
            care: Vec::new(),
            backups: None,
            benches: Vec::new(),
            disks: Vec::new(),
            advice: None,
            days: Vec::new(),
            rules_total: 0,
            speechless: Vec::new(),
            chart_range_ms: Self::DAY_MS,
            chart_step_ms: 300_000,
        }
    }
}
