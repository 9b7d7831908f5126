//! `disk check` and `disk clean`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::cli::connection::Connect;
use crate::cli::progress::{Amount, Progress};
use crate::cli::{Global, Stop, open_store, output};
use crate::config::{Config, Overrides};
use crate::disk::{self, Dial, DiskError, Order, Stage};
use crate::model::unit::{ByteSize, parse_duration};
use crate::model::{DiskRun, DiskVerdict, chain};
use crate::run::clock::Clock;
use crate::run::disks::{self, Known};
use crate::run::exit_code::Exit;
use crate::run::signal;

#[derive(Debug, Args)]
pub struct Check {
    /// Where etcd keeps its data, or shall [default: where the one etcd of this machine does]
    #[arg(long, short, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    /// Only the built-in probe, which needs no fio
    #[arg(long)]
    no_fio: bool,
    /// The size of each of fio's files, in place of the jobs' own (22m, 1g, 64m)
    #[arg(long, value_name = "SIZE", value_parser = fio_size)]
    size: Option<u64>,
    /// How many appends of 2300 bytes the probe makes
    #[arg(long, value_name = "N", default_value_t = disk::APPENDS, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    appends: u64,
    /// How long the device is watched before anything is measured; 0s not at all
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    look: Duration,
    /// Measure what a running etcd on this disk would feel, too
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Do not store the result
    #[arg(long)]
    no_store: bool,
    #[command(flatten)]
    connect: Connect,
}

/// The device is watched for a minute at most: the whole check takes two.
const LOOK_LONGEST: Duration = Duration::from_secs(10);

impl Check {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        if self.look > LOOK_LONGEST {
            return Err(Stop::Usage(
                "--look: 10s at most, so that a check ends within two minutes".to_owned(),
            ));
        }
        let cluster = self.connect.cluster(global.config.is_some())?;
        let config = global.load(Overrides { cluster, clusters_optional: true, ..Overrides::default() })?;
        let config = crate::cli::with_found(config).await?;
        let clock = Clock::System;
        let known = Known::ask(&config, &config.clusters, &clock).await;
        let order = self.order(&config, &known)?;
        let store = if self.no_store { None } else { Some(open_store(&config).await?) };
        let dial = Arc::new(Dial::default());
        let watched = tokio::spawn(signal::shutdown_signal(dial.stop.clone()));
        let taken = match &store {
            Some(store) => match disks::take_turns(store, &known, &order.directory, &clock).await? {
                Ok(taken) => taken,
                Err(turn) => {
                    let why =
                        format!("{} measures another disk of the cluster: one member at a time", turn.host);
                    return Err(Stop::Failed(anyhow::anyhow!(why)));
                }
            },
            None => Vec::new(),
        };
        let shown = Arc::clone(&dial);
        let progress = Progress::new(global, self.json).amount("disk check", move || far(&shown));
        let made = disks::make(&config, &known, &order, &clock, dial).await;
        drop(progress);
        watched.abort();
        if let Some(store) = &store {
            disks::give_back(store, taken, &clock).await?;
        }
        let run = made.map_err(|error| match error {
            error @ DiskError::NoDirectory(_) => Stop::Usage(error.to_string()),
            error => Stop::Failed(error.into()),
        })?;
        let mut exit = exit_of(&run);
        if let Some(store) = &store
            && let Err(error) = disks::keep(store, &run, &clock).await
        {
            output::error(format_args!("the result cannot be stored: {}", chain(error.as_ref())));
            exit = Exit::Partial;
        }
        if self.json {
            output::json(&run)?;
        } else {
            output::line(disk::text::report(&run).trim_end());
        }
        Ok(exit.into())
    }

    fn order(&self, config: &Config, known: &Known) -> Result<Order, Stop> {
        let (directory, named) = match &self.directory {
            Some(directory) => {
                let whole = std::fs::canonicalize(directory)
                    .with_context(|| format!("--directory {}", directory.display()))?;
                let named = whole.display().to_string();
                (whole, named)
            }
            None => match disks::folders(known).as_slice() {
                [one] => (one.seen.clone(), one.named.clone()),
                [] => return Err(Stop::Usage("no etcd runs here; give --directory".to_owned())),
                several => {
                    let names: Vec<&str> = several.iter().map(|folder| folder.named.as_str()).collect();
                    return Err(Stop::Usage(format!("which? Give --directory: {}", names.join(", "))));
                }
            },
        };
        Ok(Order {
            size: self.size,
            with_fio: !self.no_fio,
            yes: self.yes,
            look: self.look,
            probe: disk::ProbeOptions { appends: self.appends, ..disks::probe_options() },
            ..disks::scheduled(config, directory, named)
        })
    }
}

/// Zero is for a disk that is production ready alone.
pub(super) fn exit_of(run: &DiskRun) -> Exit {
    match run.verdict {
        DiskVerdict::ProductionReady => Exit::Ok,
        DiskVerdict::Warning | DiskVerdict::Unknown => Exit::Partial,
        DiskVerdict::Critical => Exit::Failed,
    }
}

/// As fio takes it, `1m`, or with a unit, `1MiB`.
pub(crate) fn fio_size(text: &str) -> Result<u64, String> {
    let units = [('k', 1_u64 << 10), ('m', 1 << 20), ('g', 1 << 30)];
    let short = units.iter().find_map(|(unit, factor)| {
        let number: u64 = text.to_ascii_lowercase().strip_suffix(*unit)?.parse().ok()?;
        number.checked_mul(*factor)
    });
    let size = match short {
        Some(size) => size,
        None => text.parse::<ByteSize>().map_err(|error| error.to_string())?.0,
    };
    if size < 1 << 16 { Err("64k at least".to_owned()) } else { Ok(size) }
}

/// How far a check is.
pub(crate) fn far(dial: &Dial) -> Amount {
    match dial.stage() {
        Stage::Looking => Amount { done: 0, of: 0, what: "looking at the device" },
        Stage::Probing { done, of } => Amount { done, of, what: "appends" },
        Stage::Fio(job) => Amount { done: 0, of: 0, what: job },
    }
}

#[derive(Debug, Args)]
pub struct Clean {
    /// Where a check was killed
    #[arg(long, short, value_name = "FOLDER")]
    directory: PathBuf,
}

impl Clean {
    pub fn execute(self) -> Result<ExitCode, Stop> {
        let removed = disk::clean(&self.directory).map_err(|error| Stop::Failed(error.into()))?;
        output::line(format_args!("{removed} left by killed checks, deleted"));
        Ok(Exit::Ok.into())
    }
}
