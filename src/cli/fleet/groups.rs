//! The fleet by the values of one tag.

use std::time::Duration;

use serde_json::{Value, json};

use super::{HEADS, Member, Table};
use crate::cli::output;
use crate::compare::{Fold, Measure, by_tag};
use crate::model::csv_cell;
use crate::model::unit::format_duration;
use crate::report::State;

/// Several clusters as one line.
struct Group<'a> {
    /// The tag's value, `None` for those without the tag.
    value: Option<&'a str>,
    members: Vec<&'a Member>,
}

/// What the clusters of a group come to, and the highest of them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Total {
    value: f64,
    highest: f64,
}

impl Group<'_> {
    fn voters(&self) -> (usize, usize) {
        let sum = |of: fn(&Member) -> usize| self.members.iter().map(|member| of(member)).sum();
        (sum(|member| member.voters_up), sum(|member| member.voters))
    }

    fn alerts(&self) -> usize {
        self.members.iter().map(|member| member.alerts).sum()
    }

    /// How many clusters are in each state, worst first.
    fn states(&self) -> Vec<(State, usize)> {
        let count = |state: State| self.members.iter().filter(|member| member.state == state).count();
        State::ALL.into_iter().map(|state| (state, count(state))).filter(|(_, count)| *count > 0).collect()
    }

    fn total(&self, measure: &Measure) -> Option<Total> {
        let values: Vec<f64> =
            self.members.iter().filter_map(|member| Some(member.figures.get(&measure.key)?.value)).collect();
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Total { value: measure.fold(&values)?, highest })
    }
}

/// One group per value of the tag.
fn groups<'a>(table: &'a Table, key: &str) -> Vec<Group<'a>> {
    let found = by_tag(&table.members, |member| &member.tags, key).into_iter();
    found.map(|(value, members)| Group { value, members }).collect()
}

fn all(table: &Table) -> Group<'_> {
    Group { value: Some("all"), members: table.members.iter().collect() }
}

pub(super) fn print(table: &Table, key: &str, range: Duration) {
    let mut header = vec![key, "clusters", "states", "members", "alerts"];
    header.extend(HEADS);
    let of_tag = groups(table, key);
    let rows = of_tag.iter().chain([&all(table)]).map(|group| row(group, table)).collect();
    output::table(&header, rows);
    output::line(format_args!(
        "Latencies and shares are the median of the clusters (in brackets the highest), the rest are sums; figures are \
         of the last {}.",
        format_duration(range)
    ));
}

fn row(group: &Group<'_>, table: &Table) -> Vec<String> {
    let states = group.states().into_iter();
    let states: Vec<String> =
        states.map(|(state, count)| format!("{count} {}", state.word().to_lowercase())).collect();
    let (up, voters) = group.voters();
    let mut cells = vec![
        group.value.unwrap_or("(none)").to_owned(),
        group.members.len().to_string(),
        states.join(", "),
        format!("{up}/{voters}"),
        group.alerts().to_string(),
    ];
    cells.extend(table.measures.iter().map(|measure| {
        let text = |total: Total| match measure.fold {
            Fold::Sum => measure.text(total.value),
            Fold::Median => format!("{} ({})", measure.text(total.value), measure.text(total.highest)),
        };
        group.total(measure).map_or_else(|| "-".to_owned(), text)
    }));
    cells
}

pub(super) fn print_csv(table: &Table, key: &str) {
    let keys = table.measures.iter().map(|measure| measure.key.as_str());
    let head: Vec<_> = [csv_cell(key)]
        .into_iter()
        .chain(["clusters", "voters_up", "voters", "alerts"].map(Into::into))
        .chain(keys.map(Into::into))
        .collect();
    output::line(head.join(","));
    for group in groups(table, key) {
        let (up, voters) = group.voters();
        let mut cells = vec![csv_cell(group.value.unwrap_or_default())];
        cells.extend([group.members.len(), up, voters, group.alerts()].map(|count| count.to_string()));
        cells.extend(
            table
                .measures
                .iter()
                .map(|measure| group.total(measure).map(|total| total.value.to_string()).unwrap_or_default()),
        );
        output::line(cells.join(","));
    }
}

pub(super) fn to_json(table: &Table, key: &str, now_ms: i64, range: Duration) -> Value {
    let of = |group: &Group<'_>| {
        let (voters_up, voters) = group.voters();
        let states = group.states().into_iter().map(|(state, count)| (state.key().to_owned(), json!(count)));
        let totals = table.measures.iter().map(|measure| {
            let total = group.total(measure);
            let of =
                |total: Total| json!({ "value": total.value, "highest": total.highest, "is": measure.fold });
            (measure.key.clone(), total.map_or(Value::Null, of))
        });
        json!({
            "value": group.value,
            "clusters": group.members.iter().map(|member| &member.name).collect::<Vec<_>>(),
            "states": Value::Object(states.collect()),
            "voters_up": voters_up,
            "voters": voters,
            "alerts": group.alerts(),
            "figures": Value::Object(totals.collect()),
        })
    };
    json!({
        "now_ms": now_ms,
        "range_seconds": range.as_secs(),
        "tag": key,
        "groups": groups(table, key).iter().map(of).collect::<Vec<_>>(),
        "all": of(&all(table)),
    })
}
