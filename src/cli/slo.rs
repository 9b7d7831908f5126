//! `slo`: objectives, the levels reached, and what is left of the error budgets.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;

use super::{Global, Stop, open_to_read, output, with_found};
use crate::config::{Config, Overrides};
use crate::model::Selection;
use crate::promql::{self, EvalOptions, EvalRange};
use crate::rules::slo::{SloConfig, Standing};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::samples;

#[derive(Debug, Args)]
pub struct Slo {
    /// Print the generated rules as a Prometheus rule file instead
    #[arg(long, conflicts_with = "json")]
    rules: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Slo {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = with_found(global.load(Overrides::store_only())?).await?;
        if self.rules {
            print_rules(&config);
            return Ok(Exit::Ok.into());
        }
        if config.slos.is_empty() && !self.json {
            output::note("no [[slo]] is configured; docs/slo.md says how to");
        }
        let standings = standings(&config).await?;
        if self.json {
            output::json(&standings)?;
        } else {
            print(&standings);
        }
        Ok(Exit::Ok.into())
    }
}

/// All rules in one file: the groups of each objective below the one `groups:`.
fn print_rules(config: &Config) {
    let fleet = config.fleet();
    output::line("groups:");
    for slo in &config.slos {
        let text = slo.rule_file(&fleet);
        output::line(text.trim_start_matches("groups:\n").trim_end());
    }
}

async fn standings(config: &Config) -> anyhow::Result<Vec<Standing>> {
    let store = open_to_read(config).await?;
    let now_ms = Clock::System.now_ms();
    let options = EvalOptions { max_samples: config.query.max_samples, ..EvalOptions::default() };
    let mut found = Vec::new();
    for slo in &config.slos {
        let selections = selections(slo, now_ms, &options)?;
        let loaded = samples::load(&store, &selections, options.max_samples).await?;
        let standing = slo.standing(&loaded.series, now_ms, &options);
        found.extend(standing.map_err(|message| anyhow!("slo {}: {message}", slo.name))?);
    }
    Ok(found)
}

fn selections(slo: &SloConfig, now_ms: i64, options: &EvalOptions) -> anyhow::Result<Vec<Selection>> {
    let mut wanted = Vec::new();
    for question in slo.questions() {
        let expr = promql::parse(&question).map_err(|error| anyhow!("{question}: {error}"))?;
        wanted.extend(promql::selections(&expr, &EvalRange::instant(now_ms), options));
    }
    Ok(wanted)
}

fn print(standings: &[Standing]) {
    let percent = |share: f64| format!("{}%", (share * 1e5).round() / 1e3);
    let cells = |standing: &Standing| {
        vec![
            standing.slo.clone(),
            standing.cluster.clone(),
            percent(standing.objective),
            percent(standing.actual),
            percent(standing.budget_left),
            standing.burn_now.map_or_else(|| "no data".to_owned(), |burn| format!("{burn:.1}x")),
        ]
    };
    output::table(
        &["slo", "cluster", "objective", "actual", "budget left", "burn (1h)"],
        standings.iter().map(cells).collect(),
    );
}
