//! The events table: what happened to clusters, each happening once however many saw it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::columns::{Cells, instant, json, plain, text};
use super::key::Key;
use super::scan::{self, TableRow, Wanted};
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

/// Which events to read; absent and empty fields let everything through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub cluster: Option<ClusterName>,
    pub kinds: Vec<EventKind>,
    /// At least this bad.
    pub severity: Option<Severity>,
    /// Part of what it happened to, such as a member's instance or name, or of the text; in any case of letters.
    pub member: Option<String>,
    /// All of these are in the subject, the actor, the text or the details; in any case of letters.
    pub words: Vec<String>,
    pub start_ms: i64,
    pub end_ms: i64,
    /// The newest this many.
    pub limit: Option<usize>,
}

impl Filter {
    /// What decides over a row by its cells. Rows of a kind that this version does not know, written by a newer
    /// one, are passed over: the others are to be read all the same.
    fn wanted(&self) -> Wanted {
        let lower = |text: &String| text.to_lowercase();
        let (words, member) =
            (self.words.iter().map(lower).collect::<Vec<_>>(), self.member.as_ref().map(lower));
        let filter = self.clone();
        Arc::new(move |cells: Cells<'_>| {
            let Some(kind) = cells.text("kind").and_then(EventKind::parse) else { return false };
            let column = |name: &str| cells.text(name).unwrap_or_default();
            (filter.kinds.is_empty() || filter.kinds.contains(&kind))
                && filter.cluster.as_ref().is_none_or(|cluster| column("cluster") == cluster.as_str())
                && filter.severity.is_none_or(|least| Severity::of_label(column("severity")) >= least)
                && member.as_ref().is_none_or(|member| holds(&["subject", "text"].map(column), member))
                && words.iter().all(|word| holds(&["text", "subject", "actor", "details"].map(column), word))
        })
    }
}

/// Whether one of `texts` has `part`, which is in lower case.
fn holds(texts: &[&str], part: &str) -> bool {
    texts.iter().any(|text| {
        // Most text is ASCII, and most of that does not hold it: no copy of it is made.
        if text.is_ascii() && part.is_ascii() {
            let part = part.as_bytes();
            part.is_empty() || text.as_bytes().windows(part.len()).any(|at| at.eq_ignore_ascii_case(part))
        } else {
            text.to_lowercase().contains(part)
        }
    })
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
    let found = scan::read_wanted::<Event>(store, filter.start_ms, filter.end_ms, &filter.wanted()).await?;
    for event in found {
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

    #[tokio::test]
    async fn a_filter_asks_for_all_of_its_parts() {
        let store = Store::in_memory();
        let older =
            Event { severity: Severity::Info, text: "m1 is the leader".to_owned(), ..event("h:1", 1000) };
        let newer = Event {
            kind: EventKind::ConfigChanged,
            actor: Some("ann".to_owned()),
            details: serde_json::json!({"quota": {"before": "2GiB", "after": "ÄRGER"}}),
            ..event("h:2", 2000)
        };
        write(&store, &Writer::new(1, 1), 3000, &[older, newer]).await.expect("written");
        let all = Filter { end_ms: 9000, ..Filter::default() };
        let words = |words: &[&str]| Filter {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            ..all.clone()
        };
        for (filter, subjects) in [
            (all.clone(), &["h:2", "h:1"][..]),
            (words(&["LEADER"]), &["h:2", "h:1"]),
            (words(&["leader", "is THE"]), &["h:1"]),
            (words(&["ann"]), &["h:2"]),
            (words(&["ärger"]), &["h:2"]),
            (words(&["2gib", "h:1"]), &[]),
            (Filter { severity: Some(Severity::Warning), ..all.clone() }, &["h:2"]),
            (Filter { member: Some("H:1".to_owned()), ..all.clone() }, &["h:1"]),
            (Filter { kinds: vec![EventKind::ConfigChanged], ..all.clone() }, &["h:2"]),
            (Filter { cluster: "other".parse().ok(), ..all.clone() }, &[]),
            (Filter { limit: Some(1), ..all.clone() }, &["h:2"]),
            (Filter { start_ms: 1500, ..all.clone() }, &["h:2"]),
        ] {
            let found = query(&store, &filter).await.expect("read");
            let found: Vec<&str> = found.iter().map(|event| event.subject.as_str()).collect();
            assert_eq!(found, subjects, "{filter:?}");
        }
    }
}
