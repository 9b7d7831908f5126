//! `config check`: all errors at once.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Global, Stop, output};
use crate::config::Overrides;
use crate::discover::data_dir::Places;
use crate::run::exit_code::Exit;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the file, the environment, the rule files and the certificates, and report every error
    Check,
}

impl ConfigCommand {
    pub fn execute(&self, global: &Global) -> Result<ExitCode, Stop> {
        let Self::Check = self;
        let config = global.load(Overrides::default())?;
        for warning in config.warnings.iter().chain(&config.machine_warnings(&Places::default())) {
            output::note(format_args!("warning: {warning}"));
        }
        let rules: usize = config.groups.iter().map(|group| group.rules.len()).sum();
        let found = match config.sources.len() {
            0 => String::new(),
            sources => format!(" and those of {sources} source(s)"),
        };
        output::line(format_args!(
            "ok: {} cluster(s){found}, {rules} rule(s), {} channel(s), store {}",
            config.clusters.len(),
            config.channels.len(),
            config.store.url
        ));
        Ok(Exit::Ok.into())
    }
}
