//! `advise score`: the health score, term by term.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Global, Stop, make, points};
use crate::cli::output;
use crate::cli::tags::Tags;
use crate::model::{Advice, ClusterName};

#[derive(Debug, Args)]
pub struct Score {
    /// Only of these clusters
    cluster: Vec<ClusterName>,
    #[command(flatten)]
    tags: Tags,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Score {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (mut all, exit) = make(global, &self.cluster, &self.tags, self.json).await?;
        all.sort_by_key(|advice| advice.score.value);
        if self.json {
            let scores = all.iter().map(|advice| json!({ "cluster": advice.cluster, "score": advice.score }));
            output::json(&scores.collect::<Vec<_>>())?;
        } else {
            all.iter().for_each(print);
        }
        Ok(exit.into())
    }
}

fn print(advice: &Advice) {
    let score = &advice.score;
    output::line(format_args!("{}: {}", advice.cluster, points(score.value)));
    if let Some((cap, why)) = &score.cap {
        output::line(format_args!("  {cap} at most: {why}"));
    }
    for term in &score.terms {
        let of_term = match term.points {
            Some(points) => format!("{points:>2} of {}", term.most),
            None => "not known, and not counted".to_owned(),
        };
        output::line(format_args!(
            "  {:<13} {of_term}  ({} of {} rules could be judged)",
            term.name, term.judged, term.rules
        ));
        for lost in &term.lost {
            output::line(format_args!("      -{:<2} {}: {}", lost.points, lost.rule, lost.text));
        }
    }
}
