//! `bench baseline`: what is demanded, and from which run on others are compared.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::history::judged;
use super::show::find;
use super::{Output, Target};
use crate::bench::baseline::{DEMANDS, SOURCE};
use crate::cli::{Global, Stop, open_store, open_with_found, output};
use crate::config::Overrides;
use crate::model::unit::{human_seconds, three_digits};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::new_writer;
use crate::store::bench_runs;

#[derive(Debug, Subcommand)]
pub enum Baseline {
    /// Compare runs of a kind from this one on, and with nothing before it
    Set(Set),
    /// Show what is demanded, and which runs are baselines
    List(List),
}

#[derive(Debug, Args)]
pub struct Set {
    /// A run's id, the beginning of one, or `latest`
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
pub struct List {}

impl Baseline {
    pub async fn execute(self, global: &Global, target: &Target, wanted: &Output) -> Result<ExitCode, Stop> {
        match self {
            Self::Set(set) => set.execute(global, target).await,
            Self::List(list) => list.execute(global, target, wanted).await,
        }
    }
}

impl Set {
    async fn execute(self, global: &Global, target: &Target) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let store = open_store(&config).await?;
        let runs = judged(&store, target).await?;
        let run = find(&runs, &self.id)?;
        let Some(row) = run.rows.first() else { return Ok(Exit::Failed.into()) };
        let writer = new_writer(&Clock::System)?;
        let set = bench_runs::set_baseline(&store, &writer, row.cluster.as_str(), &row.signature, &row.id);
        set.await.map_err(anyhow::Error::from)?;
        output::line(format_args!(
            "{}: from {} on, runs of this kind are compared: {}",
            row.cluster, row.id, row.command
        ));
        Ok(Exit::Ok.into())
    }
}

impl List {
    async fn execute(self, global: &Global, target: &Target, wanted: &Output) -> Result<ExitCode, Stop> {
        let (_, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let runs = judged(&store, target).await?;
        let mut clusters: Vec<_> =
            runs.iter().filter_map(|run| run.rows.first()).map(|row| row.cluster.clone()).collect();
        clusters.sort();
        clusters.dedup();
        let mut set = Vec::new();
        for cluster in &clusters {
            let baselines =
                bench_runs::baselines(&store, cluster.as_str()).await.map_err(anyhow::Error::from)?;
            for (signature, id) in baselines.since {
                let run = runs.iter().find(|run| run.id() == id).and_then(|run| run.rows.first());
                set.push((cluster.clone(), id, run.map_or(signature, |row| row.command.clone())));
            }
        }
        if wanted.json {
            let set: Vec<_> = set
                .iter()
                .map(|(cluster, id, command)| json!({ "cluster": cluster, "since": id, "command": command }))
                .collect();
            output::json(&json!({ "source": SOURCE, "demands": DEMANDS, "set": set }))?;
            return Ok(Exit::Ok.into());
        }
        output::line(format_args!("Demanded ({SOURCE}):"));
        for demand in &DEMANDS {
            let mut demands = Vec::new();
            demands.extend(demand.rate.map(|rate| format!("{}/s at least", three_digits(rate))));
            demands.extend(demand.p99.map(|p99| format!("99 % within {}", human_seconds(p99))));
            demands.extend(
                demand.fsync_p99.map(|p99| format!("99 % of WAL fsyncs within {}", human_seconds(p99))),
            );
            output::line(format_args!("  {}: {}", demand.operation, demands.join(", ")));
        }
        for (cluster, id, command) in &set {
            output::line(format_args!("{cluster}: compared from {id} on: {command}"));
        }
        Ok(Exit::Ok.into())
    }
}
