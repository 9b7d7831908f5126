//! `capacity`: how long databases, disks and file descriptors will do.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::progress::Progress;
use super::status::subjects;
use super::{Global, Stop, open_with_found, output};
use crate::capacity::{Estimate, Forecast, Outlook, Resource};
use crate::config::Overrides;
use crate::model::ClusterName;
use crate::model::unit::{human_bytes, human_span, three_digits};
use crate::promql::EvalOptions;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::survey::forecasts;

#[derive(Debug, Args)]
pub struct Capacity {
    /// Only this cluster
    cluster: Option<ClusterName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Capacity {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let now_ms = Clock::System.now_ms();
        let mut names: Vec<ClusterName> =
            subjects(&config, &store, now_ms).await?.into_iter().map(|subject| subject.name).collect();
        if let Some(wanted) = &self.cluster {
            names.retain(|name| name == wanted);
            if names.is_empty() {
                let why = format!("there is no cluster {wanted}, neither configured nor in the store");
                return Err(Stop::Usage(why));
            }
        }
        let options = EvalOptions { max_samples: config.query.max_samples, ..EvalOptions::default() };
        let progress = Progress::new(global, self.json).watch("capacity", &store);
        let mut found: Vec<(ClusterName, Vec<Forecast>)> = Vec::new();
        for name in names {
            let of_it = forecasts(&store, options, &name, now_ms).await.map_err(anyhow::Error::from)?;
            found.push((name, of_it));
        }
        drop(progress);
        if self.json {
            let all = found.iter().flat_map(|(cluster, forecasts)| {
                forecasts.iter().map(move |forecast| {
                    json!({ "cluster": cluster, "forecast": forecast, "left_seconds": forecast.seconds_left().filter(|left| left.is_finite()) })
                })
            });
            output::json(&all.collect::<Vec<_>>())?;
            return Ok(Exit::Ok.into());
        }
        print(&found);
        Ok(Exit::Ok.into())
    }
}

fn print(found: &[(ClusterName, Vec<Forecast>)]) {
    let rows: Vec<Vec<String>> = found
        .iter()
        .flat_map(|(cluster, of_it)| of_it.iter().map(|forecast| cells(cluster, forecast)))
        .collect();
    if rows.is_empty() {
        output::note("the store has no history of databases, disks or file descriptors yet");
        return;
    }
    output::table(&["cluster", "what", "where", "used", "limit", "per day", "full in", "from"], rows);
    output::line(
        "The trend is the median slope between the medians of up to 28 days (Theil-Sen), with its 95 % interval; \
         of a database live data counts, not the file.",
    );
}

fn cells(cluster: &ClusterName, forecast: &Forecast) -> Vec<String> {
    let amount = |value: f64| match forecast.resource {
        Resource::Quota | Resource::Disk => human_bytes(value),
        Resource::FileDescriptors => three_digits(value),
    };
    let per_day =
        |rate: Estimate| format!("{} ({} to {})", amount(rate.middle), amount(rate.low), amount(rate.high));
    vec![
        cluster.to_string(),
        forecast.resource.as_str().to_owned(),
        forecast.instance.clone().unwrap_or_else(|| "cluster".to_owned()),
        format!("{} ({:.0} %)", amount(forecast.used), forecast.used * 100.0 / forecast.limit),
        amount(forecast.limit),
        forecast.per_day.map_or_else(|| "-".to_owned(), per_day),
        full_in(forecast.outlook),
        format!("{} days", forecast.days),
    ]
}

fn full_in(outlook: Outlook) -> String {
    let span = |days: f64| human_span((days * 86_400_000.0) as i64);
    match outlook {
        Outlook::TooYoung { needed, .. } => format!("unknown before {needed} days of data"),
        Outlook::NotGrowing => "not growing".to_owned(),
        Outlook::Full => "full".to_owned(),
        Outlook::Days(days) if days.high.is_finite() => {
            format!("{} ({} to {})", span(days.middle), span(days.low), span(days.high))
        }
        Outlook::Days(days) => format!("{} (at least {})", span(days.middle), span(days.low)),
    }
}
