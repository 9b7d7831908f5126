//! Which clusters the sources name, over time: what is new is watched, what is gone stays for a grace, and what was
//! found is kept in the store, so that a restart, other hosts and the command line know it without asking.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::context::{Context, Services};
use crate::config::Config;
use crate::discover::source::{Look, Source};
use crate::etcd::ClusterConfig;
use crate::model::{ClusterName, Event, EventKind, Severity, chain};
use crate::store::key::SequenceKey;
use crate::store::sequence::{self, Appended};
use crate::store::{Store, StoreError, events};
use crate::watch::Change;

/// What one source named, as the store keeps it. Secrets are references there, as in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Found {
    clusters: Vec<ClusterConfig>,
    /// Since when a cluster is not named any more, ms since the epoch.
    missing_since_ms: BTreeMap<ClusterName, i64>,
}

impl Found {
    /// What is so after a look. While an entry could not be read nothing counts as gone.
    fn after(&self, look: &Look, grace_ms: i64, now_ms: i64) -> Self {
        let mut next = Self { clusters: look.clusters.values().cloned().collect(), ..Self::default() };
        for cluster in self.clusters.iter().filter(|known| !look.clusters.contains_key(&known.name)) {
            let since_ms = self.missing_since_ms.get(&cluster.name).copied();
            if look.problems.is_empty() {
                let since_ms = since_ms.unwrap_or(now_ms);
                if now_ms - since_ms >= grace_ms {
                    continue;
                }
                next.missing_since_ms.insert(cluster.name.clone(), since_ms);
            } else {
                next.missing_since_ms.extend(since_ms.map(|since_ms| (cluster.name.clone(), since_ms)));
            }
            next.clusters.push(cluster.clone());
        }
        next.clusters.sort_by(|a, b| a.name.cmp(&b.name));
        next
    }
}

/// The configuration with the clusters that its sources named last. What cannot be read is left out, and said.
pub async fn with_remembered(config: Config, store: &Store) -> Config {
    if config.sources.is_empty() {
        return config;
    }
    let found = match remembered(&config, store).await {
        Ok(found) => found,
        Err(error) => {
            warn!(error = chain(&error), "which clusters were found before cannot be read");
            return config;
        }
    };
    config.with_found(found).unwrap_or_else(|errors| {
        warn!("the clusters that were found before are left out: {errors}");
        config
    })
}

async fn remembered(config: &Config, store: &Store) -> Result<Vec<ClusterConfig>, StoreError> {
    let mut all = Vec::new();
    for source in &config.sources {
        all.extend(read(store, source).await?.1.clusters);
    }
    Ok(all)
}

/// Takes over what the store knows by now.
pub async fn refresh(services: &Services) {
    if services.config.sources.is_empty() {
        return;
    }
    let found = remembered(&services.config, &services.store).await;
    let taken = found.map_err(|error| chain(&error)).map(|found| services.take_found(found));
    match taken {
        Ok(Ok(())) => {}
        Ok(Err(errors)) => warn!("the found clusters are left out: {errors}"),
        Err(error) => warn!(error, "which clusters were found cannot be read"),
    }
}

/// Asks one source again and again, until the services end. What goes wrong is said once, and costs no other source
/// anything.
pub async fn keep(services: Arc<Services>, source: Arc<Source>) {
    let mut looks = interval(source.config().interval.0);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let name = &source.config().name;
    let mut said = Vec::new();
    loop {
        if services.shutdown.clone().run_until_cancelled(looks.tick()).await.is_none() {
            return;
        }
        let problems = match look(&services, &source).await {
            Ok((_, problems)) => problems,
            Err(error) => vec![format!("{error:#}")],
        };
        for problem in problems.iter().filter(|problem| !said.contains(*problem)) {
            warn!(source = %name, "{problem}; what it named before stays");
        }
        if problems.is_empty() && !said.is_empty() {
            info!(source = %name, "the source answers again");
        }
        said = problems;
    }
}

/// What this process knows of its sources, by their names: with the number of the newest object in the store. One look
/// at a time changes it.
#[derive(Default)]
pub(super) struct Memory(Mutex<BTreeMap<ClusterName, (u64, Found)>>);

/// Asks once, and takes over and stores what is new. Returns how many clusters the source names, and what is wrong with
/// its entries.
///
/// # Errors
/// When the source gives no answer, or the store cannot be used: what is new is watched all the same.
pub async fn look(services: &Services, source: &Source) -> anyhow::Result<(usize, Vec<String>)> {
    let look = source.look().await?;
    let mut memory = services.discovered.0.lock().await;
    let known = match memory.get(&source.config().name) {
        Some(known) => known.clone(),
        None => read(&services.store, source).await?,
    };
    let (number, before) = known;
    let grace_ms = i64::try_from(source.config().removal_grace.0.as_millis()).unwrap_or(i64::MAX);
    let next = before.after(&look, grace_ms, services.clock.now_ms());
    let changed = (next != before).then(|| next.clone());
    memory.insert(source.config().name.clone(), (number, next));
    let mut all = Vec::new();
    for source in &services.config.sources {
        let name = &source.config().name;
        if !memory.contains_key(name) {
            memory.insert(name.clone(), read(&services.store, source).await?);
        }
        all.extend(memory.get(name).into_iter().flat_map(|(_, found)| found.clusters.clone()));
    }
    services.take_found(all)?;
    if let Some(next) = changed {
        let kept = keep_in_store(services, source, (number, &before), next).await;
        // What could not be written is new again with the next look.
        memory.insert(source.config().name.clone(), kept.as_ref().map_or((number, before), Clone::clone));
        kept?;
    }
    Ok((look.clusters.len(), look.problems))
}

