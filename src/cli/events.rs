//! `events`: what happened, filtered, and exported.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::alerts::Least;
use super::query::parse_time;
use super::tags::Tags;
use super::{Global, Stop, open_with_found, output};
use crate::config::Overrides;
use crate::correlate::LOOK_BACK_MS;
use crate::model::unit::{human_span, parse_duration, rfc3339};
use crate::model::{ClusterName, Event, EventKind, csv_cell};
use crate::promql::EvalOptions;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::{Store, events};
use crate::survey::{self, Around};

#[derive(Debug, Args)]
pub struct Events {
    /// Only those with all these words, in any case of letters: in the text, the subject, the actor, the details
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// From then on: how long ago, such as 2h or 30d, or a time (RFC 3339, Unix seconds)
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = instant)]
    since: When,
    /// Until then, as --since
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<When>,
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    #[command(flatten)]
    tags: Tags,
    /// Only of this kind; a star at the end stands for anything: alert-*. May be given several times
    #[arg(long, value_name = "KIND", value_parser = kinds)]
    kind: Vec<Kinds>,
    /// Only those at least this bad
    #[arg(long, value_enum, value_name = "SEVERITY")]
    severity: Option<Least>,
    /// Only of this member, by its instance or name
    #[arg(long, value_name = "MEMBER")]
    member: Option<String>,
    /// The newest this many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// The oldest first
    #[arg(long)]
    reverse: bool,
    /// Show the one whose id begins so, whole: the metrics that moved around it, and what else happened to its
    /// cluster in the 15 minutes before
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values
    #[arg(long)]
    csv: bool,
}

/// What may have led to an event is looked for this far back, ms.
const BEFORE_MS: i64 = LOOK_BACK_MS;

/// So many metrics that moved are shown with one event.
const METRICS_SHOWN: usize = 10;

/// A point in time, as people say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Ago(i64),
    At(i64),
}

impl When {
    fn at_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::Ago(ago_ms) => now_ms.saturating_sub(ago_ms),
            Self::At(at_ms) => at_ms,
        }
    }
}

fn instant(text: &str) -> Result<When, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(When::Ago(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    parse_time(text).map(When::At).map_err(|_| {
        format!("{text:?} is neither a duration (2h, 30d) nor a time (2026-11-23T16:00:00Z, Unix seconds)")
    })
}

/// The kinds that one `--kind` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kinds(Vec<EventKind>);

fn kinds(text: &str) -> Result<Kinds, String> {
    let fits = |kind: &EventKind| match text.strip_suffix('*') {
        Some(beginning) => kind.as_str().starts_with(beginning),
        None => kind.as_str() == text,
    };
    let found: Vec<EventKind> = EventKind::ALL.into_iter().filter(fits).collect();
    if !found.is_empty() {
        return Ok(Kinds(found));
    }
    let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    Err(format!("there is no such kind; there are {}", known.join(", ")))
}

const COLUMNS: [&str; 7] = ["time", "severity", "cluster", "kind", "subject", "id", "what happened"];

impl Events {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let now_ms = Clock::System.now_ms();
        let tagged = self.tags.clusters(&config, &store, now_ms).await?;
        let mut filter = self.filter(now_ms);
        if tagged.is_some() {
            // The newest of these clusters, however many others there are.
            filter.limit = Some(usize::MAX);
        }
        let mut found = query(&store, &filter).await?;
        if let Some(names) = &tagged {
            found.retain(|event| names.contains(&event.cluster));
            found.truncate(if self.id.is_some() { usize::MAX } else { self.limit });
        }
        if let Some(id) = &self.id {
            found.retain(|event| event.id.starts_with(id.as_str()));
            return self.show(&store, found).await;
        }
        if found.len() == self.limit {
            output::note(format_args!("the newest {} are shown; --limit shows more", self.limit));
        }
        if self.reverse {
            found.reverse();
        }
        if self.json {
            output::json(&found)?;
        } else if self.csv {
            output::line("id,time,severity,cluster,kind,subject,actor,text,details");
            found.iter().for_each(print_csv);
        } else if found.is_empty() {
            output::note("no event");
        } else {
            output::table(&COLUMNS, found.iter().map(cells).collect());
        }
        Ok(Exit::Ok.into())
    }

    fn filter(&self, now_ms: i64) -> events::Filter {
        events::Filter {
            cluster: self.cluster.clone(),
            kinds: self.kind.iter().flat_map(|kinds| kinds.0.clone()).collect(),
            severity: self.severity.map(Least::severity),
            member: self.member.clone(),
            words: self.words.clone(),
            start_ms: self.since.at_ms(now_ms),
            // Clocks of other witnesses may be a little ahead.
            end_ms: self.until.map_or(now_ms + BEFORE_MS, |until| until.at_ms(now_ms)),
            limit: Some(if self.id.is_some() { usize::MAX } else { self.limit }),
        }
    }

    async fn show(&self, store: &Store, found: Vec<Event>) -> Result<ExitCode, Stop> {
        let mut found = found.into_iter();
        let (Some(event), None) = (found.next(), found.next()) else {
            let id = self.id.as_deref().unwrap_or_default();
            return Err(Stop::Usage(format!(
                "no single event of this time has an id that begins with {id:?}"
            )));
        };
        let before = before(store, &event).await?;
        let metrics = survey::around(
            store,
            EvalOptions::default(),
            &event.cluster,
            Some(event.subject.as_str()),
            event.ts_ms,
            METRICS_SHOWN,
        );
        let metrics = metrics.await.map_err(|error| Stop::Failed(error.into()))?;
        if self.json {
            output::json(&serde_json::json!({ "event": event, "metrics": metrics, "before": before }))?;
            return Ok(Exit::Ok.into());
        }
        output::line(format_args!("{}  {}  {}", rfc3339(event.ts_ms), event.severity, event.kind.as_str()));
        output::line(format_args!("{}: {}", event.cluster, event.text));
        if let Some(actor) = &event.actor {
            output::line(format_args!("by {actor}"));
        }
        details(&event.details).into_iter().for_each(output::line);
        output::line("");
        moved(&metrics).into_iter().for_each(output::line);
        output::line("");
        if before.is_empty() {
            output::line("Nothing else happened in the 15 minutes before.");
        } else {
            output::line("In the 15 minutes before:");
            output::table(&COLUMNS, before.iter().map(cells).collect());
        }
        Ok(Exit::Ok.into())
    }
}

