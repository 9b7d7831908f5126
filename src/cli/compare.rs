//! `compare`: two or more clusters side by side, figure by figure.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::fleet::{Member, gather, parse_range};
use super::progress::Progress;
use super::{Global, Stop, open_with_found, output};
use crate::compare::{Ask, Figure, Measure, all_measures};
use crate::config::Overrides;
use crate::model::ClusterName;
use crate::model::unit::{format_duration, three_digits};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;

/// More do not fit beside each other.
const CLUSTERS_MAX: usize = 6;

#[derive(Debug, Args)]
pub struct Compare {
    /// The clusters; ratios are to the first
    #[arg(required = true, num_args = 2..=CLUSTERS_MAX, value_name = "CLUSTER")]
    clusters: Vec<ClusterName>,
    /// How far back figures are taken from; those per day at least a day
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_range)]
    range: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        for (n, name) in self.clusters.iter().enumerate() {
            if self.clusters.iter().take(n).any(|before| before == name) {
                return Err(Stop::Usage(format!("{name} is named twice")));
            }
        }
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let now_ms = Clock::System.now_ms();
        let known = super::status::subjects(&config, &store, now_ms).await?;
        let mut subjects = Vec::new();
        for name in &self.clusters {
            let Some(subject) = known.iter().find(|subject| subject.name == *name) else {
                let why = format!("there is no cluster {name}, neither configured nor in the store");
                return Err(Stop::Usage(why));
            };
            subjects.push(subject.clone());
        }
        let progress = Progress::new(global, self.json).watch("compare", &store);
        let measures = all_measures();
        let members = gather(&config, &store, &subjects, &measures, self.range, now_ms).await?;
        drop(progress);
        if self.json {
            output::json(&to_json(&members, &measures, now_ms, self.range))?;
        } else {
            print(&members, &measures, self.range);
        }
        Ok(Exit::Ok.into())
    }
}

/// `figure` by that of the first cluster: `None` where one is missing, where the first is not above zero, or where they
/// come from different sources and so do not mean the same.
fn ratio(first: Option<&Figure>, figure: Option<&Figure>) -> Option<f64> {
    let (first, figure) = first.zip(figure)?;
    (first.source == figure.source && first.value > 0.0).then(|| figure.value / first.value)
}

fn print(members: &[Member], measures: &[Measure], range: Duration) {
    let Some((first, others)) = members.split_first() else { return };
    let mut header = vec!["layer".to_owned(), "figure".to_owned()];
    header.extend(members.iter().map(|member| member.name.to_string()));
    header.extend(others.iter().map(|other| format!("{}/{}", other.name, first.name)));
    let plain = |what: &str, of: &dyn Fn(&Member) -> String| {
        let mut row = vec![String::new(), what.to_owned()];
        row.extend(members.iter().map(of));
        row
    };
    let mut rows = vec![
        plain("state", &|member| member.state.word().to_owned()),
        plain("members", &Member::voters_text),
        plain("alerts", &|member| member.alerts.to_string()),
        plain("version", &|member| {
            if member.versions.is_empty() { "-".to_owned() } else { member.versions.join(", ") }
        }),
    ];
    let mut other_sources = Vec::new();
    for measure in measures {
        let figures: Vec<Option<&Figure>> =
            members.iter().map(|member| member.figures.get(&measure.key)).collect();
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let mut row = vec![measure.layer.title().to_owned(), measure.title.clone()];
        row.extend(figures.iter().map(|figure| figure.map_or_else(|| "-".to_owned(), |f| cell(measure, f))));
        let of_first = figures.first().copied().flatten();
        row.extend(figures.iter().skip(1).map(|figure| {
            ratio(of_first, *figure)
                .map_or_else(|| "-".to_owned(), |ratio| format!("{}x", three_digits(ratio)))
        }));
        rows.push(row);
        other_sources.extend(sources(measure, members, &figures));
    }
    let known = rows.len() > 4;
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    output::table(&header, rows);
    if !known {
        return output::note("the store has no samples of these clusters in this range");
    }
    output::line(format_args!(
        "Figures are medians of the last {}, of the worst member, in brackets the highest; sizes are of now.",
        format_duration(range)
    ));
    other_sources.iter().for_each(output::line);
}

fn cell(measure: &Measure, figure: &Figure) -> String {
    let value = measure.text(figure.value);
    if measure.newest || !matches!(measure.ask, Ask::Course(_)) || figure.highest <= figure.value {
        return value;
    }
    format!("{value} ({})", measure.text(figure.highest))
}

/// A word on figures that do not mean the same.
fn sources(measure: &Measure, members: &[Member], figures: &[Option<&Figure>]) -> Option<String> {
    let named: Vec<(&ClusterName, Option<&str>)> = members
        .iter()
        .zip(figures)
        .filter_map(|(member, figure)| Some((&member.name, figure.as_ref()?.source.as_deref())))
        .collect();
    let (_, first) = named.first()?;
    if named.iter().all(|(_, source)| source == first) {
        return None;
    }
    let of = |(name, source): &(&ClusterName, Option<&str>)| {
        format!("{name} from {}", source.unwrap_or("elsewhere"))
    };
    let named: Vec<String> = named.iter().map(of).collect();
    Some(format!(
        "{} has several sources, which do not measure the same: {}",
        measure.title,
        named.join(", ")
    ))
}

fn to_json(members: &[Member], measures: &[Measure], now_ms: i64, range: Duration) -> Value {
    let first = members.first();
    let of = |measure: &Measure| {
        let figures =
            members.iter().map(|member| (member.name.to_string(), json!(member.figures.get(&measure.key))));
        let ratios = members.iter().skip(1).map(|member| {
            let of_first = first.and_then(|first| first.figures.get(&measure.key));
            (member.name.to_string(), json!(ratio(of_first, member.figures.get(&measure.key))))
        });
        json!({
            "key": measure.key, "title": measure.title, "layer": measure.layer, "unit": measure.unit,
            "per_day": measure.per_day,
            "figures": Value::Object(figures.collect()), "ratios": Value::Object(ratios.collect()),
        })
    };
    json!({
        "now_ms": now_ms,
        "range_seconds": range.as_secs(),
        "clusters": members.iter().map(|member| member.to_json(&[])).collect::<Vec<_>>(),
        "measures": measures.iter().map(of).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_what_means_the_same() {
        let figure = |value: f64, source: &str| {
            Some(Figure { value, highest: value, source: Some(source.to_owned()) })
        };
        for (first, other, wanted) in [
            (figure(2.0, "grpc"), figure(5.0, "grpc"), Some(2.5)),
            (figure(2.0, "grpc"), figure(5.0, "apply"), None),
            (figure(0.0, "grpc"), figure(5.0, "grpc"), None),
            (figure(-1.0, "grpc"), figure(5.0, "grpc"), None),
            (None, figure(5.0, "grpc"), None),
            (figure(2.0, "grpc"), None, None),
        ] {
            assert_eq!(ratio(first.as_ref(), other.as_ref()), wanted, "{first:?} {other:?}");
        }
    }
}
