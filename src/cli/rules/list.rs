//! `rules list`: every rule that configuration knows, as it is in effect.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::super::{Global, Stop, open_to_read, output, with_found};
use crate::config::{Config, Overrides};
use crate::model::unit::format_duration;
use crate::rules::{self, Chapter, Listed, Overridden, Owner, Reach, RuleKind, Threshold};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct List {
    /// Show what is in effect for this cluster, and which rules cannot speak of it by what the store has; without
    /// it, rules that differ between clusters have a row each
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Show the expressions, too
    #[arg(long)]
    expr: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One rule as it is for some clusters.
#[derive(Serialize)]
struct Row {
    /// The shipped pack it comes from, or `file`.
    origin: &'static str,
    group: String,
    name: String,
    kind: &'static str,
    severity: String,
    expr: String,
    #[serde(rename = "for")]
    held_for: String,
    keep_firing_for: String,
    /// The number that the rule compares with, where it has one.
    threshold: Option<Threshold>,
    /// `on` or `off`.
    state: &'static str,
    /// The job that evaluates it while a live watch runs; absent when nothing of its group is on.
    owner: Option<&'static str>,
    /// `all`, `all but a, b` or the names.
    clusters: String,
    overridden: Vec<Overridden>,
    /// With `--cluster`: why the rule cannot speak of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cannot_speak: Option<String>,
}

impl Row {
    fn of(chapter: &Chapter, listed: &Listed, owner: Option<&'static str>) -> Self {
        let rule = &listed.rule;
        let (kind, for_ms, keep_ms) = match &rule.kind {
            RuleKind::Alert { for_ms, keep_firing_for_ms, .. } => ("alert", *for_ms, *keep_firing_for_ms),
            RuleKind::Record => ("record", 0, 0),
        };
        Self {
            origin: chapter.origin,
            group: chapter.group.clone(),
            name: rule.name.clone(),
            kind,
            severity: rule.severity(),
            expr: rule.expr.to_string(),
            held_for: duration(for_ms),
            keep_firing_for: duration(keep_ms),
            threshold: Threshold::of(&rule.expr).filter(|_| rule.is_alert()),
            state: if listed.enabled { "on" } else { "off" },
            owner,
            clusters: rule.clusters.to_string(),
            overridden: listed.overridden.clone(),
            cannot_speak: None,
        }
    }

    /// `threshold: cluster prod (line 12)`, one for each setting.
    fn sources(&self) -> String {
        let each: Vec<String> = self
            .overridden
            .iter()
            .map(|own| {
                let line = own.line.map(|line| format!(" (line {line})")).unwrap_or_default();
                format!("{}: {}{line}", own.setting, own.scope)
            })
            .collect();
        each.join("; ")
    }
}

fn duration(ms: i64) -> String {
    format_duration(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// The job that evaluates the chapter's rules while a live watch runs.
fn owner(config: &Config, chapter: &Chapter) -> Option<&'static str> {
    let group = config.groups.iter().find(|group| group.name == chapter.group)?;
    Some(match rules::owner(group, true) {
        Owner::Watch => "watch",
        Owner::Evaluate => "evaluate",
    })
}

impl List {
    pub async fn execute(&self, global: &Global) -> Result<ExitCode, Stop> {
        let config = with_found(global.load(Overrides::store_only())?).await?;
        let known = |name: &str| config.clusters.iter().any(|cluster| cluster.config.name.as_str() == name);
        if let Some(name) = self.cluster.as_deref().filter(|name| !known(name)) {
            let names: Vec<&str> =
                config.clusters.iter().map(|cluster| cluster.config.name.as_str()).collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Stop::Usage(format!("there is no cluster {name:?}; configured are: {there}")));
        }
        let mut rows = Vec::new();
        for chapter in &config.rules.chapters {
            let owner = owner(&config, chapter);
            let variants = chapter.entries.iter().flat_map(|entry| &entry.variants);
            let here = variants.filter(|listed| match &self.cluster {
                Some(name) => listed.rule.clusters.has(name),
                // A fleet that is overridden whole leaves nothing to the general rule.
                None => !covers_nobody(&listed.rule.clusters, &config),
            });
            rows.extend(here.map(|listed| Row::of(chapter, listed, owner)));
        }
        let speechless = match &self.cluster {
            Some(name) => speechless(&config, name).await?,
            None => Vec::new(),
        };
        for row in rows.iter_mut().filter(|row| row.state == "on") {
            row.cannot_speak =
                speechless.iter().find(|(alert, _)| *alert == row.name).map(|(_, why)| why.clone());
        }
        if self.json {
            output::json(&rows)?;
            return Ok(Exit::Ok.into());
        }
        self.print(rows);
        if let (Some(name), false) = (&self.cluster, speechless.is_empty()) {
            output::line(format_args!("\n{} cannot speak of {name}:", count(speechless.len())));
            for (alert, why) in &speechless {
                output::line(format_args!("  {alert}: {why}"));
            }
        }
        Ok(Exit::Ok.into())
    }

    /// Columns that say nothing are left out, so that the table fits 80 columns.
    fn print(&self, rows: Vec<Row>) {
        let differs = self.cluster.is_none() && rows.iter().any(|row| row.clusters != "all");
        let overridden = rows.iter().any(|row| !row.overridden.is_empty());
        let mut header = vec!["rule", "severity", "for", "limit", "state", "owner", "origin"];
        for (shown, name) in [(differs, "clusters"), (overridden, "overridden"), (self.expr, "expression")] {
            header.extend(shown.then_some(name));
        }
        let cells = |row: Row| {
            let limit = row.threshold.map_or_else(|| "-".to_owned(), |threshold| threshold.to_string());
            let sources = row.sources();
            let mut cells = vec![
                row.name,
                if row.severity.is_empty() { row.kind.to_owned() } else { row.severity },
                row.held_for,
                limit,
                row.state.to_owned(),
                row.owner.unwrap_or("-").to_owned(),
                row.origin.to_owned(),
            ];
            cells.extend(differs.then_some(row.clusters));
            cells.extend(overridden.then_some(sources));
            cells.extend(self.expr.then_some(row.expr));
            cells
        };
        output::table(&header, rows.into_iter().map(cells).collect());
    }
}

fn count(rules: usize) -> String {
    if rules == 1 { "1 rule".to_owned() } else { format!("{rules} rules") }
}

/// The alerts that cannot speak of the cluster; none where the store cannot say, which is noted.
async fn speechless(config: &Config, cluster: &str) -> Result<Vec<(String, String)>, Stop> {
    let store = open_to_read(config).await?;
    let now_ms = Clock::System.now_ms();
    let subjects = config.subjects();
    let Some(subject) = subjects.iter().find(|subject| subject.name.as_str() == cluster) else {
        return Ok(Vec::new());
    };
    let survey = config.survey(&store, &subjects);
    match survey.speechless(&subject.name, now_ms).await.map_err(anyhow::Error::from)? {
        Some(found) => Ok(found),
        None => {
            output::note("the store has no fresh samples of it: which rules can speak is not known");
            Ok(Vec::new())
        }
    }
}

fn covers_nobody(reach: &Reach, config: &Config) -> bool {
    let clusters = || config.clusters.iter().map(|cluster| cluster.config.name.as_str());
    clusters().next().is_some() && !clusters().any(|name| reach.has(name))
}
