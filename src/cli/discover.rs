//! `discover`: what each source of clusters names right now.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::{Global, Stop, output};
use crate::config::Overrides;
use crate::discover::source::{Look, Source};
use crate::model::chain;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Discover {
    /// Only these sources
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A source with what it said, or why it said nothing.
struct Answer {
    source: Arc<Source>,
    look: Look,
    error: Option<String>,
}

impl Discover {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides { clusters_optional: true, ..Overrides::default() })?;
        let known = || config.sources.iter().map(|source| source.config().name.as_str());
        if let Some(name) = self.sources.iter().find(|name| known().all(|known| known != name.as_str())) {
            let known: Vec<&str> = known().collect();
            let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Stop::Usage(format!("there is no source {name:?}; configured are: {there}")));
        }
        if config.sources.is_empty() && !self.json {
            output::note("no [[discover]] is configured; docs/discovery.md says how to");
        }
        let wanted = |source: &&Arc<Source>| {
            let name = source.config().name.as_str();
            self.sources.is_empty() || self.sources.iter().any(|wanted| wanted == name)
        };
        let looks = config.sources.iter().filter(wanted).map(async |source| {
            let (look, error) = match source.look().await {
                Ok(look) => (look, None),
                Err(error) => (Look::default(), Some(chain(&error))),
            };
            Answer { source: Arc::clone(source), look, error }
        });
        let answers = futures::future::join_all(looks).await;
        if self.json {
            output::json(&answers.iter().map(to_json).collect::<Vec<_>>())?;
        } else {
            print(&answers);
        }
        for answer in &answers {
            let name = &answer.source.config().name;
            for problem in answer.look.problems.iter().chain(&answer.error) {
                output::error(format_args!("{name}: {problem}"));
            }
        }
        let failed = answers.iter().filter(|answer| answer.error.is_some()).count();
        let troubled = failed > 0 || answers.iter().any(|answer| !answer.look.problems.is_empty());
        let exit = match troubled {
            false => Exit::Ok,
            true if failed == answers.len() => Exit::Failed,
            true => Exit::Partial,
        };
        Ok(exit.into())
    }
}

fn to_json(answer: &Answer) -> Value {
    let clusters =
        answer.look.clusters.values().map(
            |cluster| json!({ "name": cluster.name, "endpoints": cluster.endpoints, "tags": cluster.tags }),
        );
    json!({
        "source": answer.source.config().name,
        "kind": answer.source.kind(),
        "clusters": clusters.collect::<Vec<_>>(),
        "problems": answer.look.problems,
        "error": answer.error,
    })
}

fn print(answers: &[Answer]) {
    let rows = answers.iter().flat_map(|answer| {
        answer.look.clusters.values().map(|cluster| {
            let tags: Vec<String> =
                cluster.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            vec![
                answer.source.config().name.to_string(),
                answer.source.kind().to_owned(),
                cluster.name.to_string(),
                cluster.endpoints.join(","),
                tags.join(","),
            ]
        })
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        output::note("no source names a cluster");
    } else {
        output::table(&["SOURCE", "KIND", "CLUSTER", "ENDPOINTS", "TAGS"], rows);
    }
}
