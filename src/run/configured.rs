//! What of the monitor's own configuration is other than at the last start or reload, as events of the clusters that
//! it concerns.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::Services;
use crate::config::{Change, Effective, cluster_of};
use crate::model::{ClusterName, Event, EventKind, Severity, chain};
use crate::store::key::SequenceKey;
use crate::store::{StoreError, events, sequence};

/// At the first look of a store there is nothing to compare with.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn tell(services: &Services) -> Result<(), anyhow::Error> {
    let key = SequenceKey::configuration();
    let now = &services.config.effective;
    let known = sequence::latest::<Effective>(&services.store, &key).await?;
    let (number, before) = known.map_or((0, None), |(number, before)| (number, Some(before)));
    let changes = before.as_ref().map(|before| before.changes(now)).unwrap_or_default();
    if before.is_some() && changes.is_empty() {
        return Ok(());
    }
    let told = changed(services, &changes, number);
    write(services, &told).await?;
    // Another daemon that told the same at this moment wrote the same events.
    sequence::append(&services.store, &key, number + 1, now, &services.writer).await?;
    Ok(())
}

/// A configuration that was refused: once per content and cluster.
pub async fn tell_refused(services: &Services, digest: &str, reasons: &[String]) {
    let kind = EventKind::MonitorConfigRefused;
    let first = reasons.first().map(String::as_str).unwrap_or_default();
    let more = match reasons.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let text = format!("a changed configuration was refused, the old one stays: {first}{more}");
    let details = json!({ "reasons": reasons });
    let names = services.config.clusters.iter().map(|cluster| cluster.config.name.clone());
    let event =
        |cluster| event(services, cluster, kind, Severity::Warning, digest, text.clone(), details.clone());
    if let Err(error) = write(services, &names.map(event).collect::<Vec<_>>()).await {
        tracing::warn!(error = chain(&error), "the refused configuration could not be told as an event");
    }
}

/// One event for each cluster that came, went, or is concerned. What is said outside of `[[cluster]]` concerns all.
fn changed(services: &Services, changes: &BTreeMap<String, Change>, number: u64) -> Vec<Event> {
    let configured: BTreeSet<ClusterName> =
        services.config.clusters.iter().map(|cluster| cluster.config.name.clone()).collect();
    let named = changes.keys().filter_map(|key| cluster_of(key)?.parse::<ClusterName>().ok());
    let concerned: BTreeSet<ClusterName> = configured.iter().cloned().chain(named).collect();
    let mut told = Vec::new();
    for cluster in concerned {
        let of_it: BTreeMap<&String, &Change> = changes
            .iter()
            .filter(|(key, _)| cluster_of(key).is_none_or(|name| name == cluster.as_str()))
            .collect();
        if of_it.is_empty() {
            continue;
        }
        let name = changes.get(&format!("cluster.{cluster}.name"));
        let keys: Vec<&str> = of_it.keys().map(|key| key.as_str()).collect();
        let (kind, text) = match name {
            Some(Change { before: None, .. }) => {
                (EventKind::ClusterAdded, format!("cluster {cluster} is watched from now on"))
            }
            Some(Change { after: None, .. }) => {
                (EventKind::ClusterRemoved, format!("cluster {cluster} is not watched any more"))
            }
            _ => (
                EventKind::MonitorConfigChanged,
                format!("the monitor's configuration changed: {}", keys.join(", ")),
            ),
        };
        let details = json!(of_it);
        let occurrence = format!("{number} {details}");
        told.push(event(services, cluster, kind, Severity::Info, &occurrence, text, details));
    }
    told
}

fn event(
    services: &Services,
    cluster: ClusterName,
    kind: EventKind,
    severity: Severity,
    occurrence: &str,
    text: String,
    details: serde_json::Value,
) -> Event {
    const SUBJECT: &str = "etcd-monitor";
    Event {
        id: Event::id_of(&cluster, kind, SUBJECT, occurrence),
        cluster,
        ts_ms: services.clock.now_ms(),
        kind,
        severity,
        subject: SUBJECT.to_owned(),
        actor: None,
        text,
        details,
    }
}

async fn write(services: &Services, told: &[Event]) -> Result<(), StoreError> {
    if told.is_empty() {
        return Ok(());
    }
    events::write(&services.store, &services.writer, services.clock.now_ms(), told).await.map(drop)
}
