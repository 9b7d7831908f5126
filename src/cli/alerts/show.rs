//! `alerts show`: one incident whole, with its probable cause and what came before it.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::super::{Global, Stop, open_to_read, output};
use super::{cells, read, to_json};
use crate::alert::SilenceSource as _;
use crate::config::Overrides;
use crate::correlate::{Background, LOOK_BACK_MS, background};
use crate::model::unit::{human_span, rfc3339, three_digits};
use crate::model::{ClusterName, Event, Incident};
use crate::promql::EvalOptions;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::{Store, events};
use crate::survey::{self, Around};

/// So many metrics that moved are shown with one incident.
const METRICS_SHOWN: usize = 10;

#[derive(Debug, Args)]
pub struct Show {
    /// The incident's short id, as `alerts` and `alerts --history` show it
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const COLUMNS: [&str; 7] = ["time", "suspected", "severity", "kind", "subject", "id", "what happened"];

impl Show {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let store = open_to_read(&config).await?;
        let now_ms = Clock::System.now_ms();
        let incidents = read(&store, config.silences.silences(now_ms), now_ms).await?;
        let incident = self.only(&incidents)?;
        let events = events_before(&store, incident).await?;
        let found = background(incident, &incidents, &events);
        let around = metrics(&store, incident).await?;
        if self.json {
            let mut value = to_json(incident);
            if let Some(object) = value.as_object_mut() {
                object.insert("probable_cause".to_owned(), json!(found.probable_cause));
                object.insert("before".to_owned(), json!(found.before));
                object.insert("metrics".to_owned(), json!(around));
            }
            output::json(&value)?;
        } else {
            print(incident, &found, around.as_ref(), now_ms);
        }
        Ok(Exit::Ok.into())
    }

    /// The one incident, active or over, whose fingerprint begins with the id.
    fn only<'a>(&self, incidents: &'a [Incident]) -> Result<&'a Incident, Stop> {
        let id = self.id.as_str();
        let fits = |i: &&Incident| !id.is_empty() && i.fingerprint.starts_with(id);
        let mut fitting = incidents.iter().filter(fits);
        match (fitting.next(), fitting.count()) {
            (Some(incident), 0) => Ok(incident),
            (Some(_), more) => Err(Stop::Usage(format!("{} incidents begin with {id}", more + 1))),
            (None, _) => Err(Stop::Usage(format!(
                "no incident begins with {id:?}; see: etcd-monitor alerts --history"
            ))),
        }
    }
}

/// The events from which the background is made.
async fn events_before(store: &Store, incident: &Incident) -> Result<Vec<Event>, Stop> {
    let Some(cluster) = cluster_of(incident) else { return Ok(Vec::new()) };
    let filter = events::Filter {
        cluster: Some(cluster),
        start_ms: incident.active_since_ms - LOOK_BACK_MS,
        // Some are seen a little late.
        end_ms: incident.active_since_ms + LOOK_BACK_MS,
        ..events::Filter::default()
    };
    events::query(store, &filter).await.map_err(|error| Stop::Failed(error.into()))
}

async fn metrics(store: &Store, incident: &Incident) -> Result<Option<Around>, Stop> {
    let Some(cluster) = cluster_of(incident) else { return Ok(None) };
    let instance = incident.labels.get("instance");
    let options = EvalOptions::default();
    let around =
        survey::around(store, options, &cluster, instance, incident.active_since_ms, METRICS_SHOWN).await;
    around.map(Some).map_err(|error| Stop::Failed(error.into()))
}

fn cluster_of(incident: &Incident) -> Option<ClusterName> {
    incident.cluster()?.parse().ok()
}

fn print(incident: &Incident, found: &Background, around: Option<&Around>, now_ms: i64) {
    let since = human_span(now_ms.saturating_sub(incident.active_since_ms));
    let head = cells(incident, String::new());
    output::line(head.iter().take(6).filter(|cell| *cell != "-").cloned().collect::<Vec<_>>().join("  "));
    output::line(incident.summary());
    if let Some(description) = incident.annotations.get("description") {
        output::line(description);
    }
    let times =
        if incident.episode > 1 { format!("; fired {} times", incident.episode) } else { String::new() };
    output::line(format_args!("{} (began {since} ago{times})", incident.status()));
    output::line(format_args!("value {}", three_digits(incident.value)));
    if let Some(runbook) = incident.annotations.get("runbook_url") {
        output::line(format_args!("runbook {runbook}"));
    }
    output::line("");
    output::line(cause(incident, found));
    if !found.before.is_empty() {
        output::line("");
        output::line("In the 15 minutes before, the most suspected first:");
        let row = |c: &crate::correlate::Candidate| {
            let id = c.id.chars().take(8).collect();
            let why = c.reason.words().to_owned();
            vec![
                rfc3339(c.ts_ms),
                why,
                c.severity.to_string(),
                c.kind.clone(),
                c.subject.clone(),
                id,
                c.text.clone(),
            ]
        };
        output::table(&COLUMNS, found.before.iter().map(row).collect());
    }
    if let Some(around) = around {
        output::line("");
        super::super::events::moved(around).into_iter().for_each(output::line);
    }
}

fn cause(incident: &Incident, found: &Background) -> String {
    match (&found.probable_cause, found.before.is_empty()) {
        (Some(cause), _) => {
            format!("Probable cause: {} ({} {})", cause.sentence(incident), cause.kind, cause.reason.words())
        }
        (None, true) => "Nothing else happened to the cluster in the 15 minutes before.".to_owned(),
        (None, false) => {
            "Probable cause: none is known; what happened before is no known cause of it.".to_owned()
        }
    }
}
