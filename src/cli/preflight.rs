//! `preflight`: whether this machine is fit for a member of a cluster that is not there yet.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::disk::{far, fio_size};
use super::progress::Progress;
use super::{Global, Stop, output};
use crate::config::Overrides;
use crate::disk::{Dial, DiskError, Order};
use crate::model::{Check, Level, Preflight};
use crate::preflight::{self, Machine};
use crate::run::clock::Clock;
use crate::run::disks::{self, Known};
use crate::run::exit_code::Exit;
use crate::run::signal;

#[derive(Debug, Args)]
pub struct PreflightCommand {
    /// Where etcd shall keep its data
    #[arg(long, short, value_name = "FOLDER", default_value = "/var/lib/etcd")]
    directory: PathBuf,
    /// The other planned members, HOST or HOST:PORT [default port: 2380]
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    peers: Vec<String>,
    /// How often each of them is connected to
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    trips: u64,
    /// The ports that etcd shall listen on
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', default_value = "2379,2380")]
    ports: Vec<u16>,
    /// Only the built-in probe of the disk, which needs no fio
    #[arg(long)]
    no_fio: bool,
    /// Do not measure the disk
    #[arg(long, conflicts_with = "no_fio")]
    no_disk: bool,
    /// The size of each of fio's files, in place of the jobs' own (22m, 1g, 64m)
    #[arg(long, value_name = "SIZE", value_parser = fio_size)]
    size: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a page that can be sent as it is into this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl PreflightCommand {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let peers = self.peers.iter().map(|peer| with_port(peer)).collect::<Result<Vec<_>, _>>();
        let peers = peers.map_err(Stop::Usage)?;
        let started_ms = Clock::System.now_ms();
        let mut checks = preflight::host(&Machine::default(), &self.directory);
        checks.push(preflight::synchronised().await);
        checks.extend(preflight::ports(&self.ports).await);
        let trips = preflight::trips(&peers, self.trips).await;
        checks.extend(preflight::round_trips(&trips));
        if !peers.is_empty() {
            checks.push(preflight::cluster_size(peers.len() + 1));
        }
        // What is not there cannot be measured; its own check says so.
        let disk = if self.no_disk || !self.directory.is_dir() {
            None
        } else {
            self.disk(global, &mut checks).await?
        };
        checks.sort_by_key(|check| std::cmp::Reverse(check.level));
        let found = Preflight { host: disks::host(), started_ms, checks, disk, peers: trips };
        if let Some(path) = &self.html {
            let page = crate::report::preflight_page(&found).map_err(anyhow::Error::from)?;
            std::fs::write(path, page).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        if self.json {
            output::json(&found)?;
        } else {
            print(&found);
        }
        Ok(exit_of(&found).into())
    }

    /// Measures the disk, as `disk check` does; what hinders that is a check of its own.
    async fn disk(
        &self,
        global: &Global,
        checks: &mut Vec<Check>,
    ) -> Result<Option<crate::model::DiskRun>, Stop> {
        let config = global.load(Overrides::store_only())?;
        let directory = std::fs::canonicalize(&self.directory)
            .with_context(|| format!("--directory {}", self.directory.display()))?;
        let named = directory.display().to_string();
        let order = Order {
            size: self.size,
            with_fio: !self.no_fio,
            look: Duration::from_secs(2),
            ..disks::scheduled(&config, directory, named)
        };
        let clock = Clock::System;
        let known = Known::ask(&config, &[], &clock).await;
        let dial = Arc::new(Dial::default());
        let watched = tokio::spawn(signal::shutdown_signal(dial.stop.clone()));
        let shown = Arc::clone(&dial);
        let progress = Progress::new(global, self.json).amount("preflight", move || far(&shown));
        let made = disks::make(&config, &known, &order, &clock, dial).await;
        drop(progress);
        watched.abort();
        match made {
            Ok(run) => {
                checks.extend(run.findings.iter().cloned());
                Ok(Some(run))
            }
            Err(DiskError::Stopped) => Err(Stop::Failed(DiskError::Stopped.into())),
            Err(error) => {
                let advice = "Measure it by itself: etcd-monitor disk check";
                checks.push(Check::new(
                    "fsync",
                    Level::Unknown,
                    error.to_string(),
                    "p99 below 10 ms",
                    "etcd's FAQ",
                    advice,
                ));
                Ok(None)
            }
        }
    }
}

/// `10.0.0.2`, `https://10.0.0.2:2380`, `[::1]:2380`: all of them with a port.
fn with_port(peer: &str) -> Result<String, String> {
    let bare = peer.trim().trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let is_v6 = bare.matches(':').count() > 1 && !bare.starts_with('[');
    let full = match bare.rsplit_once(':') {
        _ if is_v6 => format!("[{bare}]:2380"),
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => {
            port.parse::<u16>().map_err(|_| format!("--peers: {peer:?} has no port that is one"))?;
            bare.to_owned()
        }
        _ => format!("{bare}:2380"),
    };
    if bare.is_empty() || bare.contains(char::is_whitespace) {
        Err(format!("--peers: {peer:?} is no host"))
    } else {
        Ok(full)
    }
}

fn exit_of(found: &Preflight) -> Exit {
    match found.level() {
        Level::Pass => Exit::Ok,
        Level::Warning | Level::Unknown => Exit::Partial,
        Level::Critical => Exit::Failed,
    }
}

fn print(found: &Preflight) {
    let rows = found.checks.iter().map(|check| {
        let word =
            if check.level == Level::Pass { "pass".to_owned() } else { check.level.as_str().to_uppercase() };
        vec![word, check.id.clone(), check.found.clone()]
    });
    output::table(&["RESULT", "CHECK", "FOUND"], rows.collect());
    for check in found.checks.iter().filter(|check| check.level != Level::Pass) {
        output::line(format_args!("\n{}: {}", check.id, check.found));
        output::line(format_args!("  rule: {} ({})", check.rule, check.source));
        if !check.advice.is_empty() {
            output::line(format_args!("  do:   {}", check.advice));
        }
    }
    let word = match found.level() {
        Level::Pass => "fit for etcd",
        Level::Unknown => "nobody can say whether it is fit for etcd",
        Level::Warning => "fit for etcd with reservations",
        Level::Critical => "not fit for etcd",
    };
    output::line(format_args!("\n{}: {word}", found.host));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_get_a_port() {
        for (given, wanted) in [
            ("10.0.0.2", "10.0.0.2:2380"),
            ("https://etcd-1:2380/", "etcd-1:2380"),
            ("[::1]:7", "[::1]:7"),
            ("::1", "[::1]:2380"),
            ("[::1]", "[::1]:2380"),
        ] {
            assert_eq!(with_port(given).as_deref(), Ok(wanted));
        }
        for bad in ["", "a b", "h:port"] {
            assert!(with_port(bad).is_err(), "{bad}");
        }
    }
}
