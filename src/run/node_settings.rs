//! Tells when an etcd on this machine runs with other settings than before: etcd tells its flags to nobody, so only who
//! runs beside it can know. Members elsewhere show the few settings that their metrics have (`probe::changes`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Context;
use crate::discover::kubeadm;
use crate::discover::process::{EtcdProcess, etcd_processes};
use crate::model::{ClusterName, Event, EventKind, Instance, Severity, chain};
use crate::store::key::SequenceKey;
use crate::store::{StoreError, events, sequence};
use crate::watch::View;

/// A look reads a few small files of each process: milliseconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What metrics tell of every member, and sooner after a change; said here only if nobody watched meanwhile.
const TOLD_BY_METRICS: &[&str] = &["quota-backend-bytes", "metrics"];

/// Settings by the flag's name.
type Settings = BTreeMap<String, String>;

/// Looks until `shutdown`. `view` knows which members there are.
pub async fn keep(context: Context, view: View, shutdown: CancellationToken) {
    let mut seen: BTreeMap<Instance, EtcdProcess> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = looks.tick() => {}
        }
        let Ok(found) = tokio::task::spawn_blocking(local).await else { continue };
        for (cluster, instance, process) in of_members(&context.refreshed(), &view, found) {
            if seen.get(&instance) == Some(&process) {
                continue;
            }
            let is_first_look = !seen.contains_key(&instance);
            match remember(&context, &cluster, &instance, &process, is_first_look).await {
                Ok(()) => drop(seen.insert(instance, process)),
                // The next look tries again.
                Err(error) => warn!(error = chain(&error), %instance, "settings could not be compared"),
            }
        }
    }
}

/// The processes that can be seen; in a container without the host's processes, what the static pod manifest says.
fn local() -> Vec<EtcdProcess> {
    let mut found = etcd_processes(Path::new("/proc"));
    if found.is_empty() {
        found.extend(kubeadm::settings(Path::new(kubeadm::MANIFEST)));
    }
    found
}

/// Which of the watched members each process is.
fn of_members(
    context: &Context,
    view: &View,
    found: Vec<EtcdProcess>,
) -> Vec<(ClusterName, Instance, EtcdProcess)> {
    if found.is_empty() {
        return Vec::new();
    }
    let read = view.rows().into_iter().map(|row| (row.instance, row.cluster));
    let configured = context.config().clusters.iter().flat_map(|cluster| {
        let endpoints = cluster.config.endpoints.iter();
        let instances = endpoints.filter_map(|endpoint| Instance::of_endpoint(endpoint).ok());
        instances.map(|instance| (instance, cluster.config.name.clone()))
    });
    let members: BTreeMap<Instance, ClusterName> = configured.chain(read).collect();
    let mut matched = Vec::new();
    for process in found {
        let instance = process.instances().into_iter().find(|instance| members.contains_key(instance));
        if let Some((instance, cluster)) = instance.and_then(|i| members.get_key_value(&i)) {
            matched.push((cluster.clone(), instance.clone(), process));
        }
    }
    matched
}

/// Writes down what the process is set to, and tells what is other than when somebody looked last.
async fn remember(
    context: &Context,
    cluster: &ClusterName,
    instance: &Instance,
    process: &EtcdProcess,
    is_first_look: bool,
) -> Result<(), StoreError> {
    let (store, writer, now_ms) = (context.store(), &context.services.writer, context.now_ms());
    let sequence = SequenceKey::settings(instance.as_str());
    let last = sequence::latest::<Settings>(store, &sequence).await?;
    let (number, last) = last.map_or((0, None), |(number, last)| (number, Some(last)));
    if last.as_ref() == Some(&process.settings) {
        return Ok(());
    }
    let event = last.and_then(|last| changed(cluster, instance, process, &last, is_first_look, now_ms));
    // Before the settings: a process that dies here finds the change again.
    if let Some(event) = event {
        events::write(store, writer, now_ms, std::slice::from_ref(&event)).await?;
        context.services.judge.deliverer().remember_events(&[event]);
        context.services.changed.notify_one();
    }
    sequence::append(store, &sequence, number + 1, &process.settings, writer).await?;
    debug!(%instance, pid = process.pid, "the settings of a local etcd are written down");
    Ok(())
}

fn changed(
    cluster: &ClusterName,
    instance: &Instance,
    process: &EtcdProcess,
    before: &Settings,
    is_first_look: bool,
    now_ms: i64,
) -> Option<Event> {
    let after = &process.settings;
    let mut details = Map::new();
    for key in before.keys().chain(after.keys()) {
        let (old, new) = (before.get(key), after.get(key));
        if old != new && (is_first_look || !TOLD_BY_METRICS.contains(&key.as_str())) {
            let shown = |value: Option<&String>| value.map_or("not set", String::as_str).to_owned();
            details.insert(key.clone(), json!({ "before": shown(old), "after": shown(new) }));
        }
    }
    if details.is_empty() {
        return None;
    }
    let keys: Vec<&str> = details.keys().map(String::as_str).collect();
    let text = format!("etcd {instance} runs with other flags: {}", keys.join(", "));
    let details = Value::Object(details);
    let occurrence = format!("{details} of {}", process.started_ticks);
    Some(Event {
        id: Event::id_of(cluster, EventKind::ConfigChanged, instance.as_str(), &occurrence),
        cluster: cluster.clone(),
        ts_ms: now_ms,
        kind: EventKind::ConfigChanged,
        severity: Severity::Info,
        subject: instance.to_string(),
        actor: None,
        text,
        details,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_what_was_and_is_and_leaves_the_rest_to_metrics() {
        let settings = |pairs: &[(&str, &str)]| -> Settings {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let before = settings(&[("heartbeat-interval", "100"), ("quota-backend-bytes", "1"), ("name", "m1")]);
        let after = settings(&[("election-timeout", "5000"), ("quota-backend-bytes", "2"), ("name", "m1")]);
        let cluster: ClusterName = "prod".parse().expect("a name");
        let instance: Instance = "m1:2379".parse().expect("an instance");
        let process = EtcdProcess { pid: 1, started_ticks: 2, settings: after };
        let told = |is_first_look| {
            let event = changed(&cluster, &instance, &process, &before, is_first_look, 5);
            event.map(|event| event.details.as_object().expect("an object").clone()).unwrap_or_default()
        };
        let mut wanted = json!({
            "election-timeout": { "before": "not set", "after": "5000" },
            "heartbeat-interval": { "before": "100", "after": "not set" },
        });
        assert_eq!(Value::Object(told(false)), wanted);
        wanted["quota-backend-bytes"] = json!({ "before": "1", "after": "2" });
        assert_eq!(Value::Object(told(true)), wanted);
        assert_eq!(changed(&cluster, &instance, &process, &process.settings, true, 5), None);
    }
}
