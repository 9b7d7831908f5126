//! One benchmark, from the command line to its report.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use super::{Output, Target};
use crate::bench::baseline::{self, Met};
use crate::bench::regression::{Judged, sentence};
use crate::bench::text::{self, Style};
use crate::bench::{BenchError, Dial, Driving, Operation, Order, Stage};
use crate::cli::progress::{Amount, Progress};
use crate::cli::{Global, Stop, open_store, output};
use crate::config::{ClusterSetup, Config};
use crate::model::unit::{human_bytes, human_seconds, three_digits};
use crate::model::{BenchOutcome, BenchRun, chain};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{benches, signal};
use crate::store::Store;

pub struct Request {
    pub target: Target,
    pub driving: Driving,
    pub output: Output,
    pub operation: Operation,
}

impl Request {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (config, cluster) = self.target.resolve(global).await?;
        let order = Order { operation: self.operation, driving: self.driving };
        order.check().map_err(|error| Stop::Usage(error.to_string()))?;
        let store = if self.output.no_store { None } else { Some(open_store(&config).await?) };
        let dial = Arc::new(Dial::default());
        let watched = tokio::spawn(signal::shutdown_signal(dial.stop.clone()));
        let one = One { config: &config, cluster: &cluster, profile: None, store: store.as_ref() };
        let (run, exit) = one.execute(global, &order, dial, &self.output).await?;
        watched.abort();
        if self.output.json {
            output::json(&run)?;
        }
        Ok(exit.into())
    }
}

/// One benchmark of one cluster.
pub(super) struct One<'a> {
    pub config: &'a Config,
    pub cluster: &'a ClusterSetup,
    pub profile: Option<&'a str>,
    /// Where the result goes; nowhere when absent.
    pub store: Option<&'a Store>,
}

impl One<'_> {
    /// Runs `order`, keeps the result, and prints it unless JSON is wanted.
    pub async fn execute(
        &self,
        global: &Global,
        order: &Order,
        dial: Arc<Dial>,
        wanted: &Output,
    ) -> Result<(BenchRun, Exit), Stop> {
        let shown = Arc::clone(&dial);
        let progress = Progress::new(global, wanted.json)
            .amount(&format!("bench {}", order.operation.name()), move || far(&shown));
        let made = benches::make(self.config, self.cluster, order, self.profile, &Clock::System, dial).await;
        drop(progress);
        let run = made.map_err(|error| match error {
            error @ BenchError::Option { .. } => Stop::Usage(error.to_string()),
            error => Stop::Failed(error.into()),
        })?;
        let mut exit = exit_of(&run);
        let mut judged_run = None;
        if let Some(store) = self.store {
            match keep(store, &run).await {
                Ok(judged) => judged_run = judged,
                Err(error) => {
                    output::error(format_args!("the result cannot be stored: {}", chain(error.as_ref())));
                    exit = Exit::Partial;
                }
            }
        }
        written(&run, wanted)?;
        if !wanted.json {
            told(&run, wanted)?;
            let alone = || Judged { rows: run.rows(), comparisons: Vec::new() };
            judged(&run, &judged_run.unwrap_or_else(alone));
        }
        Ok((run, exit))
    }
}

/// Keeps a run, and judges it by those before it.
async fn keep(store: &Store, run: &BenchRun) -> anyhow::Result<Option<Judged>> {
    benches::keep(store, run, &Clock::System).await?;
    let history = benches::judged(store, Clock::System.now_ms()).await?;
    Ok(history.into_iter().find(|judged| judged.id() == run.id))
}

/// Says what a run means: beside what is demanded, and beside the runs before it.
pub(super) fn judged(run: &BenchRun, judged: &Judged) {
    let met: Vec<Met> = judged.rows.first().map(baseline::verdicts).unwrap_or_default();
    if !met.is_empty() {
        let memory =
            run.client.memory_bytes.map_or(String::new(), |bytes| format!(", {}", human_bytes(bytes as f64)));
        output::line(format_args!(
            "\nDemanded ({}; load from {} CPU(s){memory}):",
            baseline::SOURCE,
            run.client.cpus
        ));
        for met in met {
            let value = |value: f64| match met.what {
                "rate" => format!("{}/s", three_digits(value)),
                _ => human_seconds(value),
            };
            let word = if met.is_met { "met" } else { "MISSED" };
            output::line(format_args!(
                "  {}:\t{} of {}: {word}",
                met.what,
                value(met.measured),
                value(met.demanded)
            ));
        }
    }
    if !judged.comparisons.is_empty() {
        output::line("\nBeside earlier runs:");
        for comparison in &judged.comparisons {
            output::line(format_args!("  {}", sentence(comparison)));
        }
    }
}

/// Writes the files that the command line asks for.
pub(super) fn written(run: &BenchRun, wanted: &Output) -> Result<(), Stop> {
    let write = |path: &std::path::Path, bytes: Vec<u8>| {
        std::fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
    };
    if let Some(path) = &wanted.csv {
        write(path, text::csv(run).into_bytes())?;
    }
    if let Some(path) = &wanted.html {
        write(path, crate::report::bench_page(run).map_err(anyhow::Error::from)?)?;
    }
    Ok(())
}

/// Prints a run as the command line asks.
pub(super) fn told(run: &BenchRun, wanted: &Output) -> Result<(), Stop> {
    if wanted.json {
        output::json(run)?;
    } else {
        let style = Style { precise: wanted.precise, sample: wanted.sample };
        output::line(text::report(run, style).trim_end());
    }
    Ok(())
}

/// Failed when nothing came of it, partial when less than was asked for.
fn exit_of(run: &BenchRun) -> Exit {
    let answered = run.parts.iter().any(|part| part.ok > 0);
    let failed = run.parts.iter().any(|part| part.failed > 0);
    match run.outcome {
        _ if !answered => Exit::Failed,
        BenchOutcome::Stopped | BenchOutcome::Interrupted => Exit::Failed,
        _ if failed || run.clean_up.problem.is_some() => Exit::Partial,
        BenchOutcome::Complete | BenchOutcome::Truncated => Exit::Ok,
    }
}

/// How far a run is.
pub(super) fn far(dial: &Dial) -> Amount {
    match dial.stage() {
        Stage::Looking => Amount { done: 0, of: 0, what: "looking at the cluster" },
        Stage::Filling { done, of } => Amount { done, of, what: "keys put to be read" },
        Stage::Sending { since, total, limit } => {
            let done = dial.ok.load(Ordering::Relaxed) + dial.failed.load(Ordering::Relaxed);
            match total {
                Some(of) => Amount { done, of, what: "requests" },
                // Without a total the time is what there is to go through.
                None => Amount {
                    done: since.elapsed().as_secs().min(limit.as_secs()),
                    of: limit.as_secs(),
                    what: "seconds",
                },
            }
        }
    }
}
