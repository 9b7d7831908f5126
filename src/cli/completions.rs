//! `completions`: a script for the user's shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Stop};
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell: put the output where it looks for completions, e.g.
    /// `etcd-monitor completions bash > /etc/bash_completion.d/etcd-monitor`
    shell: Shell,
}

impl Completions {
    pub fn execute(self) -> Result<ExitCode, Stop> {
        clap_complete::generate(self.shell, &mut Cli::command(), "etcd-monitor", &mut std::io::stdout());
        Ok(Exit::Ok.into())
    }
}
