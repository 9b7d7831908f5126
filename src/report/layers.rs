//! The cluster in layers, as a request passes through them: client, API, raft, logic, storage; and the machine below.
//!
//! Owns: which layer is how well, by the limits of the catalogue and by what readings say of the structure. Refuses:
//! evaluating the figures' expressions (`survey` does), and limits of its own beside those that tiles and verdicts go by.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::catalogue::{Layer, Metric, Unit, Worse, catalogue};
use crate::model::{Instance, ReadingRow, Series, Structure};

/// How a layer is. Ordered, the worst last; what is unknown is no health, and no trouble either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Ok,
    Unknown,
    Warning,
    Critical,
}

impl Condition {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One layer of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LayerView {
    pub layer: Layer,
    pub condition: Condition,
    /// What makes it so, one sentence each; empty while it is well.
    pub says: Vec<String>,
    pub figures: Vec<Figure>,
}

/// One metric of the catalogue, now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Figure {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    /// Largest first, at most [`VALUES_MAX`]; of members only the worst.
    pub values: Vec<Value>,
    /// Which of the metric's sources answered, where there are several.
    pub source: Option<String>,
    /// What that source measures.
    pub about: Option<&'static str>,
    pub limit: Option<f64>,
    pub condition: Condition,
    /// Why there is no value.
    pub missing: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Value {
    /// `p99`, a method, a member's instance; empty if there is only one.
    pub of: String,
    /// In the figure's unit.
    pub value: f64,
}

/// More values than these are left out.
const VALUES_MAX: usize = 4;

impl Layer {
    /// Top to bottom.
    pub const ALL: [Self; 6] = [Self::Client, Self::Api, Self::Raft, Self::Logic, Self::Storage, Self::Host];

    pub fn title(self) -> &'static str {
        match self {
            Self::Client => "Client",
            Self::Api => "API",
            Self::Raft => "Raft",
            Self::Logic => "Logic",
            Self::Storage => "Storage",
            Self::Host => "Machine",
        }
    }
}

/// The layers of a cluster. `rows` are those of its newest reading, `figures` what the expressions of
/// [`super::figures`] gave, by id. `name` gives what people call a member. Old readings (`is_stale`) vouch for nothing.
pub fn layers(
    rows: &[ReadingRow],
    figures: &BTreeMap<String, Vec<Series>>,
    is_stale: bool,
    name: &dyn Fn(&str) -> String,
) -> Vec<LayerView> {
    let structure = Structure::of(rows);
    let view = |layer: Layer| {
        let of_layer = catalogue().metrics.iter().filter(|metric| metric.layer == Some(layer));
        let figures: Vec<Figure> = of_layer
            .map(|metric| figure(metric, figures.get(&metric.id).map_or(&[], Vec::as_slice), name))
            .collect();
        let mut facts = match layer {
            Layer::Client => answering(rows, name),
            Layer::Raft => raft(rows, &structure, name),
            Layer::Storage => alarms(rows).into_iter().chain(defragmenting(rows, name)).collect(),
            Layer::Api | Layer::Logic | Layer::Host => Vec::new(),
        };
        facts.extend(figures.iter().filter_map(above));
        let known = figures.iter().any(|figure| !figure.values.is_empty());
        let worst = facts.iter().map(|(condition, _)| *condition).max();
        let (condition, says) = if is_stale {
            (Condition::Unknown, vec!["the newest reading is too old to say".to_owned()])
        } else if let Some(worst) = worst {
            facts.sort_by_key(|(condition, _)| std::cmp::Reverse(*condition));
            (worst, facts.into_iter().map(|(_, text)| text).collect())
        } else if known {
            (Condition::Ok, Vec::new())
        } else {
            (Condition::Unknown, vec!["no figure of it is known: are /metrics scraped?".to_owned()])
        };
        LayerView { layer, condition, says, figures }
    };
    Layer::ALL.into_iter().map(view).collect()
}

type Fact = (Condition, String);

fn answering(rows: &[ReadingRow], name: &dyn Fn(&str) -> String) -> Vec<Fact> {
    let (up, all) = (rows.iter().filter(|row| row.reachable).count(), rows.len());
    let mut facts = match all - up {
        0 => Vec::new(),
        _ if up == 0 => vec![(Condition::Critical, "no member answers".to_owned())],
        1 => vec![(Condition::Warning, format!("1 of {all} members does not answer"))],
        silent => vec![(Condition::Warning, format!("{silent} of {all} members do not answer"))],
    };
    for row in rows {
        let member = name(row.instance.as_str());
        facts.extend(row.unhealthy.iter().map(|said| (Condition::Warning, format!("{member} says {said}"))));
    }
    facts
}

