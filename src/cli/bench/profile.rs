//! `bench run` and `bench profiles`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{Output, Target, load};
use crate::bench::Dial;
use crate::cli::{Global, Stop, open_store, output};
use crate::config::Overrides;
use crate::run::exit_code::Exit;
use crate::run::signal;

#[derive(Debug, Args)]
pub struct RunProfile {
    /// The profile's name; see `bench profiles`
    #[arg(value_name = "PROFILE", default_value = "quick")]
    profile: String,
}

impl RunProfile {
    pub async fn execute(self, global: &Global, target: &Target, wanted: &Output) -> Result<ExitCode, Stop> {
        let (config, cluster) = target.resolve(global).await?;
        let Some(profile) = config.bench.profile(&self.profile).cloned() else {
            let known: Vec<&str> =
                config.bench.profiles().iter().map(|profile| profile.name.as_str()).collect();
            return Err(Stop::Usage(format!(
                "{:?} is no profile; there are {}",
                self.profile,
                known.join(", ")
            )));
        };
        let store = if wanted.no_store { None } else { Some(open_store(&config).await?) };
        let (mut worst, mut runs) = (Exit::Ok, Vec::new());
        let dial = Arc::new(Dial::default());
        let watched = tokio::spawn(signal::shutdown_signal(dial.stop.clone()));
        let count = profile.orders().count();
        for (at, order) in profile.orders().enumerate() {
            let wanted = &of_load(wanted, at, order.operation.name(), count);
            let dial = Arc::new(Dial::stopped_by(&dial.stop));
            let one = load::One {
                config: &config,
                cluster: &cluster,
                profile: Some(&profile.name),
                store: store.as_ref(),
            };
            let (run, exit) = one.execute(global, &order, dial.clone(), wanted).await?;
            worst = if exit == Exit::Ok { worst } else { exit };
            runs.push(run);
            // Who stopped one load does not want the next.
            if dial.stop.is_cancelled() {
                break;
            }
        }
        watched.abort();
        if wanted.json {
            output::json(&runs)?;
        }
        Ok(worst.into())
    }
}

/// The same, with files of its own where there are several loads: `runs.csv` is `runs-1-put.csv`.
fn of_load(wanted: &Output, at: usize, operation: &str, count: usize) -> Output {
    let own = |path: &PathBuf| {
        let name = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let stem = name(path.file_stem()).unwrap_or_default();
        let ending = name(path.extension()).map_or(String::new(), |ending| format!(".{ending}"));
        if count > 1 {
            path.with_file_name(format!("{stem}-{}-{operation}{ending}", at + 1))
        } else {
            path.clone()
        }
    };
    Output { csv: wanted.csv.as_ref().map(own), html: wanted.html.as_ref().map(own), ..wanted.clone() }
}

#[derive(Debug, Args)]
pub struct Profiles {}

impl Profiles {
    pub fn execute(self, global: &Global, wanted: &Output) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let profiles = config.bench.profiles();
        if wanted.json {
            output::json(&profiles)?;
            return Ok(Exit::Ok.into());
        }
        for profile in profiles {
            let scheduled =
                if profile.name == config.bench.scheduled() { " (what the job runs)" } else { "" };
            output::line(format_args!("{}{scheduled}: {}", profile.name, profile.about));
            for order in profile.orders() {
                let command = order.command(0);
                output::line(format_args!("    {}", command.trim_end_matches(" --seed=0")));
            }
        }
        Ok(Exit::Ok.into())
    }
}
