//! `disk`: what a disk is good for, as etcd needs it, and what checks said before.

mod check;
mod history;

pub(super) use self::check::{far, fio_size};

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Global, Stop, help};

#[derive(Debug, Args)]
pub struct Disk {
    #[command(subcommand)]
    command: DiskCommand,
}

#[derive(Debug, Subcommand)]
pub enum DiskCommand {
    /// Measure a directory's disk, and say what it is good for
    #[command(after_help = help::DISK_CHECK)]
    Check(Box<check::Check>),
    /// List the checks that the store has
    #[command(after_help = help::DISK_HISTORY)]
    History(history::History),
    /// Print the report of an earlier check
    #[command(after_help = help::DISK_HISTORY)]
    Show(history::Show),
    /// Delete what a check left in a directory that was killed; the next check does, too
    #[command(after_help = help::DISK_CHECK)]
    Clean(check::Clean),
}

impl Disk {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        match self.command {
            DiskCommand::Check(check) => check.execute(global).await,
            DiskCommand::History(history) => history.execute(global).await,
            DiskCommand::Show(show) => show.execute(global).await,
            DiskCommand::Clean(clean) => clean.execute(),
        }
    }
}