fn raft(rows: &[ReadingRow], structure: &Structure, name: &dyn Fn(&str) -> String) -> Vec<Fact> {
    let mut facts = Vec::new();
    if rows.is_empty() {
        return facts;
    }
    if rows.iter().all(|row| row.leader.is_none()) {
        facts.push((Condition::Critical, "no member knows a leader".to_owned()));
    } else if structure.margin < 0 {
        let text = format!("only {} of {} voters follow the leader", structure.following, structure.voters);
        facts.push((Condition::Critical, text));
    } else if structure.following < structure.voters {
        let margin = usize::try_from(structure.margin).unwrap_or(0);
        let text = format!(
            "{} of {} voters follow the leader; {} may still stop",
            structure.following,
            structure.voters,
            if margin == 0 { "none".to_owned() } else { margin.to_string() }
        );
        facts.push((Condition::Warning, text));
    }
    if let Some(partition) = structure.partition(&|instance: &Instance| name(instance.as_str())) {
        facts.push((Condition::Critical, format!("members do not reach each other: {partition}")));
    }
    facts
}

fn alarms(rows: &[ReadingRow]) -> Vec<Fact> {
    let mut kinds: Vec<&str> = rows.iter().flat_map(|row| &row.alarms).map(String::as_str).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.into_iter().map(|kind| (Condition::Critical, format!("alarm {kind} is active"))).collect()
}

fn defragmenting(rows: &[ReadingRow], name: &dyn Fn(&str) -> String) -> Vec<Fact> {
    let busy = rows.iter().filter(|row| row.defragmenting);
    let text = |row: &ReadingRow| {
        format!("{} is defragmenting and serves nobody meanwhile", name(row.instance.as_str()))
    };
    busy.map(|row| (Condition::Warning, text(row))).collect()
}

fn above(figure: &Figure) -> Option<Fact> {
    let worst =
        figure.values.iter().filter(|value| of_limit(value)).max_by(|a, b| a.value.total_cmp(&b.value))?;
    if figure.condition <= Condition::Unknown {
        return None;
    }
    let at = if worst.of.is_empty() { String::new() } else { format!(" ({})", worst.of) };
    let limit = figure.limit.map(|limit| format!(", limit {}", figure.unit.text(limit))).unwrap_or_default();
    Some((figure.condition, format!("{}{at}: {}{limit}", figure.title, figure.unit.text(worst.value))))
}

/// Limits are about the highest quantile that a metric has.
fn of_limit(value: &Value) -> bool {
    value.of != "p50" && value.of != "p95"
}

fn figure(metric: &'static Metric, series: &[Series], name: &dyn Fn(&str) -> String) -> Figure {
    let mut values: Vec<(Value, Option<String>)> = series
        .iter()
        .filter_map(|series| {
            let value = *series.values.last()?;
            // Of a link the end that measured is named.
            let shown =
                series.labels.iter().filter(|label| !matches!(&*label.name, "source" | "cluster" | "To"));
            let of: Vec<String> = shown
                .map(|label| match &*label.name {
                    "instance" => name(&label.value),
                    _ => label.value.to_string(),
                })
                .collect();
            let source = series.labels.get("source").map(str::to_owned);
            (!value.is_nan()).then(|| (Value { of: of.join(" "), value }, source))
        })
        .collect();
    let source = values.first().and_then(|(_, source)| source.clone());
    if metric.quantiles.len() < 2 {
        values.sort_by(|a, b| b.0.value.total_cmp(&a.0.value));
    }
    if metric.by.iter().any(|label| label == "instance") {
        if metric.worse == Worse::Low {
            values.reverse();
        }
        values.truncate(1);
    }
    values.truncate(VALUES_MAX);
    let values: Vec<Value> = values.into_iter().map(|(value, _)| value).collect();
    let judged =
        values.iter().filter(|value| of_limit(value)).map(|value| value.value).fold(f64::NAN, f64::max);
    let limit = metric.limit.as_ref();
    let condition = match limit {
        _ if values.is_empty() => Condition::Unknown,
        Some(limit) if limit.alert.is_some_and(|alert| judged > alert) => Condition::Critical,
        Some(limit) if judged > limit.value => Condition::Warning,
        _ => Condition::Ok,
    };
    Figure {
        id: &metric.id,
        title: &metric.title,
        unit: metric.unit,
        missing: values.is_empty().then_some(metric.why_missing.as_str()),
        values,
        about: metric
            .queries
            .iter()
            .find(|query| Some(&query.source) == source.as_ref())
            .map(|query| query.about.as_str()),
        source,
        limit: limit.map(|limit| limit.value),
        condition,
    }
}

