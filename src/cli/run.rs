//! `run`: the daemon, or one job once.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::connection::Connect;
use super::progress::Progress;
use super::{Global, Stop, output};
use crate::config::{Config, Environment, Overrides, process_environment};
use crate::discover::data_dir::Places;
use crate::jobs;
use crate::model::{JobRun, Outcome};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{
    Executed, Host, JobSpec, Services, execute, reload, shutdown_signal, site_server, telemetry,
};

#[derive(Debug, Args)]
pub struct Run {
    /// A job to run once; without one, the daemon runs them all on their schedules (see `etcd-monitor jobs`)
    job: Option<String>,
    /// Serve the report site here as well, e.g. 127.0.0.1:8600. It has no login of its own
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "job")]
    serve: Option<SocketAddr>,
    /// Print the job's run as JSON
    #[arg(long, requires = "job")]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Run {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let spec = self.job.as_deref().map(find).transpose()?;
        let cluster = self.connect.cluster(global.config.is_some())?;
        let config = global.load(Overrides { cluster, ..Overrides::default() })?;
        let progress = Progress::new(global, self.json || spec.is_none());
        telemetry::start(&config.log, progress.stderr(), output::colours_on_stderr());
        let here = config.machine_warnings(&Places::default());
        for warning in config.warnings.iter().chain(&here) {
            tracing::warn!("{warning}");
        }
        let shutdown = CancellationToken::new();
        tokio::spawn(shutdown_signal(shutdown.clone()));
        let environment = process_environment();
        match spec {
            Some(spec) => {
                let services = Services::start(config, &environment, Clock::System, Host::Cli, shutdown);
                let services = Arc::new(services.await?);
                let run = once(spec, &services, progress).await?;
                self.print(&run)
            }
            None => self.daemon(config, environment, global, shutdown).await,
        }
    }

    fn print(&self, run: &JobRun) -> Result<ExitCode, Stop> {
        if self.json {
            output::json(run)?;
        } else {
            output::line(format_args!("{}: {}", run.job, run.summary));
            run.errors.iter().for_each(output::error);
        }
        Ok(exit(run).into())
    }

    async fn daemon(
        &self,
        config: Config,
        environment: Environment,
        global: &Global,
        shutdown: CancellationToken,
    ) -> Result<ExitCode, Stop> {
        let (global, connect) = (global.clone(), self.connect.clone());
        let load = move || {
            let cluster = connect.cluster(global.config.is_some()).ok().flatten();
            global.read(Overrides { cluster, ..Overrides::default() })
        };
        let daemon = reload::Daemon {
            jobs: jobs::ALL,
            environment,
            clock: Clock::System,
            shutdown: shutdown.clone(),
            load: Box::new(load),
        };
        let services = daemon.services(config).await?;
        if services.config.jobs.is_enabled("watch") {
            services.check_store().await?;
        }
        say_hello(&services.config);
        if let Some(address) = self.serve {
            let desk = services.ack_desk().await?;
            let (store, clock) = (services.store.clone(), services.clock.clone());
            let server = site_server::bind(store, desk, clock, address).await?;
            output::note(format_args!("report: http://{}/index.html", server.address()));
            // The same server for every configuration: its port stays open.
            tokio::spawn(server.serve(shutdown));
        }
        daemon.run(services).await.context("the daemon stopped")?;
        Ok(Exit::Ok.into())
    }
}

async fn once(spec: &JobSpec, services: &Arc<Services>, progress: Progress) -> Result<JobRun, Stop> {
    let _progress = progress.watch(spec.name, &services.store);
    // A manual run is for the instant it starts at.
    match execute(spec, services, services.clock.now_ms()).await? {
        Executed::Ran(run) | Executed::AlreadyDone(run) => Ok(run),
        Executed::RunningElsewhere { .. } => {
            Err(Stop::Failed(anyhow::anyhow!("{} is running on another host", spec.name)))
        }
    }
}

fn find(name: &str) -> Result<&'static JobSpec, Stop> {
    let found = jobs::ALL.iter().copied().find(|spec| spec.name == name);
    let Some(spec) = found else {
        let known: Vec<&str> = jobs::ALL.iter().map(|spec| spec.name).collect();
        return Err(Stop::Usage(format!("there is no job {name:?}; there are {}", known.join(", "))));
    };
    if !spec.hosts.contains(&Host::Cli) {
        return Err(Stop::Usage(format!(
            "{name} does not end by itself: start the daemon with `etcd-monitor run`"
        )));
    }
    Ok(spec)
}

fn say_hello(config: &Config) {
    let mut names: Vec<String> =
        config.clusters.iter().map(|cluster| cluster.config.name.to_string()).collect();
    let sources = config.sources.iter().map(|source| format!("what {} names", source.config().name));
    names.extend(sources);
    output::note(format_args!(
        "watching {} ({} alert rules, {} channels), keeping everything in {}",
        names.join(", "),
        config.rules_total(),
        config.channels.len(),
        config.store.url
    ));
}

/// The exit code of a job's run.
fn exit(run: &JobRun) -> Exit {
    match run.outcome {
        Outcome::Done => Exit::Ok,
        Outcome::Partial => Exit::Partial,
        Outcome::Failed | Outcome::TimedOut => Exit::Failed,
        Outcome::Panicked => Exit::Bug,
    }
}
