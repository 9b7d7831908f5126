//! `backup`: made now, listed, verified.

mod drill;
mod inspect;
mod list;
mod now;
mod prune;
mod restore;
mod show;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use super::{Global, Stop, help, output};
use crate::config::{Config, process_environment};
use crate::model::chain;
use crate::run::backups::{self, Backups};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{When, new_writer};
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Save the databases of clusters now, whatever is enabled
    #[command(after_help = help::BACKUP)]
    Now(now::Now),
    /// List the backups of all destinations, with what is known of each
    #[command(after_help = help::BACKUP)]
    List(list::List),
    /// Read a backup, or any saved etcd database, and say whether it is good
    #[command(after_help = help::BACKUP)]
    Verify(verify::Verify),
    /// Say all that is known of one backup, of each copy
    #[command(after_help = help::BACKUP)]
    Show(show::Show),
    /// Make a data folder of a backup, or say step by step how a cluster is restored
    #[command(after_help = help::RESTORE)]
    Restore(restore::Restore),
    /// Restore a backup on trial: start an etcd from it on loopback, and compare
    #[command(after_help = help::BACKUP)]
    Drill(drill::DrillCommand),
    /// Say what is in a backup: keys and sizes by prefix and Kubernetes resource, the biggest values, leases
    #[command(after_help = help::BACKUP_INSPECT)]
    Inspect(inspect::Inspect),
    /// Say what is different between two backups
    #[command(after_help = help::BACKUP_INSPECT)]
    Diff(inspect::Diff),
    /// Delete what no rule of retention keeps, or take that back
    #[command(after_help = help::BACKUP)]
    Prune(prune::Prune),
}

impl BackupCommand {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        match self {
            Self::Now(now) => now.execute(global).await,
            Self::List(list) => list.execute(global).await,
            Self::Verify(verify) => verify.execute(global).await,
            Self::Show(show) => show.execute(global).await,
            Self::Restore(restore) => restore.execute(global).await,
            Self::Drill(drill) => drill.execute(global).await,
            Self::Inspect(inspect) => inspect.execute(global).await,
            Self::Diff(diff) => diff.execute(global).await,
            Self::Prune(prune) => prune.execute(global).await,
        }
    }
}

/// When the job makes backups, where nothing else is configured.
fn schedule() -> &'static str {
    let job = crate::jobs::ALL.iter().find(|job| job.name == "backup");
    match job.map(|job| job.when) {
        Some(When::Cron(schedule)) => schedule,
        _ => "",
    }
}

/// Pages and other commands are to know at once what a command changed; that they do not is no failure of it.
async fn look_again(config: &Config, store: &Store, backups: &Backups) {
    let (environment, clock) = (process_environment(), Clock::System);
    let outcome = async {
        let writer = new_writer(&clock)?;
        let now_ms = clock.now_ms();
        backups::look_again(config, store, &environment, backups, schedule(), &writer, now_ms).await
    };
    if let Err(error) = outcome.await {
        output::error(format_args!("what is known of backups is not up to date: {}", chain(error.as_ref())));
    }
}

/// The worse of two outcomes: failed, then partial, then done.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Ok => 0,
        Exit::Partial => 1,
        _ => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// A state as people read it.
fn state_word(state: crate::backup::VerdictState) -> &'static str {
    use crate::backup::VerdictState;
    match state {
        VerdictState::Verified => "verified",
        VerdictState::Unverified => "not verified",
        VerdictState::Bad => "BAD",
    }
}
