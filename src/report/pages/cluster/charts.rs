//! The four charts of the overview.

use crate::model::catalogue::{Metric, catalogue};
use crate::model::unit::{human_bytes, human_seconds, human_span};
use crate::model::{EventKind, Series};
use crate::report::chart::{Heatmap, LineChart, Plan, heatmap};
use crate::report::facts::{Facts, above_since};
use crate::report::text::clock;

/// Steps of the charts in one column of the heatmap: half an hour in a day's chart.
const HEATMAP_STEPS: i64 = 6;

pub(super) fn charts(facts: &Facts<'_>) -> Vec<LineChart> {
    vec![put_latency(facts), by_member(facts, "wal_fsync", "WAL fsync p99 by member"), database(facts)]
}

fn plan<'a>(facts: &Facts<'_>, id: &'static str, title: &'a str) -> Plan<'a> {
    let metric: Option<&'static Metric> = catalogue().get(id);
    Plan {
        id,
        title,
        unit: metric.map_or(crate::model::catalogue::Unit::Count, |m| m.unit),
        start_ms: facts.now_ms - facts.input.chart_range_ms,
        end_ms: facts.now_ms,
        step_ms: facts.input.chart_step_ms,
        lines: Vec::new(),
        limits: metric
            .and_then(|m| m.limit.as_ref())
            .map(|limit| vec![(limit.value, format!("{} {}", limit.label, human_seconds(limit.value)))])
            .unwrap_or_default(),
        marks: leader_changes(facts),
        caption: String::new(),
        why_missing: metric.map_or("", |m| m.why_missing.as_str()),
    }
}

fn leader_changes(facts: &Facts<'_>) -> Vec<(i64, String)> {
    let changes = facts.input.events.iter().filter(|event| event.kind == EventKind::LeaderChanged);
    changes
        .map(|event| (event.ts_ms, format!("leader → {}", facts.name_of_instance(&event.subject))))
        .collect()
}

fn put_latency(facts: &Facts<'_>) -> LineChart {
    let mut plan = plan(facts, "put_latency", "Put latency");
    plan.lines = ["p50", "p95", "p99"]
        .into_iter()
        .filter_map(|q| Some((q.to_owned(), facts.series("put_latency", "quantile", q)?)))
        .collect();
    let p99 = facts.series("put_latency", "quantile", "p99");
    let finding = match (p99, plan.limits.first()) {
        (Some(series), Some((limit, text))) => finding(facts, "p99", series, *limit, text),
        _ => String::new(),
    };
    let source = p99.and_then(|s| s.labels.get("source"));
    let about = catalogue()
        .get("put_latency")
        .zip(source)
        .and_then(|(metric, source)| metric.queries.iter().find(|q| q.source == source))
        .map(|query| format!(" Source: {} ({}).", query.source, query.about));
    plan.caption = format!("{finding}{}", about.unwrap_or_default());
    LineChart::new(plan)
}

fn by_member(facts: &Facts<'_>, id: &'static str, title: &str) -> LineChart {
    let mut plan = plan(facts, id, title);
    // In the order of the rows, so that a member keeps its colour on all charts.
    plan.lines = facts
        .rows
        .iter()
        .filter_map(|row| Some((facts.name(row), facts.series(id, "instance", row.instance.as_str())?)))
        .collect();
    if let (Some((instance, _)), Some((limit, text))) = (facts.worst(id), plan.limits.first())
        && let Some(series) = facts.series(id, "instance", instance)
    {
        plan.caption = finding(facts, &facts.name_of_instance(instance), series, *limit, text);
    }
    LineChart::new(plan)
}

/// What the worst line does with regard to its limit, in one sentence.
fn finding(facts: &Facts<'_>, name: &str, series: &Series, limit: f64, text: &str) -> String {
    if let Some(since) = above_since(series, limit) {
        let (since, lasts) = (clock(since, facts.now_ms), human_span(facts.now_ms - since));
        return format!("{name} has been above the {text} since {since}, {lasts}.");
    }
    let (_, values) = series.window(facts.now_ms - facts.input.chart_range_ms, facts.now_ms);
    let above = values.iter().filter(|value| **value > limit).count();
    let highest = values.iter().copied().filter(|v| v.is_finite()).reduce(f64::max);
    match (above, highest) {
        (_, None) => String::new(),
        (0, Some(highest)) => {
            format!("{name} stayed below the {text}; its highest value was {}.", human_seconds(highest))
        }
        (n, Some(highest)) => format!(
            "{name} was above the {text} for {} in all; its highest value was {}.",
            human_span(i64::try_from(n).unwrap_or(0) * facts.input.chart_step_ms),
            human_seconds(highest)
        ),
    }
}

fn database(facts: &Facts<'_>) -> LineChart {
    let mut plan = plan(facts, "db_size", "Database size");
    let lines = [("total", "db_size"), ("in use", "db_in_use")];
    plan.lines = lines
        .into_iter()
        .filter_map(|(name, id)| Some((name.to_owned(), facts.panel(id).first()?)))
        .collect();
    let (_, quota) = facts.database();
    plan.limits =
        quota.map(|quota| vec![(quota, format!("quota {}", human_bytes(quota)))]).unwrap_or_default();
    plan.caption = growth(facts).unwrap_or_default();
    LineChart::new(plan)
}

fn growth(facts: &Facts<'_>) -> Option<String> {
    let series = facts.panel("db_size").first()?;
    let (_, values) = series.window(facts.now_ms - facts.input.chart_range_ms, facts.now_ms);
    let mut finite = values.iter().copied().filter(|v| v.is_finite());
    let first = finite.next()?;
    let change = finite.next_back()? - first;
    Some(if change.abs() < 1024.0 {
        "The file did not change in size in this range.".to_owned()
    } else if change > 0.0 {
        format!("The file grew by {} in this range.", human_bytes(change))
    } else {
        format!("The file shrank by {} in this range.", human_bytes(-change))
    })
}

/// The fsync buckets of the member with the worst p99, with a note and a caption.
pub(super) fn distribution(facts: &Facts<'_>) -> (Option<Heatmap>, String, String) {
    let id = "wal_fsync_buckets";
    let step_ms = facts.input.chart_step_ms * HEATMAP_STEPS;
    let all = facts.panel(id);
    let worst = facts.worst("wal_fsync").map(|(instance, _)| instance);
    let first = all.iter().find_map(|s| s.labels.get("instance"));
    let why = || catalogue().get(id).map(|m| crate::report::text::plain(&m.why_missing)).unwrap_or_default();
    let Some(instance) = worst.or(first) else { return (None, String::new(), why()) };
    let own: Vec<&Series> = all.iter().filter(|s| s.labels.get("instance") == Some(instance)).collect();
    let limit = catalogue().get("wal_fsync").and_then(|m| m.limit.as_ref()).map_or(0.01, |l| l.value);
    let Some(map) = heatmap(&own, facts.now_ms - facts.input.chart_range_ms, facts.now_ms, step_ms, limit)
    else {
        return (None, String::new(), why());
    };
    let name = facts.name_of_instance(instance);
    let caption = match &map.modes {
        Some((first, last)) if first != last => {
            format!("Most calls moved from the {first} ms bucket to the {last} ms bucket.")
        }
        Some((_, last)) => format!("Most calls stay in the {last} ms bucket."),
        None => String::new(),
    };
    (Some(map), format!("{name} · ms buckets · share of calls per {}", human_span(step_ms)), caption)
}
