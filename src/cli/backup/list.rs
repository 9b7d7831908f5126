//! `backup list`: what there is.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::state_word;
use crate::backup::{Kept, catalog};
use crate::cli::progress::Progress;
use crate::cli::{Global, Stop, open_with_found, output};
use crate::config::{Overrides, process_environment};
use crate::model::ClusterName;
use crate::model::unit::{human_bytes, human_span};
use crate::run::backups;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct List {
    /// Only those of this cluster
    cluster: Option<ClusterName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let progress = Progress::new(global, self.json).watch("backups", &store);
        // Keys to decrypt with are not asked for: a list shows manifests.
        let mut section = config.clone();
        section.backup.encryption.identities.clear();
        let backups = backups::open(&section, &store, &process_environment()).await?;
        let listing = catalog::list(&backups.destinations, self.cluster.as_ref()).await;
        drop(progress);
        let now_ms = Clock::System.now_ms();
        if self.json {
            let all = listing.backups.iter().map(|kept| {
                json!({
                    "destination": kept.destination,
                    "manifest": kept.manifest,
                    "verdict": kept.verdict,
                    "condemned": kept.is_condemned(),
                })
            });
            output::json(&all.collect::<Vec<_>>())?;
        } else if listing.backups.is_empty() {
            output::line("There is no backup. `etcd-monitor backup now` makes one.");
        } else {
            let header = ["ID", "CLUSTER", "AGE", "SIZE", "CHANGE", "REVISION", "AT", "STATE"];
            output::table(&header, rows(&listing.backups, now_ms));
        }
        for problem in &listing.problems {
            output::error(problem);
        }
        Ok(if listing.problems.is_empty() { Exit::Ok } else { Exit::Partial }.into())
    }
}

fn rows(backups: &[Kept], now_ms: i64) -> Vec<Vec<String>> {
    let row = |(at, kept): (usize, &Kept)| {
        let manifest = &kept.manifest;
        // The one before it, of the same cluster at the same place.
        let is_before = |other: &&Kept| {
            other.manifest.cluster == manifest.cluster && other.destination == kept.destination
        };
        let before = backups.get(..at).unwrap_or_default().iter().rev().find(is_before);
        let change = before.map_or_else(String::new, |before| {
            let change = manifest.bytes as f64 / before.manifest.bytes.max(1) as f64 - 1.0;
            format!("{:+.1} %", change * 100.0)
        });
        let state = match (&kept.verdict, kept.is_condemned()) {
            (_, true) => "being deleted".to_owned(),
            (None, _) => "not looked at yet".to_owned(),
            (Some(verdict), _) => {
                let level = verdict.level.map_or_else(String::new, |level| format!(" {level}"));
                format!("{}{level}", state_word(verdict.state))
            }
        };
        vec![
            manifest.id.to_string(),
            manifest.cluster.to_string(),
            human_span((now_ms - manifest.finished_ms).max(0)),
            human_bytes(manifest.bytes as f64),
            change,
            manifest.revision.to_string(),
            kept.destination.clone(),
            state,
        ]
    };
    backups.iter().enumerate().map(row).rev().collect()
}
