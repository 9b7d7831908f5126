//! One benchmark, from the command line to its report.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use super::{Output, Target};
use crate::bench::text::{self, Style};
use crate::bench::{BenchError, Dial, Driving, Operation, Order, Stage};
use crate::cli::progress::{Amount, Progress};
use crate::cli::{Global, Stop, open_store, output};
use crate::model::{BenchOutcome, BenchRun, chain};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{benches, signal};

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
        let dial = Arc::new(Dial::default());
        let watched = tokio::spawn(signal::shutdown_signal(dial.stop.clone()));
        let shown = Arc::clone(&dial);
        let progress = Progress::new(global, self.output.json)
            .amount(&format!("bench {}", order.operation.name()), move || far(&shown));
        let made = benches::make(&config, &cluster, &order, None, &Clock::System, dial).await;
        drop(progress);
        watched.abort();
        let run = made.map_err(|error| match error {
            error @ BenchError::Option { .. } => Stop::Usage(error.to_string()),
            error => Stop::Failed(error.into()),
        })?;
        let mut exit = exit_of(&run);
        if !self.output.no_store
            && let Err(error) = store(&config, &run).await
        {
            output::error(format_args!("the result cannot be stored: {}", chain(error.as_ref())));
            exit = Exit::Partial;
        }
        told(&run, &self.output)?;
        Ok(exit.into())
    }
}

async fn store(config: &crate::config::Config, run: &BenchRun) -> anyhow::Result<()> {
    let store = open_store(config).await?;
    benches::keep(&store, run, &Clock::System).await
}

/// Prints a run as the command line asks.
pub(super) fn told(run: &BenchRun, wanted: &Output) -> Result<(), Stop> {
    if let Some(path) = &wanted.csv {
        let written = std::fs::write(path, text::csv(run));
        written.with_context(|| format!("{} cannot be written", path.display()))?;
    }
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
