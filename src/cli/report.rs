//! `report`: the site, now.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::progress::Progress;
use super::{Global, Stop, open_with_found, output};
use crate::config::{Config, Overrides};
use crate::report::{Site, example, render};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Report {
    /// Write the site to this folder instead of showing what it would hold
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Render the example fleet instead of the store
    #[arg(long)]
    example: bool,
}

impl Report {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let site = if self.example {
            render(&config.report, &example::fleet()).map_err(anyhow::Error::from)?
        } else {
            from_store(config, Progress::new(global, false)).await?
        };
        write(&site, &self.out)?;
        output::line(format_args!("{} file(s) in {}", site.len(), self.out.display()));
        Ok(Exit::Ok.into())
    }
}

async fn from_store(config: Config, progress: Progress) -> anyhow::Result<Site> {
    let (config, store) = open_with_found(config).await?;
    let _progress = progress.watch("report", &store);
    let now_ms = Clock::System.now_ms();
    let subjects = super::status::subjects(&config, &store, now_ms).await?;
    let input = config.survey(&store, &subjects).full(now_ms).await?;
    Ok(render(&config.report, &input)?)
}

fn write(site: &Site, folder: &std::path::Path) -> anyhow::Result<()> {
    for (path, body) in site {
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("{} cannot be made", parent.display()))?;
        }
        std::fs::write(&target, body).with_context(|| format!("{} cannot be written", target.display()))?;
    }
    Ok(())
}
