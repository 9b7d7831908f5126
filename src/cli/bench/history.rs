//! `bench history` and `bench headroom`: what the store knows of earlier runs.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Output, Target};
use crate::bench::regression::{Comparison, Judged, Verdict};
use crate::cli::{Global, Stop, open_with_found, output};
use crate::config::Overrides;
use crate::model::unit::{human_seconds, rfc3339, three_digits};
use crate::model::{BenchRow, csv_cell};
use crate::run::benches::{self, headroom};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct History {
    /// Only runs of this subcommand
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// The newest so many; 0 for all
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

impl History {
    pub async fn execute(self, global: &Global, target: &Target, wanted: &Output) -> Result<ExitCode, Stop> {
        let (_, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let mut runs = judged(&store, target).await?;
        runs.retain(|run| match (&self.operation, run.rows.first()) {
            (Some(wanted), Some(row)) => row.operation == *wanted,
            _ => true,
        });
        if self.limit > 0 {
            runs.drain(..runs.len().saturating_sub(self.limit));
        }
        if let Some(path) = &wanted.csv {
            std::fs::write(path, csv(&runs))
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        if wanted.json {
            output::json(&runs)?;
        } else if wanted.csv.is_none() {
            table(&runs);
        }
        Ok(Exit::Ok.into())
    }
}

/// All runs that the store has, of the named cluster if one is named.
pub(super) async fn judged(store: &Store, target: &Target) -> Result<Vec<Judged>, Stop> {
    let mut runs = benches::judged(store, Clock::System.now_ms()).await.map_err(anyhow::Error::from)?;
    if let Some(name) = target.named() {
        runs.retain(|run| run.rows.first().is_some_and(|row| row.cluster == *name));
    }
    Ok(runs)
}

fn table(runs: &[Judged]) {
    if runs.is_empty() {
        output::line(
            "the store has no benchmark; run one: etcd-monitor bench put, or: etcd-monitor bench run quick",
        );
        return;
    }
    let rows = runs.iter().flat_map(|run| run.rows.iter().map(|row| line(run, row)));
    let header = ["id", "cluster", "what", "rate", "p50", "p99", "fsync p99", "outcome", "verdict"];
    output::table(&header, rows.collect());
}

fn line(run: &Judged, row: &BenchRow) -> Vec<String> {
    let time = |seconds: Option<f64>| seconds.map_or("-".to_owned(), human_seconds);
    let command = row.command.trim_start_matches("etcd-monitor bench ");
    let command = command.split(" --seed").next().unwrap_or(command);
    let what =
        if row.part == row.operation { command.to_owned() } else { format!("{command}: {}", row.part) };
    let verdict = run.comparisons.iter().filter(|comparison| comparison.part == row.part);
    let verdict = verdict.max_by_key(|comparison| comparison.verdict).map_or("-".to_owned(), short);
    vec![
        row.id.clone(),
        row.cluster.to_string(),
        what,
        format!("{}/s", three_digits(row.rate)),
        time(row.p50),
        time(row.p99),
        time(row.fsync_p99),
        row.outcome.as_str().to_owned(),
        verdict,
    ]
}

/// A verdict in a cell.
fn short(comparison: &Comparison) -> String {
    let percent = comparison.change * 100.0;
    match comparison.verdict {
        Verdict::Unknown => "-".to_owned(),
        Verdict::Same => "same".to_owned(),
        verdict => format!("{} {percent:+.0} %: {}", comparison.measure.as_str(), verdict.as_str()),
    }
}

/// One line per part of a run.
fn csv(runs: &[Judged]) -> String {
    let mut out = "id,cluster,time,operation,part,outcome,version,paced,ok,failed,seconds,rate,average,p50,p90,p99,p999,\
                   slowest,uncorrected_p99,fsync_p99,commit_p99,leader_changes,verdict,command\n"
        .to_owned();
    for run in runs {
        for row in &run.rows {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let cells = [
                row.id.clone(),
                row.cluster.to_string(),
                rfc3339(row.ts_ms),
                row.operation.clone(),
                row.part.clone(),
                row.outcome.as_str().to_owned(),
                row.version.clone().unwrap_or_default(),
                row.is_paced.to_string(),
                row.ok.to_string(),
                row.failed.to_string(),
                row.seconds.to_string(),
                row.rate.to_string(),
                row.average.to_string(),
                number(row.p50),
                number(row.p90),
                number(row.p99),
                number(row.p999),
                row.slowest.to_string(),
                number(row.uncorrected_p99),
                number(row.fsync_p99),
                number(row.commit_p99),
                row.leader_changes.to_string(),
                run.verdict().as_str().to_owned(),
                row.command.clone(),
            ];
            let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
            let _ = writeln!(out, "{}", cells.join(","));
        }
    }
    out
}

#[derive(Debug, Args)]
pub struct Headroom {}

impl Headroom {
    pub async fn execute(self, global: &Global, target: &Target, wanted: &Output) -> Result<ExitCode, Stop> {
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let runs = judged(&store, target).await?;
        let used = headroom(&config, &store, &runs, Clock::System.now_ms()).await?;
        if wanted.json {
            output::json(&json!(used))?;
            return Ok(Exit::Ok.into());
        }
        if used.is_empty() {
            output::line("the store has no run at full speed; run one: etcd-monitor bench run standard");
            return Ok(Exit::Ok.into());
        }
        let rows = used.iter().map(|used| {
            let rate =
                |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{}/s", three_digits(rate)));
            let part = |rate: Option<f64>| {
                rate.map_or("-".to_owned(), |rate| format!("{:.1} %", rate / used.measured * 100.0))
            };
            vec![
                used.cluster.to_string(),
                used.operation.clone(),
                rate(Some(used.measured)),
                used.id.clone(),
                rate(used.now),
                part(used.now),
                rate(used.peak),
                part(used.peak),
            ]
        });
        let header = ["cluster", "what", "measured", "by", "now", "used", "peak of 7 d", "used at peak"];
        output::table(&header, rows.collect());
        for used in used.iter().filter(|used| used.days.len() > 1) {
            let days: Vec<String> =
                used.days.iter().map(|(_, part)| format!("{:.1}", part * 100.0)).collect();
            let (cluster, operation) = (&used.cluster, &used.operation);
            output::line(format_args!(
                "{cluster} {operation}: used at each day's peak, the oldest first: {} %",
                days.join(", ")
            ));
        }
        for query in used.iter().map(|used| used.query.as_str()).collect::<std::collections::BTreeSet<_>>() {
            output::note(format_args!("over time: etcd-monitor query {query:?}"));
        }
        Ok(Exit::Ok.into())
    }
}
