//! What happened in the made-up fleet: one cluster's slow disk has a cause, another's events are hostile.

use serde_json::{Value, json};

use super::{DATA_THROUGH_MS, HOUR_MS};
use crate::model::{ClusterName, Event, EventKind, Severity};
use crate::report::ClusterInput;

const MINUTE_MS: i64 = 60_000;

/// The events of the last day, beside the change of the leader that each cluster has.
pub(super) fn add(cluster: &mut ClusterInput) {
    let member = |n: usize| cluster.rows.get(n).map(|row| row.instance.to_string()).unwrap_or_default();
    let (first, second) = (member(0), member(1));
    let quota = json!({ "quota-backend-bytes": { "before": "2147483648", "after": "8589934592" } });
    let more: Vec<Told<'_>> = match cluster.name.as_str() {
        "stage-us-02" => vec![
            (EventKind::DefragStarted, 291, &second, "etcd-1 defragments its database", None, Value::Null),
            (
                EventKind::ConfigChanged,
                300,
                &first,
                "flags of etcd-0 changed: quota-backend-bytes",
                Some("ann"),
                quota,
            ),
            (
                EventKind::Compaction,
                30,
                &first,
                "history was compacted up to revision 99120",
                None,
                Value::Null,
            ),
        ],
        "prod-eu-01" => vec![
            (
                EventKind::MemberUnreachable,
                5,
                &first,
                "member etcd-1 does not answer: connection refused",
                None,
                Value::Null,
            ),
            (EventKind::LeaderLost, 4, &first, "the members that answer know no leader", None, Value::Null),
        ],
        "stage-eu-05" => vec![(
            EventKind::ConfigChanged,
            25,
            &first,
            "<script>alert('event')</script> \u{202e}gnp.exe {{ 7 * 7 }}",
            Some("=HYPERLINK(\"javascript:alert(7)\")"),
            json!({ "</li><script>": { "before": "<img src=x onerror=alert(8)>", "after": "\u{0}\u{2066}" } }),
        )],
        _ => Vec::new(),
    };
    let events: Vec<Event> = more.into_iter().map(|told| event(&cluster.name, told)).collect();
    cluster.events.extend(events);
}

/// Of the whole fleet, newest first; also of a cluster that is not there any more.
pub(super) fn history(clusters: &[ClusterInput]) -> Vec<Event> {
    let mut events: Vec<Event> = clusters.iter().flat_map(|cluster| cluster.events.clone()).collect();
    for (n, cluster) in clusters.iter().enumerate().take(40) {
        let minutes = 26 * 60 + i64::try_from(n).unwrap_or(0) * 17 * 60;
        let subject = cluster.rows.first().map(|row| row.instance.to_string()).unwrap_or_default();
        let upgraded = json!({ "version": { "before": "3.5.20", "after": "3.5.21" } });
        let text = "the version changed from 3.5.20 to 3.5.21";
        events
            .push(event(&cluster.name, (EventKind::VersionChanged, minutes, &subject, text, None, upgraded)));
    }
    if let Ok(former) = "former-eu-99".parse() {
        let text = "cluster former-eu-99 is not watched any more";
        events.push(event(
            &former,
            (EventKind::ClusterRemoved, 5 * 24 * 60, "former-eu-99", text, None, Value::Null),
        ));
    }
    events.sort_by(|a, b| b.ts_ms.cmp(&a.ts_ms).then_with(|| a.id.cmp(&b.id)));
    events
}

/// Kind, minutes ago, subject, text, who, details.
type Told<'a> = (EventKind, i64, &'a str, &'a str, Option<&'a str>, Value);

fn event(cluster: &ClusterName, (kind, minutes, subject, text, actor, details): Told<'_>) -> Event {
    debug_assert!(minutes * MINUTE_MS < 31 * 24 * HOUR_MS);
    let severity = match kind {
        EventKind::LeaderLost => Severity::Critical,
        EventKind::MemberUnreachable => Severity::Warning,
        _ => Severity::Info,
    };
    Event {
        id: Event::id_of(cluster, kind, subject, &minutes.to_string()),
        cluster: cluster.clone(),
        ts_ms: DATA_THROUGH_MS - minutes * MINUTE_MS,
        kind,
        severity,
        subject: subject.to_owned(),
        actor: actor.map(str::to_owned),
        text: text.to_owned(),
        details,
    }
}