impl Figure {
    /// The values for people: `p50 1.2 ms, p99 3.4 ms`, `28.4 KiB/s at m1`.
    pub fn text(&self) -> String {
        let text = |value: &Value| {
            let shown = self.unit.text(value.value);
            match value.of.as_str() {
                "" => shown,
                of if self.values.len() == 1 => format!("{shown} ({of})"),
                of => format!("{of} {shown}"),
            }
        };
        let values = self.values.iter().map(text).collect::<Vec<_>>().join(", ");
        match self.about {
            Some(about) => format!("{values} · {about}"),
            None => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use crate::report::example;

    fn series(labels: &[(&str, &str)], value: f64) -> Series {
        let mut series = Series::new(Labels::from_pairs(labels.iter().copied()));
        series.push(0, value);
        series
    }

    fn rows() -> Vec<ReadingRow> {
        let fleet = example::fleet();
        fleet
            .clusters
            .into_iter()
            .find(|c| c.rows.len() == 3 && c.rows.iter().all(|row| row.reachable && row.leader.is_some()))
            .map(|c| c.rows)
            .expect("one of three")
    }

    fn view(rows: &[ReadingRow], figures: &[(&str, Vec<Series>)], layer: Layer, stale: bool) -> LayerView {
        let figures = figures.iter().map(|(id, series)| ((*id).to_owned(), series.clone())).collect();
        let views = layers(rows, &figures, stale, &|instance| format!("<{instance}>"));
        assert_eq!(views.iter().map(|view| view.layer).collect::<Vec<_>>(), Layer::ALL);
        views.into_iter().find(|view| view.layer == layer).expect("every layer is there")
    }

    #[test]
    fn a_layer_is_as_bad_as_its_worst_figure() {
        let rows = rows();
        let at =
            |m1: f64, m2: f64| vec![series(&[("instance", "m1:1")], m1), series(&[("instance", "m2:1")], m2)];
        for (m2, condition, says) in [
            (0.004, Condition::Ok, vec![]),
            (0.03, Condition::Warning, vec!["WAL fsync (<m2:1>): 30 ms, limit 10 ms"]),
            (0.7, Condition::Critical, vec!["WAL fsync (<m2:1>): 700 ms, limit 10 ms"]),
        ] {
            let found = view(&rows, &[("wal_fsync", at(0.001, m2))], Layer::Storage, false);
            assert_eq!(
                (found.condition, found.says),
                (condition, says.into_iter().map(str::to_owned).collect())
            );
        }
    }

    #[test]
    fn quantiles_keep_their_order_and_the_last_is_judged() {
        let quantile = |name: &'static str, value: f64| {
            series(&[("quantile", name), ("source", "etcd_monitor_probe_seconds")], value)
        };
        let figures = vec![quantile("p50", 0.002), quantile("p95", 0.12), quantile("p99", 0.09)];
        let found = view(&rows(), &[("read_latency", figures)], Layer::Api, false);
        let latency = found.figures.iter().find(|figure| figure.id == "read_latency").expect("listed");
        assert_eq!(latency.condition, Condition::Ok, "p95 has no limit");
        assert_eq!(latency.text(), "p50 2 ms, p95 120 ms, p99 90 ms · reads of the monitor itself");
    }

    #[test]
    fn what_is_not_known_is_unknown_and_says_why() {
        let found = view(&rows(), &[], Layer::Logic, false);
        assert_eq!(found.condition, Condition::Unknown);
        assert!(found.figures.iter().all(|figure| figure.missing.is_some()), "{found:?}");
        let fine = vec![series(&[("instance", "m1:1")], 0.001)];
        let stale = view(&rows(), &[("wal_fsync", fine)], Layer::Storage, true);
        assert_eq!(stale.condition, Condition::Unknown, "old readings vouch for nothing");
    }

    #[test]
    fn raft_tells_of_followers_and_cuts() {
        let mut rows = rows();
        assert_eq!(
            view(&rows, &[("has_leader", vec![series(&[], 1.0)])], Layer::Raft, false).says,
            Vec::<String>::new()
        );
        let peers: Vec<Instance> = rows.iter().skip(1).map(|row| row.instance.clone()).collect();
        if let Some(first) = rows.first_mut() {
            first.deaf_to = peers;
            first.leader = None;
        }
        let found = view(&rows, &[], Layer::Raft, false);
        assert_eq!(found.condition, Condition::Critical);
        assert!(
            found.says.iter().any(|said| said.starts_with("members do not reach each other: cut into")),
            "{found:?}"
        );
        assert!(
            found.says.contains(&"2 of 3 voters follow the leader; none may still stop".to_owned()),
            "{found:?}"
        );
    }
}
