//! `bench compare`: two runs side by side.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::history::judged;
use super::show::find;
use super::{Output, Target};
use crate::bench::regression::{self, Comparison, Judged, Verdict, sentence};
use crate::cli::{Global, Stop, open_with_found, output};
use crate::config::Overrides;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Compare {
    /// The run before: its id, or the beginning of one
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The run after: its id, the beginning of one, or `latest`
    #[arg(value_name = "AFTER", default_value = "latest")]
    after: String,
}

impl Compare {
    pub async fn execute(self, global: &Global, target: &Target, wanted: &Output) -> Result<ExitCode, Stop> {
        let (_, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let runs = judged(&store, target).await?;
        let (before, after) = (find(&runs, &self.before)?, find(&runs, &self.after)?);
        let (Some(one), Some(other)) = (before.rows.first(), after.rows.first()) else {
            return Err(Stop::Usage("a run without parts says nothing".to_owned()));
        };
        if one.operation != other.operation {
            return Err(Stop::Usage(format!(
                "{} is not to be compared with {}",
                one.operation, other.operation
            )));
        }
        let is_alike = one.signature == other.signature;
        let comparisons = between(&runs, before, after);
        let worst = comparisons.iter().map(|comparison| comparison.verdict).max().unwrap_or(Verdict::Unknown);
        if wanted.json {
            output::json(&json!({ "alike": is_alike, "verdict": worst, "comparisons": comparisons }))?;
        } else {
            output::line(format_args!("before: {} {}", before.id(), one.command));
            output::line(format_args!("after:  {} {}", after.id(), other.command));
            if !is_alike {
                output::line("asked for differently: what differs may be that");
            }
            for comparison in &comparisons {
                output::line(sentence(comparison));
            }
            output::line(format_args!("verdict: {}", worst.as_str()));
        }
        let is_bad = is_alike && worst == Verdict::Regression;
        Ok(if is_bad { Exit::Failed } else { Exit::Ok }.into())
    }
}

/// The figures of `after` beside those of `before`. How much runs differ by is taken from all others of the kind that are
/// older than `after`.
fn between(runs: &[Judged], before: &Judged, after: &Judged) -> Vec<Comparison> {
    let figures = regression::figures(&before.rows);
    let kind = before.rows.first().map(|row| row.signature.as_str());
    let others = runs
        .iter()
        .filter(|run| run.rows.first().map(|row| row.signature.as_str()) == kind && run.id() < after.id());
    let others: Vec<_> = others.map(|run| regression::figures(&run.rows)).collect();
    let mut comparisons = Vec::new();
    for figure in regression::figures(&after.rows) {
        let same = |other: &&regression::Figure| other.part == figure.part && other.measure == figure.measure;
        let Some(then) = figures.iter().find(same) else { continue };
        let noise: Vec<f64> =
            others.iter().filter_map(|run| run.iter().find(same)).map(|figure| figure.value).collect();
        let compared = regression::pair(then.value, figure.value, &noise, figure.measure);
        comparisons.push(Comparison { part: figure.part.clone(), ..compared });
    }
    comparisons
}
