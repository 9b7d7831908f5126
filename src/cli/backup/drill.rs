//! `backup drill`: a restore on trial, now.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::backup::{Kept, VerdictState, catalog};
use crate::cli::{Global, Stop, output, progress};
use crate::config::{Overrides, process_environment};
use crate::model::unit::human_seconds;
use crate::run::backups::{self, Trial};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::new_writer;
use crate::store::{Store, events};

#[derive(Debug, Args)]
pub struct DrillCommand {
    /// A backup's id, the beginning of one, or `latest`
    #[arg(value_name = "ID", default_value = "latest")]
    id: String,
    /// The destination to take it from; the first that has it without this
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
}

impl DrillCommand {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides { clusters_optional: true, ..Overrides::default() })?;
        let (environment, clock) = (process_environment(), Clock::System);
        let store = Store::open(&config.store, &|name| environment.get(name).cloned()).await;
        let store = store.map_err(anyhow::Error::from)?;
        let backups = backups::open(&config, &store, &environment).await?;
        let listing = catalog::list(&backups.destinations, None).await;
        let kept = listing.find_at(&self.id, self.from.as_deref()).map_err(Stop::Usage)?;
        let path = environment.get("PATH").map(OsString::from);
        let cluster = config.clusters.iter().find(|cluster| cluster.config.name == kept.manifest.cluster);
        let trial = Trial {
            config: &config.backup,
            path: path.as_deref(),
            login: cluster.and_then(|cluster| cluster.backup_login.as_ref().or(cluster.login.as_ref())),
        };
        let state = Arc::default();
        let shown = Arc::clone(&state);
        let named = format!("{} at {}", kept.manifest.id, kept.destination);
        let line = progress::Progress::new(global, self.json)
            .bytes(&named, move || crate::backup::database::Progress::bytes(&shown));
        let outcome = backups::drill(&backups, kept, &trial, &new_writer(&clock)?, &clock, &state).await;
        drop(line);
        let event = backups::drill_told(kept, &outcome, clock.now_ms());
        let written = events::write(&store, &new_writer(&clock)?, clock.now_ms(), &[event]).await;
        written.map_err(anyhow::Error::from)?;
        super::look_again(&config, &store, &backups).await;
        let verdict = outcome.map_err(anyhow::Error::from)?;
        if self.json {
            output::json(&verdict)?;
        } else {
            say(kept, &verdict);
        }
        let is_good = verdict.state != VerdictState::Bad && verdict.drill.is_some();
        Ok(if is_good { Exit::Ok } else { Exit::Failed }.into())
    }
}

fn say(kept: &Kept, verdict: &crate::backup::Verdict) {
    let named = format!("{} at {}", kept.manifest.id, kept.destination);
    match &verdict.drill {
        Some(drill) => output::line(format_args!(
            "{named}: restored on trial in {}: etcd {} runs from it, {} keys compared, a write is taken",
            human_seconds(drill.recovery_ms as f64 / 1e3),
            drill.etcd_version,
            drill.sampled_keys
        )),
        None => output::line(format_args!("{named}: cannot be restored")),
    }
    for why in &verdict.why {
        output::line(format_args!("  {why}"));
    }
}
