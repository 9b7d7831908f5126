//! `advise ignore`, `done` and `reopen`: what somebody decided.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Global, Stop, duration, one_cluster};
use crate::cli::output;
use crate::model::{AdviceState, ClusterName, Recommendation};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{advice, new_writer};

#[derive(Debug, Args)]
pub struct Which {
    /// The rule, as `advise` shows it
    rule: String,
    /// For this cluster [default: the only one]
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    /// Who; else the system's user name
    #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true, value_name = "NAME")]
    author: String,
}

#[derive(Debug, Args)]
pub struct Ignore {
    #[command(flatten)]
    which: Which,
    /// Why: whoever reads it later wants to know
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only so long, such as 30d
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    span: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Done {
    #[command(flatten)]
    which: Which,
    /// What was done
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Args)]
pub struct Reopen {
    #[command(flatten)]
    which: Which,
}

impl Ignore {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let Self { which, reason, span } = self;
        let span_ms = span.map(|span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4));
        which
            .change(global, AdviceState::Ignored, |item, now_ms| {
                item.note = Some(reason.clone());
                item.until_ms = span_ms.map(|span_ms| now_ms + span_ms);
            })
            .await
    }
}

impl Done {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let Self { which, note } = self;
        which
            .change(global, AdviceState::Done, |item, _| {
                item.note.clone_from(&note);
                item.help = None;
            })
            .await
    }
}

impl Reopen {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        self.which.change(global, AdviceState::Open, |item, _| item.note = None).await
    }
}

impl Which {
    async fn change(
        &self,
        global: &Global,
        state: AdviceState,
        edit: impl Fn(&mut Recommendation, i64),
    ) -> Result<ExitCode, Stop> {
        let rule = super::rules::named(&self.rule)?;
        let (config, store, cluster) = one_cluster(global, self.cluster.as_ref()).await?;
        // What `advise` shows is worked out anew each time, and so is what somebody decides about.
        let subjects = super::super::status::subjects(&config, &store, Clock::System.now_ms()).await?;
        let survey = config.survey(&store, &subjects);
        let one = std::slice::from_ref(&cluster);
        let writer = new_writer(&Clock::System)?;
        for (_, made) in advice::make(&config, &survey, one, None, &Clock::System).await? {
            advice::keep(&store, &writer, &made?).await?;
        }
        let changed = advice::change(&store, &cluster, &rule.id, &Clock::System, |item, now_ms| {
            item.until_ms = None;
            edit(item, now_ms);
            item.state = state;
            item.changed_ms = now_ms;
            item.by = (state != AdviceState::Open).then(|| self.author.clone());
        });
        let Some(changed) = changed.await? else {
            return Err(Stop::Usage(format!("{} is not advised for {cluster}", rule.id)));
        };
        let title = changed.item(&rule.id).map_or(rule.title.as_str(), |item| item.title.as_str());
        output::line(format_args!("{cluster}: {} ({}) is {} now", rule.id, title, state.as_str()));
        Ok(Exit::Ok.into())
    }
}
