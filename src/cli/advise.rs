//! `advise`: what to change in each cluster, by which evidence, and how well the clusters are.

mod change;
mod checklist;
mod rules;
mod score;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::progress::Progress;
use super::tags::Tags;
use super::{Global, Stop, help, open_with_found, output};
use crate::config::Overrides;
use crate::model::{Advice, AdviceArea, AdviceState, ClusterName, Recommendation};
use crate::run::advice;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::Store;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Advise {
    #[command(subcommand)]
    what: Option<What>,
    /// Only for these clusters
    cluster: Vec<ClusterName>,
    #[command(flatten)]
    tags: Tags,
    /// The tuning checklist, line by line, instead
    #[arg(long)]
    checklist: bool,
    /// Only of this area
    #[arg(long, value_name = "AREA", value_parser = area)]
    area: Option<AdviceArea>,
    /// Also what is ignored and done, what passed, and what nobody can say
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show one recommendation whole: evidence and what shows it, why, commands, gain, what it changed
    #[command(after_help = help::ADVISE_CHANGE)]
    Show(show::Show),
    /// Live with a recommendation, for good or for a time
    #[command(after_help = help::ADVISE_CHANGE)]
    Ignore(change::Ignore),
    /// Say that a recommendation was followed: from now on before and after are compared
    #[command(after_help = help::ADVISE_CHANGE)]
    Done(change::Done),
    /// Take that back
    #[command(after_help = help::ADVISE_CHANGE)]
    Reopen(change::Reopen),
    /// Explain the health score of each cluster, term by term
    #[command(after_help = help::ADVISE)]
    Score(score::Score),
    /// List all rules with their limits
    #[command(after_help = help::ADVISE)]
    Rules(rules::Rules),
}

fn area(text: &str) -> Result<AdviceArea, String> {
    let all = AdviceArea::ALL.map(AdviceArea::as_str);
    let found = AdviceArea::ALL.into_iter().find(|area| area.as_str() == text);
    found.ok_or_else(|| format!("the areas are {}", all.join(", ")))
}

impl Advise {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        match self.what {
            None => {}
            Some(What::Show(show)) => return show.execute(global).await,
            Some(What::Ignore(ignore)) => return ignore.execute(global).await,
            Some(What::Done(done)) => return done.execute(global).await,
            Some(What::Reopen(reopen)) => return reopen.execute(global).await,
            Some(What::Score(score)) => return score.execute(global).await,
            Some(What::Rules(rules)) => return rules.execute(),
        }
        let (mut all, exit) = make(global, &self.cluster, &self.tags, self.json).await?;
        if let Some(area) = self.area {
            for advice in &mut all {
                advice.items.retain(|item| item.area == area);
                advice.passed.retain(|rule| rule.area == area);
                advice.unknown.retain(|rule| rule.area == area);
            }
        }
        match (self.checklist, self.json) {
            (true, true) => output::json(&checklist::json(&all))?,
            (true, false) => checklist::print(&all),
            (false, true) => output::json(&all)?,
            (false, false) => all.iter().for_each(|advice| print(advice, self.all)),
        }
        Ok(exit.into())
    }
}

/// The advice for the wanted clusters, worked out now and not written down, and whether any could not be.
async fn make(
    global: &Global,
    wanted: &[ClusterName],
    tags: &Tags,
    quiet: bool,
) -> Result<(Vec<Advice>, Exit), Stop> {
    let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
    let clock = Clock::System;
    let mut subjects = super::status::subjects(&config, &store, clock.now_ms()).await?;
    if let Some(among) = tags.clusters(&config, &store, clock.now_ms()).await? {
        subjects.retain(|subject| among.contains(&subject.name));
    }
    if let Some(unknown) = wanted.iter().find(|name| subjects.iter().all(|subject| subject.name != **name)) {
        let why = format!("there is no cluster {unknown}, neither configured nor in the store");
        return Err(Stop::Usage(why));
    }
    if !wanted.is_empty() {
        subjects.retain(|subject| wanted.contains(&subject.name));
    }
    if subjects.is_empty() {
        output::note("there is no cluster yet, neither configured nor in the store");
    }
    let names: Vec<ClusterName> = subjects.iter().map(|subject| subject.name.clone()).collect();
    let progress = Progress::new(global, quiet).watch("advise", &store);
    let survey = config.survey(&store, &subjects);
    // This command opens no channel, and so cannot say how many there are.
    let made = advice::make(&config, &survey, &names, None, &clock).await?;
    drop(progress);
    let (mut all, mut exit) = (Vec::new(), Exit::Ok);
    for (cluster, made) in made {
        match made {
            Ok(made) => all.push(made.advice),
            Err(error) => {
                output::error(advice::problem(&cluster, &error));
                exit = Exit::Failed;
            }
        }
    }
    Ok((all, exit))
}

