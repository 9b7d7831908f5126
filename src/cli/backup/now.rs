//! `backup now`: a backup of some clusters, or all.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::worse;
use crate::backup::Origin;
use crate::backup::save::Progress;
use crate::cli::connection::Connect;
use crate::cli::{Global, Stop, output, progress};
use crate::config::{ClusterSetup, Config, Overrides, process_environment};
use crate::model::chain;
use crate::model::unit::{human_bytes, human_seconds};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{backups, new_writer};
use crate::store::{Store, events};

#[derive(Debug, Args)]
pub struct Now {
    /// Only these clusters
    #[arg(value_name = "CLUSTER")]
    clusters: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Now {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let cluster = self.connect.cluster(global.config.is_some())?;
        let config = global.load(Overrides { cluster, ..Overrides::default() })?;
        let config = crate::cli::with_found(config).await?;
        let chosen = self.chosen(&config)?;
        let (environment, clock) = (process_environment(), Clock::System);
        let store = Store::open(&config.store, &|name| environment.get(name).cloned()).await;
        let store = store.map_err(anyhow::Error::from)?;
        let backups = backups::open(&config, &store, &environment).await?;
        let writer = new_writer(&clock)?;
        let (mut worst, mut made) = (Exit::Ok, Vec::new());
        // One after the other: the line of progress is of one.
        for cluster in chosen {
            let name = &cluster.config.name;
            let progress = Arc::new(Progress::default());
            let line = progress::Progress::new(global, self.json);
            let shown = Arc::clone(&progress);
            let line = line.bytes(&format!("backup of {name}"), move || shown.bytes());
            let outcome = backups::make(&backups, &config, cluster, Origin::Command, &clock, &progress).await;
            drop(line);
            let event = backups::told(name, &outcome, clock.now_ms());
            if let Err(error) = events::write(&store, &writer, clock.now_ms(), &[event]).await {
                output::error(format_args!("the event cannot be stored: {}", chain(&error)));
                worst = worse(worst, Exit::Partial);
            }
            match outcome {
                Err(error) => {
                    output::error(format_args!("{name}: {}", chain(&error)));
                    worst = Exit::Failed;
                }
                Ok(saved) => {
                    for (destination, error) in &saved.failed {
                        output::error(format_args!("{name}: destination {destination}: {}", chain(error)));
                        worst = worse(worst, Exit::Partial);
                    }
                    if !self.json {
                        said(&saved);
                    }
                    let failed: Vec<_> = saved
                        .failed
                        .iter()
                        .map(|(name, error)| json!({ "destination": name, "error": chain(error) }))
                        .collect();
                    made.push(
                        json!({ "manifest": saved.manifest, "stored": saved.stored, "failed": failed }),
                    );
                }
            }
        }
        super::look_again(&config, &store, &backups).await;
        if self.json {
            output::json(&made)?;
        }
        Ok(worst.into())
    }

    fn chosen<'a>(&self, config: &'a Config) -> Result<Vec<&'a ClusterSetup>, Stop> {
        let known = || config.clusters.iter().map(|cluster| cluster.config.name.as_str());
        if let Some(name) = self.clusters.iter().find(|name| !known().any(|known| known == name.as_str())) {
            let known: Vec<&str> = known().collect();
            return Err(Stop::Usage(format!("there is no cluster {name:?}; there are {}", known.join(", "))));
        }
        let wanted = |cluster: &&ClusterSetup| {
            self.clusters.is_empty() || self.clusters.iter().any(|name| name == cluster.config.name.as_str())
        };
        Ok(config.clusters.iter().filter(wanted).collect())
    }
}

fn said(saved: &crate::backup::save::Saved) {
    let manifest = &saved.manifest;
    let seconds = (manifest.finished_ms - manifest.started_ms) as f64 / 1e3;
    let rate = human_bytes(manifest.bytes as f64 / seconds.max(0.001));
    output::line(format_args!(
        "{}: {} of {} from {} in {} ({rate}/s), {} stored at {}",
        manifest.cluster,
        manifest.id,
        human_bytes(manifest.bytes as f64),
        manifest.source.instance,
        human_seconds(seconds),
        human_bytes(manifest.object.bytes as f64),
        saved.stored.join(", "),
    ));
}
