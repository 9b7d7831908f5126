//! `silence`, `snooze` and `maintenance`: keeping incidents from being told for a time.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Global, Stop, help, open_store, open_to_read, output};
use crate::alert::{Silence, SilenceSource as _, maintenance_matchers};
use crate::config::{Config, Overrides};
use crate::deliver::{expire_silence, put_silence, read_silences};
use crate::model::ClusterName;
use crate::model::unit::{ConfigDuration, human_span, parse_duration, rfc3339};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::new_writer;

#[derive(Debug, Subcommand)]
pub enum SilenceCommand {
    /// Silence what fits all matchers
    #[command(after_help = help::SILENCE_ADD)]
    Add(Add),
    /// List the silences that are in effect or to come
    Ls {
        /// Also those that are over
        #[arg(long)]
        expired: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a silence now
    Expire {
        /// Its id, as `silence ls` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct Add {
    /// Matchers as amtool takes them: name=value, name!=value, name=~regex, name!~regex. A first one
    /// without an operator is the alert's name
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
    #[command(flatten)]
    terms: Terms,
}

/// How long, who and why.
#[derive(Debug, Args)]
pub struct Terms {
    /// How long, such as 30m or 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: ConfigDuration,
    /// Why; people read it beside the incident
    #[arg(long, default_value = "", value_name = "TEXT")]
    comment: String,
    /// Who; else the system's user name
    #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true, value_name = "NAME")]
    author: String,
}

fn duration(text: &str) -> Result<ConfigDuration, String> {
    parse_duration(text).map(ConfigDuration).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub struct Snooze {
    /// The incident's short id, as `alerts` shows it
    id: String,
    #[command(flatten)]
    terms: Terms,
}

#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// Silence all of a cluster
    #[command(after_help = help::MAINTENANCE_START)]
    Start {
        cluster: ClusterName,
        #[command(flatten)]
        terms: Terms,
    },
    /// End a cluster's maintenance now
    End { cluster: ClusterName },
}

impl SilenceCommand {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        match self {
            Self::Add(add) => create(&config, with_alertname(add.matchers), add.terms).await?,
            Self::Ls { expired, json } => list(&config, expired, json).await?,
            Self::Expire { id } => {
                let (store, now_ms) = (open_store(&config).await?, Clock::System.now_ms());
                let over = expire_silence(&store, &new_writer(&Clock::System)?, &id, now_ms).await;
                let Some(silence) = over.map_err(anyhow::Error::from)? else {
                    let standing = config.silences.silences(now_ms);
                    if standing.iter().any(|silence| silence.id == id) {
                        let from = "ends with the file or configuration that says it: edit that";
                        return Err(Stop::Usage(format!("the silence {id} {from}")));
                    }
                    return Err(Stop::Usage(format!(
                        "there is no silence {id}; see: etcd-monitor silence ls"
                    )));
                };
                output::note(format_args!("silence {id} is over since {}", rfc3339(silence.ends_ms)));
            }
        }
        Ok(Exit::Ok.into())
    }
}

impl Snooze {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let store = open_store(&config).await?;
        let incident = super::alerts::active(&store, &self.id).await?;
        create(&config, Silence::matchers_of(&incident), self.terms).await?;
        Ok(Exit::Ok.into())
    }
}

impl MaintenanceCommand {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        match self {
            Self::Start { cluster, mut terms } => {
                if terms.comment.is_empty() {
                    "maintenance".clone_into(&mut terms.comment);
                }
                create(&config, maintenance_matchers(&cluster), terms).await?;
            }
            Self::End { cluster } => end(&config, &cluster).await?,
        }
        Ok(Exit::Ok.into())
    }
}

async fn end(config: &Config, cluster: &ClusterName) -> Result<(), Stop> {
    let (store, now_ms) = (open_store(config).await?, Clock::System.now_ms());
    let writer = new_writer(&Clock::System)?;
    let mut ended = 0_usize;
    for silence in read_silences(&store).await.map_err(anyhow::Error::from)? {
        if silence.ends_ms > now_ms && silence.matchers == maintenance_matchers(cluster) {
            expire_silence(&store, &writer, &silence.id, now_ms).await.map_err(anyhow::Error::from)?;
            ended = ended.saturating_add(1);
        }
    }
    match ended {
        0 => Err(Stop::Usage(format!("cluster {cluster} has no maintenance now"))),
        _ => Ok(()),
    }
}

fn with_alertname(mut matchers: Vec<String>) -> Vec<String> {
    if let Some(first) = matchers.first_mut().filter(|first| !first.contains(['=', '!'])) {
        *first = format!("alertname=\"{first}\"");
    }
    matchers
}

/// Creates the silence and prints its id.
async fn create(config: &Config, matchers: Vec<String>, terms: Terms) -> Result<(), Stop> {
    let now_ms = Clock::System.now_ms();
    let writer = new_writer(&Clock::System)?;
    let lasts_ms = i64::try_from(terms.lasts.0.as_millis()).unwrap_or(i64::MAX);
    // The end of a ULID is random: 40 bits are enough for people's silences, and short enough to type.
    let id: String = writer.id().to_string().to_lowercase().chars().skip(18).collect();
    let ends_ms = now_ms.saturating_add(lasts_ms);
    let (author, comment) = (terms.author, terms.comment);
    let silence = Silence { id, matchers, starts_ms: now_ms, ends_ms, author, comment };
    silence.check().map_err(|error| Stop::Usage(error.to_string()))?;
    let store = open_store(config).await?;
    put_silence(&store, &writer, &silence).await.map_err(anyhow::Error::from)?;
    output::line(&silence.id);
    output::note(format_args!("{} is silent until {}", silence.matchers.join(" "), rfc3339(ends_ms)));
    Ok(())
}

async fn list(config: &Config, expired: bool, as_json: bool) -> Result<(), Stop> {
    let (store, now_ms) = (open_to_read(config).await?, Clock::System.now_ms());
    let mut silences = read_silences(&store).await.map_err(anyhow::Error::from)?;
    silences.extend(config.silences.silences(now_ms));
    silences.retain(|silence| expired || silence.ends_ms > now_ms);
    silences.sort_by(|a, b| (a.ends_ms, &a.id).cmp(&(b.ends_ms, &b.id)));
    if as_json {
        let rows = silences.iter().map(|silence| {
            json!({
                "id": silence.id,
                "matchers": silence.matchers,
                "starts_ms": silence.starts_ms,
                "ends_ms": silence.ends_ms,
                "author": silence.author,
                "comment": silence.comment,
                "state": state(silence, now_ms),
            })
        });
        return Ok(output::json(&rows.collect::<Vec<_>>())?);
    }
    let cells = silences.iter().map(|silence| {
        let ends = match silence.ends_ms.saturating_sub(now_ms) {
            left_ms @ 1.. => format!("in {}", human_span(left_ms)),
            past_ms => format!("{} ago", human_span(past_ms.saturating_neg())),
        };
        vec![
            silence.id.clone(),
            state(silence, now_ms).to_owned(),
            silence.matchers.join(" "),
            ends,
            silence.author.clone(),
            silence.comment.clone(),
        ]
    });
    output::table(&["id", "state", "matchers", "ends", "author", "comment"], cells.collect());
    Ok(())
}

/// Alertmanager's words.
fn state(silence: &Silence, now_ms: i64) -> &'static str {
    match silence {
        silence if silence.ends_ms <= now_ms => "expired",
        silence if silence.is_active(now_ms) => "active",
        _ => "pending",
    }
}
