//! Probes the disks of the members that run on this machine, one after the other, and says what they are good for.

use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Dial, DiskError};
use crate::model::{DiskVerdict, chain};
use crate::run::disks::{self, Folder, Known};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};
use crate::store::disk_runs::Taken;
use crate::store::samples;

/// Weekly, when there is usually least to do.
pub const SCHEDULE: &str = "0 0 4 * * 0";

/// The `disk` job.
pub const JOB: JobSpec = JobSpec {
    name: "disk",
    about: "Measure the fsync of local members' disks with the built-in probe, where [disk] enabled says so",
    when: When::Cron(SCHEDULE),
    jitter: Duration::from_secs(60),
    catch_up: CatchUp::Skip,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(2 * 3_600),
    hosts: &[Host::Daemon, Host::Cli],
    run: |context| Box::pin(run(context)),
};

/// Another machine's member is measured: it takes two minutes at most.
const WAIT: Duration = Duration::from_secs(10);
const WAITS: usize = 120;

async fn run(context: Context) -> anyhow::Result<Summary> {
    let config = context.config().clone();
    if !config.disk.enabled {
        return Ok(Summary::new("disk checks are not enabled"));
    }
    let known = Known::ask(&config, &config.clusters, &context.services.clock).await;
    let (mut said, mut errors) = (Vec::new(), Vec::new());
    for folder in disks::folders(&known) {
        // Whose cluster nobody watches, nobody asked about.
        let Some(cluster) = &folder.cluster else { continue };
        match one(&context, &known, &folder).await {
            Ok(text) => said.push(format!("{cluster} {}: {text}", folder.named)),
            Err(error) => errors.push(format!("{cluster} {}: {}", folder.named, chain(error.as_ref()))),
        }
    }
    let text = if said.is_empty() {
        "no disk of a configured member was measured here".to_owned()
    } else {
        said.join("; ")
    };
    Ok(Summary::new(text).with_errors(errors))
}

/// Measures one folder, when the turn of its cluster comes here.
async fn one(context: &Context, known: &Known, folder: &Folder) -> anyhow::Result<String> {
    let taken = turns(context, known, folder).await?;
    let order = disks::scheduled(context.config(), folder.seen.clone(), folder.named.clone());
    let dial = Arc::new(Dial::stopped_by(&context.stop));
    let made = disks::make(context.config(), known, &order, &context.services.clock, dial).await;
    disks::give_back(context.store(), taken, &context.services.clock).await?;
    let run = match made {
        // Not the disk's fault, and not the job's: the cluster comes first.
        Err(DiskError::Unfit(why)) => return Ok(format!("left alone: {why}")),
        made => made?,
    };
    disks::keep(context.store(), &run, &context.services.clock).await?;
    let series = disks::series(&run, folder.what);
    samples::write_recorded(context.store(), &context.services.writer, context.now_ms(), &series).await?;
    context.services.changed.notify_one();
    let p99 = run.fsync_p99.map_or(String::new(), |p99| format!(", p99 {:.1} ms", p99 * 1e3));
    let word =
        if run.verdict == DiskVerdict::ProductionReady { "production ready" } else { run.verdict.as_str() };
    Ok(format!("{word}{p99}"))
}

async fn turns(context: &Context, known: &Known, folder: &Folder) -> anyhow::Result<Vec<Taken>> {
    let mut holder = String::new();
    for _ in 0..WAITS {
        match disks::take_turns(context.store(), known, &folder.seen, &context.services.clock).await? {
            Ok(taken) => return Ok(taken),
            Err(turn) => holder = turn.host,
        }
        tokio::select! {
            () = tokio::time::sleep(WAIT) => {}
            () = context.stop.cancelled() => anyhow::bail!("stopped while {holder} measured"),
        }
    }
    anyhow::bail!("{holder} measures all the time")
}
