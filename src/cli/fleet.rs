//! `fleet`: all clusters in one table, who of them is unlike the others, and what they come to by tag.

mod gather;
mod groups;
mod order;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

pub(super) use gather::{Member, gather, parse_range};
use order::Column;

use super::progress::Progress;
use super::tags::{self, Tags};
use super::{Global, Stop, open_with_found, output};
use crate::compare::{Deviation, Measure, Norm, deviations, fleet_measures};
use crate::config::Overrides;
use crate::model::csv_cell;
use crate::model::unit::format_duration;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Fleet {
    #[command(flatten)]
    tags: Tags,
    /// One line for each value of this tag
    #[arg(long, value_name = "KEY")]
    by: Option<String>,
    /// What to sort by: names ascending, states worst first, figures largest first
    #[arg(long, value_enum, value_name = "COLUMN", default_value = "state")]
    sort: Column,
    /// The other way round
    #[arg(long)]
    reverse: bool,
    /// How far back figures are taken from; those per day at least a day
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_range)]
    range: Duration,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values
    #[arg(long)]
    csv: bool,
}

/// The clusters of one answer, with what is unlike the others.
struct Table {
    measures: Vec<Measure>,
    /// In the order asked for.
    members: Vec<Member>,
    /// Of each measure, of each of `members`.
    far: Vec<Vec<Option<Deviation>>>,
}

impl Fleet {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let now_ms = Clock::System.now_ms();
        let subjects = super::status::subjects(&config, &store, now_ms).await?;
        let keys = tags::keys(&subjects);
        if let Some(key) = self.by.as_ref().filter(|key| !keys.contains(key)) {
            return Err(Stop::Usage(format!("no cluster has a tag {key}; {}", tags::known(&keys))));
        }
        let subjects = self.tags.choose(subjects)?;
        let progress = Progress::new(global, self.json || self.csv).watch("fleet", &store);
        let measures = fleet_measures();
        let mut members = gather(&config, &store, &subjects, &measures, self.range, now_ms).await?;
        drop(progress);
        order::sort(&mut members, self.sort, self.reverse);
        let far = measures.iter().map(|measure| {
            let figures: Vec<_> = members.iter().map(|member| member.figures.get(&measure.key)).collect();
            deviations(measure, &figures)
        });
        let table = Table { far: far.collect(), measures, members };
        match (&self.by, self.json, self.csv) {
            (Some(key), true, _) => output::json(&groups::to_json(&table, key, now_ms, self.range))?,
            (Some(key), _, true) => groups::print_csv(&table, key),
            (Some(key), ..) => groups::print(&table, key, self.range),
            (None, true, _) => output::json(&table.to_json(now_ms, self.range))?,
            (None, _, true) => table.print_csv(),
            (None, ..) => table.print(self.range),
        }
        Ok(Exit::Ok.into())
    }
}

impl Table {
    fn far_of(&self, measure: usize, member: usize) -> Option<Deviation> {
        self.far.get(measure)?.get(member).copied().flatten()
    }

    /// The median of each measure over those who have it, and of what they come to together.
    fn norms(&self) -> Vec<Option<Norm>> {
        let of = |measure: &Measure| {
            Norm::of(self.members.iter().filter_map(|member| Some(member.figures.get(&measure.key)?.value)))
        };
        self.measures.iter().map(of).collect()
    }

    fn print(&self, range: Duration) {
        if self.members.is_empty() {
            return output::note("no cluster is configured and the store has no reading");
        }
        let mut header = vec!["cluster", "state", "members", "alerts"];
        header.extend(HEADS);
        header.push("tags");
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (at, member) in self.members.iter().enumerate() {
            let cell = |(n, measure): (usize, &Measure)| {
                let Some(figure) = member.figures.get(&measure.key) else { return "-".to_owned() };
                let far = self.far_of(n, at).map(|far| format!(" ({})", far.text())).unwrap_or_default();
                format!("{}{far}", measure.text(figure.value))
            };
            let mut row = vec![
                member.name.to_string(),
                member.state.word().to_owned(),
                member.voters_text(),
                member.alerts.to_string(),
            ];
            row.extend(self.measures.iter().enumerate().map(cell));
            row.push(
                member.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "),
            );
            rows.push(row);
        }
        let norms = self.norms();
        if norms.iter().any(Option::is_some) {
            let mut row = vec!["median".to_owned(), String::new(), String::new(), String::new()];
            row.extend(self.measures.iter().zip(&norms).map(|(measure, norm)| {
                norm.map_or_else(|| "-".to_owned(), |norm| measure.text(norm.median))
            }));
            rows.push(row);
        }
        output::table(&header, rows);
        output::line(format_args!(
            "Figures are medians of the last {}, of the worst member; sizes are of now.",
            format_duration(range)
        ));
        if self.far.iter().flatten().any(Option::is_some) {
            output::line("(4x): far from the median of the clusters listed, by this factor.");
        }
    }

    fn print_csv(&self) {
        let keys = self.measures.iter().map(|measure| measure.key.as_str());
        let head: Vec<&str> =
            ["cluster", "state", "voters_up", "voters", "alerts"].into_iter().chain(keys).collect();
        output::line(head.join(","));
        for member in &self.members {
            let mut cells = vec![
                csv_cell(member.name.as_str()),
                member.state.key().to_owned(),
                member.voters_up.to_string(),
                member.voters.to_string(),
                member.alerts.to_string(),
            ];
            cells.extend(self.measures.iter().map(|measure| {
                member.figures.get(&measure.key).map(|figure| figure.value.to_string()).unwrap_or_default()
            }));
            output::line(cells.join(","));
        }
    }

    fn to_json(&self, now_ms: i64, range: Duration) -> Value {
        let clusters = self.members.iter().enumerate().map(|(at, member)| {
            let mut cluster = member.to_json(&self.measures);
            let far = self
                .measures
                .iter()
                .enumerate()
                .filter_map(|(n, measure)| Some((measure.key.clone(), json!(self.far_of(n, at)?))));
            if let Some(object) = cluster.as_object_mut() {
                object.insert("far_from_median".to_owned(), Value::Object(far.collect()));
            }
            cluster
        });
        let medians = self.measures.iter().zip(self.norms()).map(|(measure, norm)| {
            (measure.key.clone(), json!({ "unit": measure.unit, "median": norm.map(|norm| norm.median) }))
        });
        json!({
            "now_ms": now_ms,
            "range_seconds": range.as_secs(),
            "clusters": clusters.collect::<Vec<_>>(),
            "measures": Value::Object(medians.collect()),
        })
    }
}

/// The measures' columns, in the order of [`fleet_measures`].
const HEADS: [&str; 7] =
    ["leaders/day", "put p99", "fsync p99", "commit p99", "db", "quota used", "growth/day"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_a_head_and_a_column_to_sort_by() {
        assert_eq!(HEADS.len(), fleet_measures().len());
        let measures = fleet_measures();
        let sorted = measures.iter().filter(|measure| {
            use clap::ValueEnum as _;
            Column::value_variants().iter().any(|column| column.measure() == Some(measure.key.as_str()))
        });
        assert_eq!(sorted.count(), measures.len());
    }
}
