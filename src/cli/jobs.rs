//! `jobs`: what runs when, and how it went last time.

use clap::Args;
use serde::Serialize;

use super::{Global, Stop, open_to_read, output};
use crate::config::Overrides;
use crate::model::JobRun;
use crate::model::unit::{human_span, rfc3339};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{Host, JobSpec, When};
use crate::store::ledger;

/// How far back the last run is looked for.
const LOOK_BACK_MS: i64 = 7 * 86_400_000;

#[derive(Debug, Args)]
pub struct Jobs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    /// A cron expression (UTC), or `continuous`.
    schedule: String,
    enabled: bool,
    hosts: Vec<&'static str>,
    next: Option<String>,
    last: Option<JobRun>,
}

impl Jobs {
    pub async fn execute(self, global: &Global) -> Result<std::process::ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let store = open_to_read(&config).await?;
        let now_ms = Clock::System.now_ms();
        let runs = ledger::latest(&store, now_ms - LOOK_BACK_MS).await.map_err(anyhow::Error::from)?;
        let mut rows = Vec::new();
        for spec in crate::jobs::ALL {
            rows.push(row(spec, &config, now_ms, &runs).map_err(anyhow::Error::from)?);
        }
        if self.json {
            output::json(&rows)?;
        } else {
            print(&rows, now_ms);
        }
        Ok(Exit::Ok.into())
    }
}

fn row(
    spec: &JobSpec,
    config: &crate::config::Config,
    now_ms: i64,
    runs: &[JobRun],
) -> Result<Row, crate::model::ScheduleError> {
    let enabled = config.jobs.is_enabled(spec.name);
    let (schedule, next_ms) = match spec.when {
        When::Continuous => ("continuous".to_owned(), None),
        When::Cron(default) => {
            let schedule = config.jobs.schedule_of(spec.name, default)?;
            (schedule.as_str().to_owned(), schedule.next_after(now_ms).filter(|_| enabled))
        }
    };
    Ok(Row {
        name: spec.name,
        about: spec.about,
        schedule,
        enabled,
        hosts: spec.hosts.iter().copied().map(Host::as_str).collect(),
        next: next_ms.map(rfc3339),
        last: runs.iter().filter(|run| run.job == spec.name).max_by_key(|run| run.started_ms).cloned(),
    })
}

fn print(rows: &[Row], now_ms: i64) {
    let cells = rows.iter().map(|row| {
        let last = row.last.as_ref().map_or_else(
            || "never".to_owned(),
            |run| format!("{} {} ago", run.outcome.as_str(), human_span(now_ms - run.ended_ms)),
        );
        let schedule = if row.enabled { row.schedule.clone() } else { format!("{} (off)", row.schedule) };
        vec![row.name.to_owned(), schedule, row.hosts.join(","), last, row.about.to_owned()]
    });
    output::table(&["job", "schedule (UTC)", "hosts", "last run", "does"], cells.collect());
}
