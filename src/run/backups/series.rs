//! The series that rules read of what there is.

use crate::backup::{Foreign, Kept, Level, Listing, Origin, VerdictState};
use crate::config::Config;
use crate::model::{ClusterName, Labels, METRIC_NAME};
use crate::store::{Store, ledger};

/// When backups are to be made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rhythm {
    /// Between two of them, by the schedule.
    pub interval_seconds: Option<f64>,
    /// When the next one is to begin, counted from the last that began; ms since the epoch.
    pub next_due_ms: Option<i64>,
}

/// A cluster of which there may be backups.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    pub name: ClusterName,
    /// Whether they are made by the job, and so in a rhythm.
    pub is_backed_up: bool,
}

/// A size is unusual beside so many that were before.
const SIZES: usize = 10;
/// So few say nothing.
const SIZES_MIN: usize = 3;

struct Adder<'a> {
    into: &'a mut Vec<(Labels, f64)>,
    cluster: &'a str,
    /// Empty: ours.
    source: &'a str,
}

impl Adder<'_> {
    fn add(&mut self, name: &str, value: f64) {
        let labels = [(METRIC_NAME, name), ("cluster", self.cluster), ("source", self.source)];
        self.into
            .push((Labels::from_pairs(labels.into_iter().filter(|(_, value)| !value.is_empty())), value));
    }

    fn size(&mut self, sizes: &[u64]) {
        let Some((newest, before)) = sizes.split_last() else { return };
        self.add("etcd_monitor_backup_size_bytes", *newest as f64);
        let mut before: Vec<u64> = before.iter().rev().take(SIZES).copied().collect();
        before.sort_unstable();
        if before.len() >= SIZES_MIN
            && let Some(median) = before.get(before.len() / 2)
        {
            self.add("etcd_monitor_backup_median_size_bytes", *median as f64);
        }
    }
}

/// When the next backup of `cluster` is to begin.
pub fn due(cluster: &ClusterName, rhythm: Rhythm) -> Option<(Labels, f64)> {
    let labels =
        [(METRIC_NAME, "etcd_monitor_backup_next_due_timestamp_seconds"), ("cluster", cluster.as_str())];
    Some((Labels::from_pairs(labels), rhythm.next_due_ms? as f64 / 1e3))
}

/// Of each of `subjects`, where it was backed up at all, and of others' backups.
pub fn series(
    listing: &Listing,
    foreign: &[(f64, Vec<Foreign>)],
    subjects: &[Subject],
    rhythm: Rhythm,
) -> Vec<(Labels, f64)> {
    let mut series = Vec::new();
    for subject in subjects {
        series.extend(due(&subject.name, rhythm).filter(|_| subject.is_backed_up));
        let mut adder = Adder { into: &mut series, cluster: subject.name.as_str(), source: "" };
        let kept: Vec<&Kept> = listing
            .backups
            .iter()
            .filter(|kept| kept.manifest.cluster == subject.name && !kept.is_condemned())
            .collect();
        if !kept.is_empty() {
            of_ours(&mut adder, &kept, rhythm.interval_seconds.filter(|_| subject.is_backed_up));
        }
    }
    for (every_seconds, files) in foreign {
        let Some(newest) = files.last() else { continue };
        let mut adder = Adder { into: &mut series, cluster: newest.cluster.as_str(), source: &newest.source };
        adder.add("etcd_monitor_backup_last_success_timestamp_seconds", newest.modified_ms as f64 / 1e3);
        adder.add("etcd_monitor_backup_interval_seconds", *every_seconds);
        adder.size(&files.iter().map(|file| file.bytes).collect::<Vec<_>>());
        let verdict = |file: &Foreign| file.verdict.as_ref().map(|verdict| (verdict.state, verdict.level));
        let bad =
            files.iter().filter(|file| verdict(file).is_some_and(|(state, _)| state == VerdictState::Bad));
        adder.add("etcd_monitor_backups_bad", bad.count() as f64);
        // Whether it is the cluster's nobody can say later; that it is whole is all that is asked of each.
        let is_whole = |file: &Foreign| verdict(file).is_some_and(|(_, level)| level >= Some(Level::L1));
        if !is_whole(newest) {
            let since = newest.modified_ms as f64 / 1e3;
            adder.add("etcd_monitor_backup_oldest_unverified_timestamp_seconds", since);
        }
    }
    series
}

fn of_ours(adder: &mut Adder<'_>, kept: &[&Kept], interval_seconds: Option<f64>) {
    let newest_ms = kept.iter().map(|kept| kept.manifest.finished_ms).max().unwrap_or_default();
    adder.add("etcd_monitor_backup_last_success_timestamp_seconds", newest_ms as f64 / 1e3);
    if let Some(interval) = interval_seconds {
        adder.add("etcd_monitor_backup_interval_seconds", interval);
    }
    let is = |kept: &Kept, state| kept.verdict.as_ref().is_some_and(|verdict| verdict.state == state);
    let unverified = kept.iter().filter(|kept| !is(kept, VerdictState::Verified));
    if let Some(oldest_ms) = unverified.map(|kept| kept.manifest.finished_ms).min() {
        adder.add("etcd_monitor_backup_oldest_unverified_timestamp_seconds", oldest_ms as f64 / 1e3);
    }
    let drilled = kept.iter().filter_map(|kept| kept.verdict.as_ref().filter(|it| it.drill.is_some()));
    if let Some(drilled) = drilled.max_by_key(|verdict| verdict.finished_ms) {
        let at = drilled.finished_ms as f64 / 1e3;
        adder.add("etcd_monitor_restore_drill_last_success_timestamp_seconds", at);
        let recovery_ms = drilled.drill.as_ref().map_or(0, |drill| drill.recovery_ms);
        adder.add("etcd_monitor_restore_drill_recovery_seconds", recovery_ms as f64 / 1e3);
    }
    adder.add(
        "etcd_monitor_backups_bad",
        kept.iter().filter(|kept| is(kept, VerdictState::Bad)).count() as f64,
    );
    // The listing is sorted by time; copies of one are one.
    let mut sizes: Vec<(&crate::backup::BackupId, u64)> =
        kept.iter().map(|kept| (&kept.manifest.id, kept.manifest.bytes)).collect();
    sizes.dedup_by_key(|(id, _)| *id);
    adder.size(&sizes.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>());
}

/// When backups are due: the next slot after the last one that was run. `schedule` is the job's own, where none is
/// configured.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn rhythm(
    config: &Config,
    store: &Store,
    listing: &Listing,
    schedule: &str,
    now_ms: i64,
) -> anyhow::Result<Rhythm> {
    const JOB: &str = "backup";
    let schedule = config.jobs.schedule_of(JOB, schedule)?;
    let next_ms = schedule.next_after(now_ms);
    let interval_ms = next_ms.and_then(|next_ms| Some(schedule.next_after(next_ms)? - next_ms));
    let runs = ledger::latest(store, now_ms - 3 * interval_ms.unwrap_or(0)).await?;
    let ran = runs.iter().filter(|run| run.job == JOB).map(|run| run.slot_ms);
    let scheduled = listing.backups.iter().filter(|kept| kept.manifest.origin == Origin::Schedule);
    let last_ms = ran.chain(scheduled.map(|kept| kept.manifest.started_ms)).max();
    Ok(Rhythm {
        interval_seconds: interval_ms.map(|ms| ms as f64 / 1e3),
        next_due_ms: last_ms.and_then(|last_ms| schedule.next_after(last_ms)),
    })
}