/// The one cluster that is meant.
async fn one_cluster(
    global: &Global,
    wanted: Option<&ClusterName>,
) -> Result<(crate::config::Config, Store, ClusterName), Stop> {
    let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
    let subjects = super::status::subjects(&config, &store, Clock::System.now_ms()).await?;
    let names: Vec<ClusterName> = subjects.into_iter().map(|subject| subject.name).collect();
    let cluster = match (wanted, names.as_slice()) {
        (Some(wanted), names) if names.contains(wanted) => wanted.clone(),
        (Some(wanted), _) => {
            let why = format!("there is no cluster {wanted}, neither configured nor in the store");
            return Err(Stop::Usage(why));
        }
        (None, [one]) => one.clone(),
        (None, []) => return Err(Stop::Usage("there is no cluster yet".to_owned())),
        (None, _) => {
            return Err(Stop::Usage("there are several clusters: name one with --cluster".to_owned()));
        }
    };
    Ok((config, store, cluster))
}

/// `83 of 100`.
fn points(value: Option<u32>) -> String {
    value.map_or_else(|| "not known yet".to_owned(), |value| format!("{value} of 100"))
}

fn print(advice: &Advice, all: bool) {
    let open: Vec<&Recommendation> = advice.open().collect();
    let count = |state: AdviceState| advice.items.iter().filter(|item| item.state == state).count();
    output::line(format_args!(
        "{}: health {}; {} open, {} ignored, {} done, {} passed, {} not known",
        advice.cluster,
        points(advice.score.value),
        open.len(),
        count(AdviceState::Ignored),
        count(AdviceState::Done),
        advice.passed.len(),
        advice.unknown.len(),
    ));
    let roots = open.iter().filter(|item| item.caused_by.is_none());
    for (n, item) in roots.enumerate() {
        print_open(n + 1, item, &open);
    }
    let dangling: Vec<&str> = open
        .iter()
        .filter(|item| {
            item.caused_by.as_ref().is_some_and(|cause| !open.iter().any(|one| one.rule == *cause))
        })
        .map(|item| item.rule.as_str())
        .collect();
    if !dangling.is_empty() {
        output::line(format_args!("  explained by what is ignored or done: {}", dangling.join(", ")));
    }
    if all {
        print_rest(advice);
    }
}

fn print_open(number: usize, item: &Recommendation, open: &[&Recommendation]) {
    output::line(format_args!(
        "  {number}. {}  [{}; effort {}, confidence {}]",
        item.title,
        item.rule,
        item.effort.as_str(),
        item.confidence.as_str()
    ));
    if let Some(first) = item.evidence.first() {
        let more = match item.evidence.len() - 1 {
            0 => String::new(),
            more => format!("  (and {more} more)"),
        };
        let text = subject_and_text(&first.subject, &first.text);
        output::line(format_args!("     {text}{more}"));
    }
    if let Some(command) = item.commands.first() {
        output::line(format_args!("     $ {command}"));
    }
    let explained: Vec<&str> = open
        .iter()
        .filter(|other| other.caused_by.as_deref() == Some(item.rule.as_str()))
        .map(|other| other.rule.as_str())
        .collect();
    if !explained.is_empty() {
        output::line(format_args!("     explains {}", explained.join(", ")));
    }
    if let Some(note) = &item.note {
        output::line(format_args!("     {note}"));
    }
}

/// Who it is about is not said twice.
fn subject_and_text(subject: &str, text: &str) -> String {
    if text.contains(subject) { text.to_owned() } else { format!("{subject}: {text}") }
}

fn print_rest(advice: &Advice) {
    for state in [AdviceState::Ignored, AdviceState::Done] {
        for item in advice.items.iter().filter(|item| item.state == state) {
            let help = item.help.as_ref().map_or(String::new(), |help| format!("; {}", show::sentence(help)));
            let by = item.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
            let note = item.note.as_ref().map_or(String::new(), |note| format!(": {note}"));
            output::line(format_args!(
                "  {}{by}  {} [{}]{note}{help}",
                state.as_str(),
                item.title,
                item.rule
            ));
        }
    }
    for rule in &advice.passed {
        output::line(format_args!("  passed  {} ({})", rule.rule, rule.text));
    }
    for rule in &advice.unknown {
        output::line(format_args!("  not known  {} (needs {})", rule.rule, rule.needs));
    }
}

/// How long what is ignored is ignored.
fn duration(text: &str) -> Result<Duration, String> {
    crate::model::unit::parse_duration(text).map_err(|error| error.to_string())
}
