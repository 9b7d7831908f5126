//! One reading of every cluster, for hosts without a daemon. Where a `watch` is alive it stores readings
//! only: samples have one writer.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{ReadingError, ReadingRow};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};
use crate::store::readings;
use crate::watch::{Watch, is_live};

/// The `collect` job.
pub const JOB: JobSpec = JobSpec {
    name: "collect",
    about: "Read every cluster once",
    when: When::Cron("0 * * * * *"),
    jitter: Duration::ZERO,
    catch_up: CatchUp::Skip,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(50),
    hosts: &[Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

/// The length of a slot, by the schedule.
const SLOT_MS: i64 = 60_000;

async fn run(context: Context) -> anyhow::Result<Summary> {
    let now_ms = context.now_ms();
    // What a run of this slot stored, whose record in the ledger was lost, stays the slot's only reading.
    let there =
        readings::range(context.store(), None, context.slot_ms, context.slot_ms + SLOT_MS - 1).await?;
    if !there.is_empty() {
        let errors =
            there.iter().flat_map(|row| row.errors.iter().map(|error| (row.cluster.as_str(), error)));
        return Ok(summary(&there).with_errors(distinct(errors)));
    }
    let live = is_live(context.store(), &context.config().watch, now_ms).await?;
    // No groups: `evaluate` judges what is collected, over the store.
    let mut watch = Watch::start(context.watch_setup(Vec::new())?, now_ms).await;
    let ticks = watch.collect(now_ms, !live).await?;
    let rows: Vec<ReadingRow> = ticks.iter().flat_map(|tick| tick.reading.rows()).collect();
    let errors = ticks.iter().map(|tick| &tick.reading).flat_map(|reading| {
        let members = reading.members.iter().flat_map(|member| &member.errors);
        members.chain(&reading.errors).map(|error| (reading.cluster.as_str(), error))
    });
    Ok(summary(&rows).with_errors(distinct(errors)))
}

fn summary(rows: &[ReadingRow]) -> Summary {
    let clusters: BTreeSet<&str> = rows.iter().map(|row| row.cluster.as_str()).collect();
    let up = rows.iter().filter(|row| row.reachable).count();
    Summary::new(format!("{} cluster(s), {up} of {} member(s) answered", clusters.len(), rows.len()))
}

/// One cause fails many calls of one member: it is said once, with the calls.
fn distinct<'a>(errors: impl Iterator<Item = (&'a str, &'a ReadingError)>) -> Vec<String> {
    let mut causes: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for (cluster, error) in errors {
        let calls = error.during.as_str();
        // A call that was not tried repeats why an earlier one failed.
        let cause = error.message.split_once(" s after: ").map_or(error.message.as_str(), |(_, last)| last);
        // "status at http://…: …" begins with its call; other messages are whole.
        let place = cause.find(" at ").filter(|at| cause.find(' ') == Some(*at));
        let message = place.and_then(|at| cause.get(at + 1..)).unwrap_or(cause);
        match causes.iter_mut().find(|(there, cause, _)| (*there, *cause) == (cluster, message)) {
            Some((_, _, known)) if known.contains(&calls) => {}
            Some((_, _, known)) => known.push(calls),
            None => causes.push((cluster, message, vec![calls])),
        }
    }
    let said =
        |(cluster, cause, calls): (&str, &str, Vec<&str>)| format!("{cluster}: {} {cause}", calls.join(", "));
    causes.into_iter().map(said).collect()
}