async fn query(store: &Store, filter: &events::Filter) -> Result<Vec<Event>, Stop> {
    events::query(store, filter).await.map_err(|error| Stop::Failed(error.into()))
}

/// What else happened to the event's cluster before it, newest first.
async fn before(store: &Store, event: &Event) -> Result<Vec<Event>, Stop> {
    let filter = events::Filter {
        cluster: Some(event.cluster.clone()),
        start_ms: event.ts_ms - BEFORE_MS,
        end_ms: event.ts_ms,
        ..events::Filter::default()
    };
    let mut found = query(store, &filter).await?;
    found.retain(|other| other.id != event.id);
    Ok(found)
}

/// What the metrics did, as lines.
pub(super) fn moved(around: &Around) -> Vec<String> {
    let span = human_span(around.window.span_ms);
    if around.series_compared == 0 {
        return vec!["No metrics of that time are stored.".to_owned()];
    }
    if around.shifts.is_empty() {
        return vec![format!("No metric moved within {span} of it, of {} series.", around.series_compared)];
    }
    let mut lines = vec![format!("Metrics, {span} before and after it:")];
    lines.extend(around.shifts.iter().map(|shift| format!("  {}", shift.sentence(str::to_owned))));
    lines
}

/// Details as lines; what has a value before and after is a difference.
fn details(details: &Value) -> Vec<String> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut lines = Vec::new();
    for (key, value) in details.as_object().into_iter().flatten() {
        match (value.get("before"), value.get("after")) {
            (Some(before), Some(after)) => {
                lines.push(format!("  {key}"));
                lines.push(format!("  - {}", plain(before)));
                lines.push(format!("  + {}", plain(after)));
            }
            _ => lines.push(format!("  {key}: {}", plain(value))),
        }
    }
    lines
}

fn cells(event: &Event) -> Vec<String> {
    vec![
        rfc3339(event.ts_ms),
        event.severity.to_string(),
        event.cluster.to_string(),
        event.kind.as_str().to_owned(),
        event.subject.clone(),
        event.id.chars().take(8).collect(),
        event.text.clone(),
    ]
}

fn print_csv(event: &Event) {
    let time = rfc3339(event.ts_ms);
    let details = event.details.to_string();
    let cells = [
        event.id.as_str(),
        &time,
        event.severity.as_str(),
        event.cluster.as_str(),
        event.kind.as_str(),
        &event.subject,
        event.actor.as_deref().unwrap_or(""),
        &event.text,
        &details,
    ];
    output::line(cells.map(csv_cell).join(","));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_or_instants() {
        assert_eq!(instant("2h").map(|when| when.at_ms(10_000_000)), Ok(2_800_000));
        assert_eq!(instant("2025-11-24T16:00:00Z"), Ok(When::At(1_764_000_000_000)));
        assert!(instant("yesterday").is_err_and(|error| error.contains("neither a duration")));
    }

    #[test]
    fn a_star_stands_for_the_rest_of_a_kind() {
        let alerts = kinds("alert-*").expect("known").0;
        assert_eq!((alerts.len(), alerts[0]), (4, EventKind::AlertFiring));
        assert_eq!(kinds("leader-changed"), Ok(Kinds(vec![EventKind::LeaderChanged])));
        assert!(kinds("leader").is_err_and(|error| error.contains("leader-changed")));
        assert_eq!(kinds("*").expect("all").0.len(), EventKind::ALL.len());
    }

    #[test]
    fn what_was_and_is_reads_as_a_difference() {
        let details = details(&serde_json::json!({ "quota": { "before": 1, "after": "2" }, "term": 7 }));
        assert_eq!(details, ["  quota", "  - 1", "  + 2", "  term: 7"]);
    }
}
