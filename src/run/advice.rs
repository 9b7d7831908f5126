//! Advice as the job and commands make it: what this machine knows, what rules say, what becomes of it in the store.

use std::collections::BTreeSet;
use std::path::Path;

use futures::{StreamExt, stream};

use crate::advise::{self, LocalMember};
use crate::config::Config;
use crate::discover::process::etcd_processes;
use crate::disk;
use crate::model::{Advice, ClusterName, Instance, chain};
use crate::preflight;
use crate::store::{Store, Writer, advice as stored, events};
use crate::survey::{Knowledge, Survey, Told, measure_help};

use super::clock::Clock;
use super::new_writer;

/// Clusters at once: each holds a day of its series in memory.
const CLUSTERS_AT_ONCE: usize = 3;

/// Advice that says the same is written down again after this long, ms.
const WRITTEN_EVERY_MS: i64 = 3_600_000;

/// How often somebody else may be faster.
const ATTEMPTS: usize = 5;

/// The advice for one cluster: what was known, its number, and what is known now.
#[derive(Debug, Clone)]
pub struct Made {
    pub number: u64,
    pub before: Option<Advice>,
    pub advice: Advice,
}

/// The members that run on this machine, with what there is to say of machine and disk.
pub async fn locals() -> Vec<LocalMember> {
    let mut found = tokio::task::spawn_blocking(look).await.unwrap_or_default();
    if !found.is_empty() {
        let clock = preflight::synchronised().await;
        found.iter_mut().for_each(|local| local.machine.push(clock.clone()));
    }
    found
}

fn look() -> Vec<LocalMember> {
    let proc = Path::new("/proc");
    let processes = etcd_processes(proc);
    if processes.is_empty() {
        return Vec::new();
    }
    let kernel = preflight::kernel(&preflight::Machine::default());
    let mut found = Vec::new();
    for process in processes {
        // A write waits for the log, wherever the database is.
        let Some((what, seen)) = process.folders(proc).pop() else { continue };
        let named = process.settings.get(if what == "wal" { "wal-dir" } else { "data-dir" });
        let mut machine = kernel.clone();
        machine.extend(preflight::control_group(&preflight::Machine::default(), process.pid));
        let Ok(device) = disk::device_of(&disk::Machine::default(), &seen) else { continue };
        let (_, _, checks) = disk::judge(&[], &device, None);
        let instances: BTreeSet<Instance> = process.instances().into_iter().collect();
        found.extend(instances.into_iter().map(|instance| LocalMember {
            instance,
            directory: named.cloned().unwrap_or_else(|| seen.display().to_string()),
            machine: machine.clone(),
            device: device.clone(),
            disk: checks.clone(),
        }));
    }
    found
}

/// Works out the advice for `clusters`, each with what kept it from being so; `channels` is how many there are, where the
/// caller opened them. Nothing is written.
///
/// # Errors
/// When what all clusters share cannot be read.
pub async fn make(
    config: &Config,
    survey: &Survey<'_>,
    clusters: &[ClusterName],
    channels: Option<usize>,
    clock: &Clock,
) -> anyhow::Result<Vec<(ClusterName, anyhow::Result<Made>)>> {
    let locals = locals().await;
    let knowledge = survey.knowledge(clock.now_ms()).await?;
    let make = async |cluster: &ClusterName| {
        let setup = config.clusters.iter().find(|setup| setup.config.name == *cluster);
        let is_backed_up = setup.map(|setup| setup.is_backed_up(&config.backup));
        let told = Told { locals: &locals, is_backed_up, channels };
        (cluster.clone(), one(survey, &knowledge, told, cluster, clock).await)
    };
    Ok(stream::iter(clusters).map(make).buffered(CLUSTERS_AT_ONCE).collect().await)
}

async fn one(
    survey: &Survey<'_>,
    knowledge: &Knowledge,
    told: Told<'_>,
    cluster: &ClusterName,
    clock: &Clock,
) -> anyhow::Result<Made> {
    let (number, before) = stored::latest(survey.store, cluster.as_str()).await?;
    let judged = survey.judged(cluster, knowledge, told, clock.now_ms()).await?;
    let mut advice = advise::follow(before.as_ref(), &judged);
    measure_help(survey.store, survey.options, &mut advice).await?;
    Ok(Made { number, before, advice })
}

/// Writes down what is new, and tells. Whether anything was.
///
/// # Errors
/// When the store cannot be written.
pub async fn keep(store: &Store, writer: &Writer, made: &Made) -> anyhow::Result<bool> {
    if is_news(made) { write(store, writer, made).await } else { Ok(false) }
}

async fn write(store: &Store, writer: &Writer, made: &Made) -> anyhow::Result<bool> {
    let told = advise::told(made.before.as_ref(), &made.advice);
    // Before the advice: a run that dies here is repeated, and finds the same.
    if !told.is_empty() {
        events::write(store, writer, made.advice.made_ms, &told).await?;
    }
    Ok(stored::keep(store, writer, made.number, made.before.as_ref(), &made.advice).await?)
}

fn is_news(made: &Made) -> bool {
    let Some(before) = &made.before else { return true };
    let advice = &made.advice;
    // Since when something is gone has to be remembered.
    let clear = |advice: &Advice| -> Vec<(String, bool)> {
        advice.items.iter().map(|item| (item.rule.clone(), item.clear_since_ms.is_some())).collect()
    };
    advice.made_ms - before.made_ms >= WRITTEN_EVERY_MS
        || advice.score.value != before.score.value
        || !advice.changes(Some(before)).is_empty()
        || clear(advice) != clear(before)
}

/// Changes one recommendation for a cluster as somebody said; `None` where there is no such one.
///
/// # Errors
/// When the store cannot be used, or others are faster every time.
pub async fn change(
    store: &Store,
    cluster: &ClusterName,
    rule: &str,
    clock: &Clock,
    edit: impl Fn(&mut crate::model::Recommendation, i64),
) -> anyhow::Result<Option<Advice>> {
    let writer = new_writer(clock)?;
    for _ in 0..ATTEMPTS {
        let (number, before) = stored::latest(store, cluster.as_str()).await?;
        let Some(mut advice) = before.clone() else { return Ok(None) };
        let now_ms = clock.now_ms();
        let Some(item) = advice.items.iter_mut().find(|item| item.rule == rule) else { return Ok(None) };
        edit(item, now_ms);
        advice.made_ms = now_ms;
        advice.items.sort_by_key(|item| item.state);
        let made = Made { number, before, advice };
        if write(store, &writer, &made).await? {
            return Ok(Some(made.advice));
        }
    }
    anyhow::bail!("the advice for {cluster} changes faster than it can be written")
}

/// What went wrong with a cluster's advice, in one line.
pub fn problem(cluster: &ClusterName, error: &anyhow::Error) -> String {
    format!("{cluster}: {}", chain(error.as_ref()))
}
