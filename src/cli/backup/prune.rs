//! `backup prune`: what retention does at the next backup, now; or only said; or taken back.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;

use super::worse;
use crate::backup::prune::{Plan, Pruned, Step, pardon, plans};
use crate::backup::{BackupId, Kept, Listing, catalog};
use crate::cli::progress::Progress;
use crate::cli::{Global, Stop, open_with_found, output};
use crate::config::{Overrides, process_environment};
use crate::model::{ClusterName, chain};
use crate::run::backups::{self, Backups};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::new_writer;
use crate::store::events;

#[derive(Debug, Args)]
pub struct Prune {
    /// Delete these, whatever the rules say; the newest verified one never goes
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Only backups of this cluster, which need not be configured; all configured ones without it
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    /// Only say what would be done, and why what stays stays
    #[arg(long)]
    dry_run: bool,
    /// Keep the backups ID after all, as long as they are there
    #[arg(long, requires = "ids", conflicts_with = "dry_run")]
    undo: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Prune {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (mut config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let progress = Progress::new(global, self.json).watch("backups", &store);
        // Nothing is read of what they hold.
        config.backup.encryption.identities.clear();
        let backups = backups::open(&config, &store, &process_environment()).await?;
        let mut listing = catalog::list(&backups.destinations, self.cluster.as_ref()).await;
        catalog::add_unfinished(&mut listing, &backups.destinations).await;
        drop(progress);
        let (clock, mut exit) = (Clock::System, Exit::Ok);
        let asked = self.asked(&listing)?;
        if self.undo {
            return undo(&backups, &listing, &asked).await;
        }
        let clusters = self.clusters(&config.clusters, &listing, &asked);
        let now_ms = clock.now_ms();
        let mut plans =
            plans(&listing, &backups.destinations, &clusters, &config.backup.retention, &asked, now_ms);
        if !asked.is_empty() {
            for plan in &mut plans {
                plan.steps.retain(|step| matches!(step, Step::Condemn { id, .. } | Step::Delete { id, .. } if asked.contains(id)));
            }
            refuse_held(&plans, &asked)?;
        }
        if self.dry_run {
            if self.json {
                output::json(&plans)?;
            } else {
                say_plans(&plans, &listing);
            }
        } else {
            let done = backups::carry_out(&backups, &plans, &listing, now_ms).await;
            let told: Vec<_> = done
                .iter()
                .filter_map(|(name, pruned)| backups::deletion_told(name, pruned, now_ms))
                .collect();
            let written = events::write(&store, &new_writer(&clock)?, now_ms, &told).await;
            if let Err(error) = written {
                output::error(format_args!("the events cannot be stored: {}", chain(&error)));
                exit = worse(exit, Exit::Partial);
            }
            super::look_again(&config, &store, &backups).await;
            let mut all = Pruned::default();
            done.into_iter().for_each(|(_, pruned)| all.add(pruned));
            for problem in &all.problems {
                output::error(problem);
                exit = worse(exit, Exit::Failed);
            }
            if self.json { output::json(&all)? } else { say_done(&all, &config.backup.retention.grace) }
        }
        for problem in &listing.problems {
            output::error(problem);
            exit = worse(exit, Exit::Partial);
        }
        Ok(exit.into())
    }

    fn asked(&self, listing: &Listing) -> Result<Vec<BackupId>, Stop> {
        let find = |name: &String| Ok(listing.find(name).map_err(Stop::Usage)?.manifest.id.clone());
        self.ids.iter().map(find).collect()
    }

    /// Whose backups it is about: never those of somebody else who uses the same bucket, unless they are named.
    fn clusters(
        &self,
        configured: &[crate::config::ClusterSetup],
        listing: &Listing,
        asked: &[BackupId],
    ) -> Vec<ClusterName> {
        if let Some(cluster) = &self.cluster {
            return vec![cluster.clone()];
        }
        if asked.is_empty() {
            return configured.iter().map(|cluster| cluster.config.name.clone()).collect();
        }
        let of = listing.backups.iter().filter(|kept| asked.contains(&kept.manifest.id));
        of.map(|kept| kept.manifest.cluster.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// What was asked for by name and cannot be done is an error, not a silence.
fn refuse_held(plans: &[Plan], asked: &[BackupId]) -> Result<(), Stop> {
    for decision in plans.iter().flat_map(|plan| &plan.decisions) {
        let held = decision.reasons.iter().find(|reason| reason.is_absolute());
        if let Some(reason) = held.filter(|_| asked.contains(&decision.id)) {
            return Err(Stop::Usage(format!("{} stays: {reason}", decision.id)));
        }
    }
    Ok(())
}

async fn undo(backups: &Backups, listing: &Listing, asked: &[BackupId]) -> Result<ExitCode, Stop> {
    let is_meant = |kept: &&Kept| asked.contains(&kept.manifest.id) && kept.is_condemned();
    let mut count = 0;
    for kept in listing.backups.iter().filter(is_meant) {
        let there = backups.destinations.iter().find(|there| there.name == kept.destination);
        let Some(there) = there else { continue };
        pardon(there, kept).await.map_err(anyhow::Error::from)?;
        count += 1;
        output::line(format_args!("{} at {} stays.", kept.manifest.id, kept.destination));
    }
    if count == 0 {
        return Err(Stop::Usage("none of these is going to be deleted".to_owned()));
    }
    Ok(Exit::Ok.into())
}

fn say_plans(plans: &[Plan], listing: &Listing) {
    let mut rows = Vec::new();
    for plan in plans {
        for decision in &plan.decisions {
            let of_it = listing
                .backups
                .iter()
                .find(|kept| kept.manifest.id == decision.id && kept.destination == plan.destination);
            let step = plan.steps.iter().find(|step| step.id() == Some(&decision.id));
            let is_condemned = of_it.is_some_and(Kept::is_condemned);
            let becomes = match step {
                Some(Step::Condemn { .. }) => "would be condemned",
                Some(Step::Pardon { .. }) => "would be kept after all",
                Some(Step::Delete { .. } | Step::Finish { .. }) => "would be deleted",
                Some(Step::Collect { .. } | Step::Discard { .. }) | None if is_condemned => "condemned",
                _ => "stays",
            };
            let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
            rows.push(vec![
                decision.id.to_string(),
                plan.cluster.to_string(),
                plan.destination.clone(),
                becomes.to_owned(),
                reasons.join(", "),
            ]);
        }
    }
    if rows.is_empty() {
        output::line("There is no backup.");
    } else {
        output::table(&["ID", "CLUSTER", "AT", "WHAT", "KEPT AS"], rows);
    }
    for plan in plans {
        for step in &plan.steps {
            match step {
                Step::Collect { key, .. } | Step::Discard { key, .. } => output::line(format_args!(
                    "{} at {}: {key} would be deleted, a backup that failed left it",
                    plan.cluster, plan.destination
                )),
                Step::Finish { id } => output::line(format_args!(
                    "{} at {}: the deletion of {id} would be finished",
                    plan.cluster, plan.destination
                )),
                Step::Condemn { .. } | Step::Pardon { .. } | Step::Delete { .. } => {}
            }
        }
    }
}

fn say_done(done: &Pruned, grace: &crate::model::unit::ConfigDuration) {
    let list = |ids: &[BackupId]| ids.iter().map(BackupId::as_str).collect::<Vec<_>>().join(", ");
    if !done.condemned.is_empty() {
        let grace = crate::model::unit::format_duration(grace.0);
        output::line(format_args!(
            "condemned, deleted after {grace} unless `backup prune --undo ID`: {}",
            list(&done.condemned)
        ));
    }
    if !done.pardoned.is_empty() {
        output::line(format_args!("kept after all: {}", list(&done.pardoned)));
    }
    if !done.deleted.is_empty() {
        output::line(format_args!("deleted: {}", list(&done.deleted)));
    }
    if done.collected > 0 {
        output::line(format_args!("{} object(s) of failed backups deleted", done.collected));
    }
    if *done == Pruned::default() {
        output::line("Nothing is to be done.");
    }
}
