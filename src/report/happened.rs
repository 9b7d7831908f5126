//! Events as pages, tables and exports show them: cleaned of what acts or may not be told, with their changes as
//! differences and the metrics that moved around them.

use serde::Serialize;
use serde_json::{Value, json};

use super::facts::{Facts, class_of};
use super::pages::Badge;
use super::panels::panels;
use super::text::clock;
use crate::correlate::{Subject, Window, of_series, strongest};
use crate::model::catalogue::catalogue;
use crate::model::unit::rfc3339;
use crate::model::{Event, EventKind, Severity, csv_cell};

/// Charts have a point every five minutes: three of them on each side.
const AROUND_MS: i64 = 15 * 60_000;
/// So many metrics are named with one event.
const MOVED_MAX: usize = 3;

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Happened {
    pub(crate) id: String,
    pub(crate) badge: Badge,
    pub(crate) severity: &'static str,
    pub(crate) kind: &'static str,
    /// The symbol that stands for kinds like it.
    pub(crate) mark: &'static str,
    pub(crate) cluster: String,
    pub(crate) subject: String,
    pub(crate) time: String,
    pub(crate) clock: String,
    pub(crate) text: String,
    pub(crate) actor: Option<String>,
    pub(crate) changes: Vec<Change>,
    /// What metrics did, as sentences, the most remarkable first.
    pub(crate) moved: Vec<String>,
}

/// What was, and what is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Happened {
    /// `clean` takes out of text what must not be shown.
    pub(crate) fn new(event: &Event, now_ms: i64, clean: impl Fn(&str) -> String) -> Self {
        let word = match event.severity {
            Severity::Info => "Info",
            Severity::Warning => "Warning",
            Severity::Critical => "Critical",
        };
        Self {
            id: event.id.clone(),
            badge: Badge::new(class_of(event.severity), word),
            severity: event.severity.as_str(),
            kind: event.kind.as_str(),
            mark: mark(event.kind),
            cluster: event.cluster.to_string(),
            subject: clean(&event.subject),
            time: rfc3339(event.ts_ms),
            clock: clock(event.ts_ms, now_ms),
            text: clean(&event.text),
            actor: event.actor.as_deref().map(&clean),
            changes: changes(&event.details, &clean),
            moved: Vec::new(),
        }
    }

    /// With the metrics of the cluster's charts that moved.
    pub(crate) fn of_cluster(facts: &Facts<'_>, event: &Event) -> Self {
        let moved = moved(facts, event.ts_ms, Some(&event.subject));
        Self { moved, ..Self::new(event, facts.now_ms, |text| facts.clean(text)) }
    }

    pub(crate) fn to_json(&self) -> Value {
        let changes: serde_json::Map<String, Value> = self
            .changes
            .iter()
            .map(|change| (change.key.clone(), json!({ "before": change.before, "after": change.after })))
            .collect();
        json!({
            "id": self.id, "t": self.time, "severity": self.severity, "cluster": self.cluster, "kind": self.kind,
            "subject": self.subject, "actor": self.actor, "text": self.text, "changes": changes,
        })
    }

    /// The columns of `etcd-monitor events --csv`, with the changes instead of all details.
    pub(crate) const CSV_HEAD: &'static str = "id,time,severity,cluster,kind,subject,actor,text,changes\n";

    pub(crate) fn push_csv(&self, out: &mut String) {
        let change = |c: &Change| format!("{}: {} → {}", c.key, c.before, c.after);
        let changes = self.changes.iter().map(change).collect::<Vec<_>>().join("; ");
        let actor = self.actor.as_deref().unwrap_or_default();
        let cells = [
            self.id.as_str(),
            &self.time,
            self.severity,
            &self.cluster,
            self.kind,
            &self.subject,
            actor,
            &self.text,
            &changes,
        ];
        out.push_str(&cells.map(csv_cell).join(","));
        out.push('\n');
    }
}

/// What the cluster's charts did at `at_ms`, as sentences.
pub(crate) fn moved(facts: &Facts<'_>, at_ms: i64, instance: Option<&str>) -> Vec<String> {
    let window = Window { at_ms, span_ms: AROUND_MS };
    let mut shifts = Vec::new();
    for panel in panels().iter().filter(|panel| panel.step_ms <= AROUND_MS / 3) {
        let Some(metric) = catalogue().get(&panel.id) else { continue };
        let subject =
            Subject { id: &metric.id, title: &metric.title, unit: metric.unit, worse: metric.worse };
        shifts.extend(facts.panel(&panel.id).iter().filter_map(|one| of_series(subject, one, window)));
    }
    let kept = strongest(shifts, instance, MOVED_MAX);
    kept.iter()
        .map(|shift| facts.clean(&shift.sentence(|instance| facts.name_of_instance(instance))))
        .collect()
}

fn changes(details: &Value, clean: &impl Fn(&str) -> String) -> Vec<Change> {
    let plain = |value: &Value| clean(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let pairs = details.as_object().into_iter().flatten().filter_map(|(key, value)| {
        let (before, after) = (value.get("before")?, value.get("after")?);
        Some(Change { key: clean(key), before: plain(before), after: plain(after) })
    });
    pairs.collect()
}

/// One symbol for kinds that are looked for together.
fn mark(kind: EventKind) -> &'static str {
    use EventKind::*;
    match kind {
        LeaderChanged | ElectionsHeld | LeaderLost => "leader",
        AlarmRaised | AlarmCleared | AlertFiring | AlertResolved | AlertAcknowledged | AlertGivenBack => {
            "alert"
        }
        VersionChanged | ConfigChanged | MonitorConfigChanged | MonitorConfigRefused => "config",
        Compaction | DefragStarted | DefragEnded | RaftSnapshotSaved | RaftSnapshotApplied => "storage",
        BackupDone | BackupFailed | BackupVerified | BackupBad | BackupsDeleted | RestoreDrill => "storage",
        BenchDone | DiskChecked | AdviceOpened | AdviceClosed => "bench",
        SilenceStarted | SilenceEnded | MaintenanceStarted | MaintenanceEnded => "quiet",
        // Members and clusters: that somebody is there, or is not.
        _ => "member",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterName;

    #[test]
    fn events_are_cleaned_and_show_what_was_and_is() {
        let cluster: ClusterName = "prod".parse().expect("a name");
        let event = Event {
            id: "1".to_owned(),
            cluster,
            ts_ms: 1_763_899_200_000,
            kind: EventKind::ConfigChanged,
            severity: Severity::Info,
            subject: "10.0.0.1:2379".to_owned(),
            actor: Some("=cmd".to_owned()),
            text: "the quota of 10.0.0.1:2379 changed, at last".to_owned(),
            details: json!({ "quota": { "before": 1, "after": "10.0.0.1:2379" }, "term": 7 }),
        };
        let happened = Happened::new(&event, event.ts_ms, |text| text.replace("10.0.0.1:2379", "m1"));
        let change = Change { key: "quota".to_owned(), before: "1".to_owned(), after: "m1".to_owned() };
        assert_eq!((happened.mark, happened.changes.as_slice()), ("config", &[change][..]));
        let mut csv = String::new();
        happened.push_csv(&mut csv);
        assert_eq!(
            csv,
            "1,2025-11-23T12:00:00Z,info,prod,config-changed,m1,'=cmd,\"the quota of m1 changed, at last\",quota: 1 → m1\n"
        );
        let columns = |line: &str| line.trim().split(',').count();
        assert_eq!(columns(Happened::CSV_HEAD), 9);
        assert!(!happened.to_json().to_string().contains("10.0.0.1"), "{happened:?}");
    }
}
