//! `bench clean`: deletes what killed benchmarks left.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Target;
use crate::cli::{Global, Stop, output};
use crate::run::benches;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Clean {}

impl Clean {
    pub async fn execute(self, global: &Global, target: &Target, json: bool) -> Result<ExitCode, Stop> {
        let (_, cluster) = target.resolve(global).await?;
        let cleaned = benches::clean(&cluster).await.map_err(|error| Stop::Failed(error.into()))?;
        if json {
            output::json(&json!({ "deleted": cleaned.deleted, "running": cleaned.running }))?;
            return Ok(Exit::Ok.into());
        }
        for prefix in &cleaned.running {
            output::line(format_args!("{prefix}: a benchmark runs there"));
        }
        for (prefix, keys) in &cleaned.deleted {
            output::line(format_args!("{prefix}: {keys} key(s) deleted"));
        }
        if cleaned.deleted.is_empty() && cleaned.running.is_empty() {
            output::line(format_args!("{}: nothing is left of benchmarks", cluster.config.name));
        }
        Ok(Exit::Ok.into())
    }
}
