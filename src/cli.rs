//! The command line: one file per subcommand. Only this module prints.

mod ack;
mod advise;
mod alert;
mod alerts;
mod backup;
mod bench;
mod capacity;
mod check;
mod compare;
mod completions;
mod config;
mod connection;
mod discover;
mod disk;
mod events;
mod fleet;
mod help;
mod inspect;
mod jobs;
mod man;
mod output;
mod preflight;
mod progress;
mod query;
mod report;
mod rules;
mod run;
mod serve;
mod silence;
mod slo;
mod status;
mod store;
mod tags;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use object_store::memory::InMemory;

use crate::config::{Config, ConfigErrors, Overrides};
use crate::deliver::Person;
use crate::run::exit_code::Exit;
use crate::store::Store;

/// Watch etcd clusters: history, alerts and a static report, without a server or a database.
#[derive(Debug, Parser)]
#[command(name = "etcd-monitor", version, max_term_width = 100, after_help = help::PROGRAM)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options every subcommand takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration file (TOML). Without one, the defaults and the command line are all there is
    #[arg(long, short, global = true, env = "ETCD_MONITOR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything is kept: a folder, or s3://bucket/prefix, gs://…, az://… [default: ./etcd-monitor-data]
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// What to log: error, warn, info, debug, trace, or tracing directives
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Say nothing but results and errors: no progress on the terminal
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon (no argument), or one job once
    #[command(after_help = help::RUN)]
    Run(run::Run),
    /// List the jobs with their schedules and last runs
    #[command(after_help = help::JOBS)]
    Jobs(jobs::Jobs),
    /// Read the cluster once and answer as a Nagios plugin: one line and an exit code
    #[command(after_help = help::CHECK)]
    Check(check::Check),
    /// Say when databases, disks and file descriptors will be full
    #[command(after_help = help::CAPACITY)]
    Capacity(capacity::Capacity),
    /// Say what to change in each cluster, by which evidence, and how well the clusters are
    #[command(after_help = help::ADVISE)]
    Advise(Box<advise::Advise>),
    /// Look at certificates, compare what the members say of each other, and with --hash what they store
    #[command(after_help = help::INSPECT)]
    Inspect(inspect::Inspect),
    /// Make backups, list them, verify them
    #[command(subcommand, after_help = help::BACKUP)]
    Backup(backup::BackupCommand),
    /// Measure what a cluster can do, with load under a prefix of our own
    #[command(after_help = help::BENCH)]
    Bench(Box<bench::Bench>),
    /// Say whether this machine is fit for etcd, before there is one
    #[command(after_help = help::PREFLIGHT)]
    Preflight(Box<preflight::PreflightCommand>),
    /// Measure a disk as etcd needs it, and say what it is good for
    #[command(after_help = help::DISK_CHECK)]
    Disk(disk::Disk),
    /// Show all clusters in one table, who is unlike the others, and what they come to by tag
    #[command(after_help = help::FLEET)]
    Fleet(fleet::Fleet),
    /// Put clusters side by side, figure by figure, with ratios
    #[command(after_help = help::COMPARE)]
    Compare(compare::Compare),
    /// Ask the sources of clusters which there are, without watching them
    #[command(after_help = help::DISCOVER)]
    Discover(discover::Discover),
    /// Show clusters, members, active incidents and how old the data is
    #[command(after_help = help::STATUS)]
    Status(status::Status),
    /// List active incidents, or all that the store knows
    #[command(after_help = help::ALERTS)]
    Alerts(alerts::Alerts),
    /// Show what happened: leaders, members, alarms, versions, configurations, alerts
    #[command(after_help = help::EVENTS)]
    Events(events::Events),
    /// Take an incident on: it is not repeated any more
    #[command(after_help = help::ACK)]
    Ack(ack::Ack),
    /// Give an acknowledged incident back
    #[command(after_help = help::UNACK)]
    Unack(ack::Ack),
    /// Keep what fits some matchers from being told for a time
    #[command(subcommand, after_help = help::SILENCE)]
    Silence(silence::SilenceCommand),
    /// Keep one incident from being told for a time
    #[command(after_help = help::SNOOZE)]
    Snooze(silence::Snooze),
    /// Begin or end the maintenance of a cluster: nothing of it is told
    #[command(subcommand, after_help = help::MAINTENANCE)]
    Maintenance(silence::MaintenanceCommand),
    /// Evaluate a PromQL expression over the stored samples
    #[command(after_help = help::QUERY)]
    Query(query::Query),
    /// Render the report site now
    #[command(after_help = help::REPORT)]
    Report(report::Report),
    /// Serve the report site on loopback
    #[command(after_help = help::SERVE)]
    Serve(serve::Serve),
    /// Look into the store, or verify every file of it
    #[command(subcommand, after_help = help::STORE)]
    Store(store::StoreCommand),
    /// Test the ways to people
    #[command(subcommand, after_help = help::ALERT)]
    Alert(alert::AlertCommand),
    /// Test, check or list alert rules
    #[command(subcommand, after_help = help::RULES)]
    Rules(rules::RulesCommand),
    /// Show objectives, levels reached and what is left of the error budgets
    #[command(after_help = help::SLO)]
    Slo(slo::Slo),
    /// Check the configuration
    #[command(subcommand, after_help = help::CONFIG)]
    Config(config::ConfigCommand),
    /// Print a completion script for your shell
    #[command(after_help = help::COMPLETIONS)]
    Completions(completions::Completions),
    /// Write the manual pages into a folder
    #[command(hide = true, after_help = help::MAN)]
    Man(man::Man),
}

