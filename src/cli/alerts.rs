//! `alerts`: active and past incidents, with who took them on and what silences them.

mod show;

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::tags::Tags;
use super::{Global, Stop, help, open_with_found, output};
use crate::alert::{Silence, SilenceSource as _, Silences};
use crate::config::Overrides;
use crate::deliver::read_silences;
use crate::model::unit::{ConfigDuration, human_span, parse_duration, rfc3339};
use crate::model::{ClusterName, Incident, IncidentState, Severity, csv_cell};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::key::Prefix;
use crate::store::{Store, sequence};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Alerts {
    #[command(subcommand)]
    one: Option<One>,
    /// Also those that are over: of each alert and series the last time it fired
    #[arg(long)]
    history: bool,
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    #[command(flatten)]
    tags: Tags,
    /// Only those that changed in this time, such as 24h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<ConfigDuration>,
    /// Only those at least this bad
    #[arg(long, value_enum, value_name = "SEVERITY")]
    severity: Option<Least>,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values
    #[arg(long)]
    csv: bool,
}

#[derive(Debug, Subcommand)]
enum One {
    /// Show one incident whole: its probable cause, what happened in the 15 minutes before, which metrics moved
    #[command(after_help = help::ALERTS_SHOW)]
    Show(show::Show),
}

/// The severities from which on incidents are listed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Least {
    Info,
    Warning,
    Critical,
}

impl Least {
    pub(super) fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Critical => Severity::Critical,
        }
    }
}

fn duration(text: &str) -> Result<ConfigDuration, String> {
    parse_duration(text).map(ConfigDuration).map_err(|error| error.to_string())
}

const COLUMNS: [&str; 9] =
    ["id", "severity", "state", "alert", "cluster", "instance", "since", "acked by", "silenced by"];

impl Alerts {
    pub async fn execute(mut self, global: &Global) -> Result<ExitCode, Stop> {
        if let Some(One::Show(show)) = self.one.take() {
            return show.execute(global).await;
        }
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let now_ms = Clock::System.now_ms();
        let tagged = self.tags.clusters(&config, &store, now_ms).await?;
        let mut incidents = read(&store, config.silences.silences(now_ms), now_ms).await?;
        incidents.retain(|incident| {
            let of_tagged = |names: &BTreeSet<ClusterName>| {
                incident.cluster().is_some_and(|cluster| names.iter().any(|name| name.as_str() == cluster))
            };
            self.wants(incident, now_ms) && tagged.as_ref().is_none_or(of_tagged)
        });
        incidents.sort_by(|a, b| {
            let order = |i: &Incident| (!i.state.is_active(), std::cmp::Reverse(i.severity), -i.changed_ms);
            order(a).cmp(&order(b)).then_with(|| a.fingerprint.cmp(&b.fingerprint))
        });
        if self.json {
            output::json(&incidents.iter().map(to_json).collect::<Vec<_>>())?;
        } else if self.csv {
            output::line(COLUMNS.map(|name| name.replace(' ', "_")).join(","));
            for incident in &incidents {
                let row = cells(incident, rfc3339(incident.active_since_ms));
                output::line(row.iter().map(|cell| csv_cell(cell)).collect::<Vec<_>>().join(","));
            }
        } else if incidents.is_empty() {
            output::note(if self.history { "no incident" } else { "no active incident" });
        } else {
            let since = |incident: &Incident| {
                format!("{} ago", human_span(now_ms.saturating_sub(incident.active_since_ms)))
            };
            output::table(&COLUMNS, incidents.iter().map(|i| cells(i, since(i))).collect());
        }
        Ok(Exit::Ok.into())
    }

    fn wants(&self, incident: &Incident, now_ms: i64) -> bool {
        let reach_ms = self.since.map(|since| i64::try_from(since.0.as_millis()).unwrap_or(i64::MAX));
        (self.history || incident.state.is_active())
            && self.cluster.as_ref().is_none_or(|name| incident.cluster() == Some(name.as_str()))
            && reach_ms.is_none_or(|reach_ms| now_ms.saturating_sub(incident.changed_ms) <= reach_ms)
            && self.severity.is_none_or(|least| incident.severity >= least.severity())
    }
}

/// The newest state of every incident, with the silences of now.
async fn read(store: &Store, standing: Vec<Silence>, now_ms: i64) -> Result<Vec<Incident>, Stop> {
    let stored = read_silences(store).await.map_err(anyhow::Error::from)?;
    let silences = Silences::new(stored.into_iter().chain(standing));
    let newest = sequence::all_latest::<Incident>(store, &Prefix::incidents()).await;
    let newest = newest.map_err(anyhow::Error::from)?;
    let mark = |incident: Incident| {
        let by = silences.silencer(&incident.labels, now_ms).filter(|_| incident.state.is_active());
        Incident { silenced_by: by.map(|silence| silence.id.clone()), ..incident }
    };
    Ok(newest.into_iter().map(|(_, _, incident)| mark(incident)).collect())
}

/// The one active incident whose fingerprint begins with `id`.
pub(super) async fn active(store: &Store, id: &str) -> Result<Incident, Stop> {
    let newest = sequence::all_latest::<Incident>(store, &Prefix::incidents()).await;
    let newest = newest.map_err(anyhow::Error::from)?.into_iter().map(|(_, _, incident)| incident);
    let fits = |i: &Incident| i.state.is_active() && !id.is_empty() && i.fingerprint.starts_with(id);
    let mut fitting: Vec<Incident> = newest.filter(fits).collect();
    match (fitting.pop(), fitting.len()) {
        (Some(incident), 0) => Ok(incident),
        (Some(_), more) => Err(Stop::Usage(format!("{} active incidents begin with {id}", more + 1))),
        (None, _) => {
            Err(Stop::Usage(format!("no active incident begins with {id:?}; see: etcd-monitor alerts")))
        }
    }
}

fn acked_by(incident: &Incident) -> Option<&str> {
    let reason = incident.reason.as_deref().filter(|_| incident.state == IncidentState::Acked)?;
    Some(reason.strip_prefix("acknowledged by ").unwrap_or(reason))
}

fn cells(incident: &Incident, since: String) -> Vec<String> {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    vec![
        incident.short_id().to_owned(),
        incident.severity.to_string(),
        incident.state_word().to_owned(),
        incident.alert.clone(),
        or_dash(incident.cluster()),
        or_dash(incident.labels.get("instance")),
        since,
        or_dash(acked_by(incident)),
        or_dash(incident.silenced_by.as_deref()),
    ]
}

fn to_json(incident: &Incident) -> Value {
    let mut value = json!(incident);
    if let Some(object) = value.as_object_mut() {
        object.insert("id".to_owned(), json!(incident.short_id()));
        object.insert("acked_by".to_owned(), json!(acked_by(incident)));
        object.insert("silenced_by".to_owned(), json!(incident.silenced_by));
    }
    value
}
