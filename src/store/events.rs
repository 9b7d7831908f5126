//! The events table: what happened to clusters, each happening once however many saw it.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;

use super::columns::{Cells, instant, json, plain, text};
use super::key::Key;
use super::scan::{self, TableRow};
use super::table::Table;
use super::{Store, StoreError, Writer};
use crate::model::{ClusterName, Event, EventKind, Severity};

impl TableRow for Event {
    const TABLE: Table = Table::Events;

    fn time_ms(&self) -> i64 {
        self.ts_ms
    }

    fn order(&self) -> (String, String, i64, i64) {
        (self.cluster.to_string(), self.id.clone(), 0, self.ts_ms)
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        let details: Vec<String> = rows.iter().map(|r| json(&r.details)).collect();
        vec![
            text(rows.iter().map(|r| Some(r.cluster.as_str()))),
            plain(rows.iter().map(|r| r.id.as_str())),
            instant(rows.iter().map(|r| r.ts_ms)),
            text(rows.iter().map(|r| Some(r.kind.as_str()))),
            text(rows.iter().map(|r| Some(r.severity.as_str()))),
            text(rows.iter().map(|r| Some(r.subject.as_str()))),
            text(rows.iter().map(|r| r.actor.as_deref())),
            plain(rows.iter().map(|r| r.text.as_str())),
            plain(details.iter().map(String::as_str)),
        ]
    }

    fn of_cells(cells: Cells<'_>) -> Option<Self> {
        Some(Self {
            id: cells.text("id")?.to_owned(),
            cluster: cells.parsed("cluster")?,
            ts_ms: cells.instant("ts")?,
            kind: EventKind::parse(cells.text("kind")?)?,
            severity: Severity::of_label(cells.text("severity")?),
            subject: cells.text("subject")?.to_owned(),
            actor: cells.text("actor").map(str::to_owned),
            text: cells.text("text")?.to_owned(),
            details: cells.json("details")?,
        })
    }
}

/// Which events to read; absent fields let everything through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub cluster: Option<ClusterName>,
    pub kinds: Vec<EventKind>,
    pub start_ms: i64,
    pub end_ms: i64,
    /// The newest this many.
    pub limit: Option<usize>,
}

/// Writes events. One that was written before, by whomever, is one event to readers.
///
/// # Errors
/// When the store cannot be written.
pub async fn write(
    store: &Store,
    writer: &Writer,
    flush_ms: i64,
    events: &[Event],
) -> Result<Vec<Key>, StoreError> {
    scan::write(store, writer, flush_ms, events).await
}

/// The events that fit, newest first. Of several witnesses of one event the earliest counts.
///
/// # Errors
/// When a file cannot be read.
pub async fn query(store: &Store, filter: &Filter) -> Result<Vec<Event>, StoreError> {
    let mut by_id: BTreeMap<String, Event> = BTreeMap::new();
    for event in scan::read::<Event>(store, filter.start_ms, filter.end_ms).await? {
        let fits = filter.cluster.as_ref().is_none_or(|cluster| event.cluster == *cluster)
            && (filter.kinds.is_empty() || filter.kinds.contains(&event.kind));
        if !fits {
            continue;
        }
        match by_id.get_mut(&event.id) {
            Some(known) if known.ts_ms <= event.ts_ms => {}
            Some(known) => *known = event,
            None => {
                by_id.insert(event.id.clone(), event);
            }
        }
    }
    let mut events: Vec<Event> = by_id.into_values().collect();
    events.sort_by(|a, b| b.ts_ms.cmp(&a.ts_ms).then_with(|| a.id.cmp(&b.id)));
    events.truncate(filter.limit.unwrap_or(usize::MAX));
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(subject: &str, ts_ms: i64) -> Event {
        let cluster: ClusterName = "prod".parse().expect("name");
        Event {
            id: Event::id_of(&cluster, EventKind::LeaderChanged, subject, "7"),
            cluster,
            ts_ms,
            kind: EventKind::LeaderChanged,
            severity: Severity::Warning,
            subject: subject.to_owned(),
            actor: None,
            text: "the leader changed".to_owned(),
            details: serde_json::json!({"term": 7}),
        }
    }

    #[tokio::test]
    async fn two_witnesses_make_one_event() {
        let store = Store::in_memory();
        for (random, ts_ms) in [(1, 2000), (2, 1000)] {
            let events = [event("h:1", ts_ms), event("h:2", ts_ms + 500)];
            write(&store, &Writer::new(1, random), 3000, &events).await.expect("write");
        }
        let all = Filter { end_ms: 9000, ..Filter::default() };
        let found = query(&store, &all).await.expect("read");
        assert_eq!(found, [event("h:2", 1500), event("h:1", 1000)]);
        let none = Filter { kinds: vec![EventKind::AlarmRaised], ..all };
        assert_eq!(query(&store, &none).await.expect("read"), []);
    }
}