async fn read(store: &Store, source: &Source) -> Result<(u64, Found), StoreError> {
    let sequence = SequenceKey::discovered(source.config().name.as_str());
    Ok(sequence::latest::<Found>(store, &sequence).await?.unwrap_or_default())
}

/// Tells what is new, and writes it down. Returns what is there then, which another host may have written.
async fn keep_in_store(
    services: &Services,
    source: &Source,
    (number, before): (u64, &Found),
    next: Found,
) -> Result<(u64, Found), StoreError> {
    let now_ms = services.clock.now_ms();
    // Before they are written down: a process that dies here finds the change again.
    let told = told(source, before, &next, number, now_ms);
    if !told.is_empty() {
        events::write(&services.store, &services.writer, now_ms, &told).await?;
        services.judge.deliverer().remember_events(&told);
    }
    let sequence = SequenceKey::discovered(source.config().name.as_str());
    match sequence::append(&services.store, &sequence, number + 1, &next, &services.writer).await? {
        Appended::Won => Ok((number + 1, next)),
        Appended::Lost(there) => Ok(there.unwrap_or((number, next))),
    }
}

/// One event for each cluster that came, went, or is reached in another way. Hosts that see the same tell the same.
fn told(source: &Source, before: &Found, after: &Found, number: u64, now_ms: i64) -> Vec<Event> {
    let name = &source.config().name;
    let by_name = |found: &Found| -> BTreeMap<ClusterName, ClusterConfig> {
        found.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.clone())).collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let event = |cluster: &ClusterName, kind: EventKind, text: String, details: serde_json::Value| Event {
        id: Event::id_of(cluster, kind, name.as_str(), &format!("{number} {details}")),
        cluster: cluster.clone(),
        ts_ms: now_ms,
        kind,
        severity: Severity::Info,
        subject: name.to_string(),
        actor: None,
        text,
        details,
    };
    let mut told = Vec::new();
    for (cluster, config) in &after {
        let endpoints = config.endpoints.join(", ");
        match before.get(cluster) {
            None => told.push(event(
                cluster,
                EventKind::ClusterAdded,
                format!("cluster {cluster} was found by {name} and is watched from now on: {endpoints}"),
                json!({ "source": name, "endpoints": config.endpoints, "tags": config.tags }),
            )),
            Some(known) if known != config => {
                let sides = json!({ "before": said(known), "after": said(config) });
                told.push(event(
                    cluster,
                    EventKind::MonitorConfigChanged,
                    format!("{name} describes cluster {cluster} in another way: {endpoints}"),
                    json!({ "source": name, "cluster": sides }),
                ));
            }
            Some(_) => {}
        }
    }
    for cluster in before.keys().filter(|cluster| !after.contains_key(*cluster)) {
        let text = format!("cluster {cluster} is not named by {name} any more and not watched");
        told.push(event(cluster, EventKind::ClusterRemoved, text, json!({ "source": name })));
    }
    told
}

fn said(config: &ClusterConfig) -> String {
    let tags = config.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
    [config.endpoints.join(", "), tags.join(", ")].join("; ")
}

/// Tells a watch, which began with the clusters of `context`, what becomes of them.
pub async fn feed(context: Context, changes: mpsc::Sender<Change>) {
    let mut current = context.services.subscribe();
    let mut known = context;
    loop {
        // What came between the start and here is seen, too.
        let next = known.refreshed();
        drop(current.borrow_and_update());
        match known.change(known.config(), next.config()) {
            Ok(Some(change)) => {
                if changes.send(change).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => warn!(error = chain(error.as_ref()), "a found cluster cannot be watched"),
        }
        known = next;
        if current.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> ClusterConfig {
        ClusterConfig::plain(name.parse().expect("a name"), vec!["http://h:1".to_owned()])
    }

    fn look(names: &[&str], problem: bool) -> Look {
        Look {
            clusters: names.iter().map(|name| (name.parse().expect("a name"), cluster(name))).collect(),
            problems: problem.then(|| "an entry".to_owned()).into_iter().collect(),
        }
    }

    #[test]
    fn a_cluster_goes_after_the_grace_and_never_by_a_look_that_failed() {
        let mut found = Found::default();
        for (now_ms, names, problem, there) in [
            (0, &["a", "b"][..], false, "a b"),
            (5, &["a"], false, "a b"),
            (60, &["a"], true, "a b"),
            (99, &["a"], true, "a b"),
            (104, &["a"], false, "a b"),
            (105, &["a"], false, "a"),
            (106, &["b"], true, "a b"),
            (300, &["b"], false, "a b"),
            (350, &["a", "b"], false, "a b"),
            (420, &["b"], false, "a b"),
            (520, &["b"], false, "b"),
        ] {
            found = found.after(&look(names, problem), 100, now_ms);
            let names: Vec<&str> = found.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
            assert_eq!(names.join(" "), there, "at {now_ms}");
        }
    }
}
