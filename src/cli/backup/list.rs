//! `backup list`: what there is.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::backup::catalog;
use crate::cli::progress::Progress;
use crate::cli::{Global, Stop, open_with_found, output};
use crate::config::{Overrides, process_environment};
use crate::model::unit::{human_bytes, human_span, rfc3339};
use crate::model::{BackupCopy, BackupStanding, BackupState, ClusterName};
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
        let mut listing = catalog::list(&backups.destinations, self.cluster.as_ref()).await;
        let mut others = backups::others(&config, &store, &process_environment()).await;
        let now_ms = Clock::System.now_ms();
        let rhythm = backups::rhythm(&config, &store, &listing, super::schedule(), now_ms).await?;
        drop(progress);
        if let Some(cluster) = &self.cluster {
            others.places.retain(|(place, _)| place.config.cluster == *cluster);
        }
        listing.problems.append(&mut others.problems);
        let mut states = backups::states(&config, &listing, &others, rhythm, now_ms);
        states.retain(|state| !state.copies.is_empty());
        if self.json {
            let ours = listing.backups.iter().map(|kept| {
                json!({
                    "destination": kept.destination,
                    "manifest": kept.manifest,
                    "verdict": kept.verdict,
                    "tombstone": kept.tombstone,
                })
            });
            let external: Vec<_> = others.places.iter().flat_map(|(_, files)| files).collect();
            output::json(&json!({
                "backups": ours.collect::<Vec<_>>(),
                "external": external,
                "clusters": states,
            }))?;
        } else if states.is_empty() {
            output::line("There is no backup. `etcd-monitor backup now` makes one.");
        } else {
            let header = ["ID", "CLUSTER", "AGE", "SIZE", "CHANGE", "REVISION", "AT", "STATE"];
            output::table(&header, rows(&states, now_ms));
            states.iter().for_each(|state| output::line(outlook(state, now_ms)));
        }
        for problem in &listing.problems {
            output::error(problem);
        }
        Ok(if listing.problems.is_empty() { Exit::Ok } else { Exit::Partial }.into())
    }
}

fn rows(states: &[BackupState], now_ms: i64) -> Vec<Vec<String>> {
    let mut copies: Vec<(&BackupState, &BackupCopy)> =
        states.iter().flat_map(|state| state.copies.iter().map(move |copy| (state, copy))).collect();
    copies.sort_by_key(|(_, copy)| std::cmp::Reverse(copy.finished_ms));
    let row = |(state, copy): (&BackupState, &BackupCopy)| {
        let word = match copy.state {
            _ if copy.is_condemned => "being deleted",
            BackupStanding::New => "not looked at yet",
            BackupStanding::Verified => "verified",
            BackupStanding::Unverified => "not verified",
            BackupStanding::Bad => "BAD",
        };
        let level = copy.level.as_ref().filter(|_| !copy.is_condemned);
        vec![
            copy.id.clone(),
            state.cluster.to_string(),
            human_span((now_ms - copy.finished_ms).max(0)),
            human_bytes(copy.bytes as f64),
            copy.change.map_or_else(String::new, |change| format!("{:+.1} %", change * 100.0)),
            copy.revision.map_or_else(String::new, |revision| revision.to_string()),
            if copy.is_external { format!("{} (external)", copy.at) } else { copy.at.clone() },
            level.map_or_else(|| word.to_owned(), |level| format!("{word} {level}")),
        ]
    };
    copies.into_iter().map(row).collect()
}

/// How it grows, and when the next one is due.
fn outlook(state: &BackupState, now_ms: i64) -> String {
    let growth = state.growth_bytes_per_day.map(|bytes| {
        let sign = if bytes < 0.0 { "-" } else { "+" };
        format!("{sign}{} a day", human_bytes(bytes.abs()))
    });
    let due = match state.next_due_ms {
        _ if !state.is_backed_up => "no backup is scheduled".to_owned(),
        None => "the next one is made by the next run of the job backup".to_owned(),
        Some(due_ms) if due_ms < now_ms => format!("OVERDUE since {}", rfc3339(due_ms)),
        Some(due_ms) => format!("next due {} (in {})", rfc3339(due_ms), human_span(due_ms - now_ms)),
    };
    let parts: Vec<String> = growth.into_iter().chain([due]).collect();
    format!("{}: {}", state.cluster, parts.join(", "))
}
