//! `bench check-perf` and `bench check-datascale`: etcdctl's loads and verdicts, without etcdctl's leftovers.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::load::far;
use super::{Output, Target};
use crate::bench::options::{Driving, Operation, Order, Put};
use crate::bench::{Dial, etcdctl};
use crate::cli::progress::Progress;
use crate::cli::{Global, Stop, output};
use crate::config::{ClusterSetup, Config};
use crate::model::BenchRun;
use crate::model::unit::ConfigDuration;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{benches, signal};

/// As etcdctl takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Load {
    #[value(name = "s", alias = "small")]
    Small,
    #[value(name = "m", alias = "medium")]
    Medium,
    #[value(name = "l", alias = "large")]
    Large,
    #[value(name = "xl", aliases = ["xLarge", "xlarge"])]
    ExtraLarge,
}

impl Load {
    fn of(self) -> etcdctl::Load {
        match self {
            Self::Small => etcdctl::Load::SMALL,
            Self::Medium => etcdctl::Load::MEDIUM,
            Self::Large => etcdctl::Load::LARGE,
            Self::ExtraLarge => etcdctl::Load::EXTRA_LARGE,
        }
    }
}

#[derive(Debug, Args)]
pub struct CheckPerf {
    /// How much load
    #[arg(long, value_enum, default_value_t = Load::Small)]
    load: Load,
    /// Accepted as in etcdctl; keys are below our own prefix
    #[arg(long, hide = true, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Let etcd forget the revisions afterwards, those of others, too
    #[arg(long)]
    auto_compact: bool,
    /// Defragment the asked members afterwards, one after the other; each serves nobody meanwhile
    #[arg(long)]
    auto_defrag: bool,
}

#[derive(Debug, Args)]
pub struct CheckDatascale {
    /// How many keys
    #[arg(long, value_enum, default_value_t = Load::Small)]
    load: Load,
    /// Accepted as in etcdctl; keys are below our own prefix
    #[arg(long, hide = true, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Let etcd forget the revisions afterwards, those of others, too
    #[arg(long)]
    auto_compact: bool,
    /// Defragment the asked members afterwards, one after the other; each serves nobody meanwhile
    #[arg(long)]
    auto_defrag: bool,
}

impl CheckPerf {
    pub async fn execute(
        self,
        global: &Global,
        target: &Target,
        driving: &Driving,
        wanted: &Output,
    ) -> Result<ExitCode, Stop> {
        let (config, cluster) = target.resolve(global).await?;
        let load = self.load.of();
        // etcdctl's minute, unless another time is asked for.
        let duration = driving.duration.unwrap_or(ConfigDuration(Duration::from_secs(60)));
        let operation = Operation::Put(Put {
            key_size: etcdctl::PERF_KEY_SIZE,
            val_size: etcdctl::VALUE_SIZE,
            rate: load.rate,
            key_space_size: 1 << 40,
            ..Put::default()
        });
        let driving = Driving {
            clients: load.clients,
            conns: load.clients.min(10),
            duration: Some(duration),
            compact: self.auto_compact,
            ..driving.clone()
        };
        let run = sent(global, &config, &cluster, Order { operation, driving }, wanted).await?;
        verdict(etcdctl::perf(&run, load), &run, &cluster, self.auto_defrag, wanted).await
    }
}

impl CheckDatascale {
    pub async fn execute(self, global: &Global, target: &Target, wanted: &Output) -> Result<ExitCode, Stop> {
        let (config, cluster) = target.resolve(global).await?;
        let load = self.load.of();
        let operation = Operation::Put(Put {
            key_size: etcdctl::SCALE_KEY_SIZE,
            val_size: etcdctl::VALUE_SIZE,
            total: load.keys,
            key_space_size: load.keys,
            sequential_keys: true,
            ..Put::default()
        });
        let driving = Driving {
            clients: load.clients,
            conns: load.clients.min(10),
            compact: self.auto_compact,
            // As long as it takes: etcdctl has no limit, either.
            max_time: ConfigDuration(Duration::from_secs(3_600)),
            ..Driving::default()
        };
        if !wanted.json {
            output::line(format_args!(
                "Start data scale check for work load [{} key-value pairs, {} bytes per key-value, {} concurrent clients].",
                load.keys,
                etcdctl::VALUE_SIZE,
                load.clients
            ));
        }
        let run = sent(global, &config, &cluster, Order { operation, driving }, wanted).await?;
        verdict(etcdctl::datascale(&run), &run, &cluster, self.auto_defrag, wanted).await
    }
}

async fn sent(
    global: &Global,
    config: &Config,
    cluster: &ClusterSetup,
    order: Order,
    wanted: &Output,
) -> Result<BenchRun, Stop> {
    let dial = Arc::new(Dial::default());
    let watched = tokio::spawn(signal::shutdown_signal(dial.stop.clone()));
    let shown = Arc::clone(&dial);
    let progress = Progress::new(global, wanted.json).amount("check", move || far(&shown));
    let made = benches::make(config, cluster, &order, None, &Clock::System, dial).await;
    drop(progress);
    watched.abort();
    made.map_err(|error| Stop::Failed(error.into()))
}

async fn verdict(
    lines: Vec<etcdctl::Line>,
    run: &BenchRun,
    cluster: &ClusterSetup,
    defrags: bool,
    wanted: &Output,
) -> Result<ExitCode, Stop> {
    let passed = lines.iter().all(|line| line.passed);
    if wanted.json {
        output::json(&json!({ "passed": passed, "lines": lines, "run": run }))?;
    } else {
        for line in &lines {
            output::line(format_args!("{}: {}", if line.passed { "PASS" } else { "FAIL" }, line.text));
        }
        for note in &run.notes {
            output::line(format_args!("note: {note}"));
        }
        output::line(if passed { "PASS" } else { "FAIL" });
    }
    if let Some(problem) = &run.clean_up.problem {
        output::error(format_args!("not cleaned up: {problem}; see: etcd-monitor bench clean"));
    }
    if defrags {
        for (endpoint, took) in
            benches::defragment(cluster).await.map_err(|error| Stop::Failed(error.into()))?
        {
            output::note(format_args!("defragmented {endpoint} in {:.1} s", took.as_secs_f64()));
        }
    }
    Ok(if passed { Exit::Ok } else { Exit::Failed }.into())
}