/// Why a command stopped early.
#[derive(Debug)]
pub enum Stop {
    /// The configuration is wrong; every error is in it.
    Config(ConfigErrors),
    /// The command line is wrong.
    Usage(String),
    /// The work failed.
    Failed(anyhow::Error),
}

impl From<ConfigErrors> for Stop {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// The program: parses the command line, runs the subcommand, maps the outcome to an exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help and version to stdout with exit 0, errors to stderr with exit 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = std::panic::catch_unwind(|| start(cli));
    match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(stop)) => explain(&stop).into(),
        Err(_) => Exit::Bug.into(),
    }
}

/// Inside a Lambda function there is no command line: the job's name comes from the environment.
pub fn main_lambda() -> ExitCode {
    match std::panic::catch_unwind(|| {
        runtime()?.block_on(crate::run::lambda::serve(crate::jobs::ALL)).map_err(Stop::Failed)
    }) {
        Ok(Ok(())) => Exit::Ok.into(),
        Ok(Err(stop)) => explain(&stop).into(),
        Err(_) => Exit::Bug.into(),
    }
}

fn start(cli: Cli) -> Result<ExitCode, Stop> {
    let runtime = runtime()?;
    runtime.block_on(async move {
        let global = cli.global;
        match cli.command {
            Command::Run(run) => run.execute(&global).await,
            Command::Jobs(jobs) => jobs.execute(&global).await,
            Command::Check(check) => check.execute(&global).await,
            Command::Advise(advise) => advise.execute(&global).await,
            Command::Capacity(capacity) => capacity.execute(&global).await,
            Command::Inspect(inspect) => inspect.execute(&global).await,
            Command::Backup(backup) => backup.execute(&global).await,
            Command::Bench(bench) => bench.execute(&global).await,
            Command::Preflight(preflight) => preflight.execute(&global).await,
            Command::Disk(disk) => disk.execute(&global).await,
            Command::Fleet(fleet) => fleet.execute(&global).await,
            Command::Compare(compare) => compare.execute(&global).await,
            Command::Discover(discover) => discover.execute(&global).await,
            Command::Status(status) => status.execute(&global).await,
            Command::Alerts(alerts) => alerts.execute(&global).await,
            Command::Events(events) => events.execute(&global).await,
            Command::Ack(ack) => ack.execute(&global, Person::Acknowledges).await,
            Command::Unack(ack) => ack.execute(&global, Person::GivesBack).await,
            Command::Silence(silence) => silence.execute(&global).await,
            Command::Snooze(snooze) => snooze.execute(&global).await,
            Command::Maintenance(maintenance) => maintenance.execute(&global).await,
            Command::Query(query) => query.execute(&global).await,
            Command::Report(report) => report.execute(&global).await,
            Command::Serve(serve) => serve.execute(&global).await,
            Command::Store(store) => store.execute(&global).await,
            Command::Alert(alert) => alert.execute(&global).await,
            Command::Rules(rules) => rules.execute(&global).await,
            Command::Slo(slo) => slo.execute(&global).await,
            Command::Config(config) => config.execute(&global),
            Command::Completions(completions) => completions.execute(),
            Command::Man(man) => man.execute(),
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| Stop::Failed(anyhow::Error::new(error).context("the async runtime does not start")))
}

fn explain(stop: &Stop) -> Exit {
    match stop {
        Stop::Config(errors) => {
            output::error(errors);
            Exit::Usage
        }
        Stop::Usage(message) => {
            output::error(message);
            Exit::Usage
        }
        Stop::Failed(error) => {
            output::error(crate::model::chain(error.as_ref()));
            Exit::Failed
        }
    }
}

/// The store that the configuration names, to look into it. A folder that is not there is an empty store, and
/// looking does not make it.
async fn open_to_read(config: &Config) -> anyhow::Result<Store> {
    if config.store.folder().is_some_and(|folder| !folder.exists()) {
        return Ok(Store::over(std::sync::Arc::new(InMemory::new()), &config.store.url));
    }
    open_store(config).await
}

/// The configuration with the clusters that were found; the store is opened only where some may be.
async fn with_found(config: Config) -> anyhow::Result<Config> {
    if config.sources.is_empty() {
        return Ok(config);
    }
    Ok(open_with_found(config).await?.0)
}

/// The store, and the configuration with the clusters that were found, as the store has them.
async fn open_with_found(config: Config) -> anyhow::Result<(Config, Store)> {
    let store = open_to_read(&config).await?;
    Ok((crate::run::discovery::with_remembered(config, &store).await, store))
}

/// The store that the configuration names.
async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let environment = crate::config::process_environment();
    let lookup = |name: &str| environment.get(name).cloned();
    let opened = Store::open(&config.store, &lookup).await;
    opened.with_context(|| format!("the store {} cannot be opened", config.store.url))
}

impl Global {
    /// The configuration: file, environment, then what this command line says.
    fn load(&self, overrides: Overrides) -> Result<Config, Stop> {
        Ok(self.read(overrides)?)
    }

    fn read(&self, mut overrides: Overrides) -> Result<Config, ConfigErrors> {
        overrides.store_url.clone_from(&self.store);
        overrides.log.clone_from(&self.log);
        overrides.known_jobs = Some(crate::jobs::ALL.iter().map(|job| job.name).collect());
        Config::load(self.config.as_deref(), &crate::config::process_environment(), overrides)
    }
}
