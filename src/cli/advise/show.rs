//! `advise show`: one recommendation whole.

use std::process::ExitCode;

use clap::Args;

use super::{Global, Stop, one_cluster, subject_and_text};
use crate::cli::output;
use crate::model::unit::{human_span, rfc3339};
use crate::model::{AdviceState, ClusterName, Help, HelpVerdict, Recommendation};
use crate::run::advice;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Show {
    /// The rule, as `advise` shows it
    rule: String,
    /// For this cluster [default: the only one]
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let rule = super::rules::named(&self.rule)?;
        let (config, store, cluster) = one_cluster(global, self.cluster.as_ref()).await?;
        let subjects = super::super::status::subjects(&config, &store, Clock::System.now_ms()).await?;
        let survey = config.survey(&store, &subjects);
        let one = std::slice::from_ref(&cluster);
        let mut made = advice::make(&config, &survey, one, None, &Clock::System).await?;
        let Some((_, made)) = made.pop() else { return Ok(Exit::Failed.into()) };
        let found = made?.advice;
        let Some(item) = found.item(&rule.id) else {
            let passed = found.passed.iter().find(|passed| passed.rule == rule.id);
            let said = match passed {
                Some(passed) => format!("{cluster}: nothing to change: {}", passed.text),
                None => format!("{cluster}: nobody can say; it needs {}", rule.needs),
            };
            output::line(said);
            return Ok(Exit::Ok.into());
        };
        if self.json {
            output::json(item)?;
        } else {
            print(item, &cluster);
        }
        Ok(Exit::Ok.into())
    }
}

fn print(item: &Recommendation, cluster: &ClusterName) {
    let field = |name: &str, text: String| output::line(format_args!("{name:<11} {text}"));
    output::line(&item.title);
    field("rule", format!("{} ({})", item.rule, item.area.as_str()));
    field("cluster", cluster.to_string());
    let by = item.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
    let until = item.until_ms.map_or(String::new(), |until_ms| format!(", until {}", rfc3339(until_ms)));
    let since = rfc3339(item.changed_ms);
    field("state", format!("{}{by} since {since}{until}", item.state.as_str()));
    if let Some(note) = &item.note {
        field("note", note.clone());
    }
    if let Some(cause) = &item.caused_by {
        field("explained by", format!("{cause}: what helps there should help here"));
    }
    for evidence in &item.evidence {
        field("evidence", subject_and_text(&evidence.subject, &evidence.text));
    }
    if let Some(first) = item.evidence.first() {
        let query = first.shown_by.starts_with("etcd") && !first.shown_by.starts_with("etcd_");
        let command = match query || first.shown_by.starts_with("tr ") {
            true => first.shown_by.clone(),
            false => format!("etcd-monitor query '{}'", first.shown_by),
        };
        field("shown by", command);
    }
    field("why", item.why.clone());
    for command in &item.commands {
        field("do", command.clone());
    }
    field("gain", item.gain.clone());
    field("effort", item.effort.as_str().to_owned());
    field("confidence", item.confidence.as_str().to_owned());
    field("more", item.link.clone());
    match &item.help {
        Some(help) => field("did it help", sentence(help)),
        None if item.state == AdviceState::Done => {
            field("did it help", "half an hour after the change at the earliest".to_owned());
        }
        None => {}
    }
}

/// Whether it helped, with both figures.
pub(super) fn sentence(help: &Help) -> String {
    let verdict = match help.verdict {
        HelpVerdict::Helped => "helped",
        HelpVerdict::NoDifference => "no difference",
        HelpVerdict::Worse => "worse",
        HelpVerdict::Unknown => "nobody can say",
    };
    let so_far = if help.is_final { "" } else { " so far" };
    let span = human_span(help.span_ms);
    format!("{verdict}{so_far}: {} was {}, and is {} (over {span})", help.what, help.before, help.after)
}
