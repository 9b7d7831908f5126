//! `ack` and `unack`: taking an incident on, and giving it back.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::{Global, Stop, open_store, output};
use crate::alert::Routes;
use crate::config::Overrides;
use crate::deliver::{Deliverer, Person};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::new_writer;

#[derive(Debug, Args)]
pub struct Ack {
    /// The incident's short id, as `alerts` shows it
    id: String,
    /// What others should know
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Who; else the system's user name
    #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true, value_name = "NAME")]
    author: String,
}

impl Ack {
    /// Acknowledges, or takes that back.
    pub async fn execute(self, global: &Global, person: Person) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let store = open_store(&config).await?;
        let incident = super::alerts::active(&store, &self.id).await?;
        let who = match &self.comment {
            Some(comment) => format!("{}: {comment}", self.author),
            None => self.author.clone(),
        };
        // Routes decide what is told, and an acknowledgement tells nobody anything.
        let deliverer =
            Deliverer::new(store, new_writer(&Clock::System)?, BTreeMap::new(), Routes::default());
        let done = deliverer.by_person(&incident.fingerprint, person, &who, Clock::System.now_ms()).await;
        let Some(incident) = done.map_err(anyhow::Error::from)? else {
            return Err(Stop::Usage(format!("the incident {} has just ended", self.id)));
        };
        output::line(format_args!("{} {} {}", incident.short_id(), incident.state_word(), incident.alert));
        Ok(Exit::Ok.into())
    }
}
