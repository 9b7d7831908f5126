//! Runs a benchmark profile against every cluster, one after the other, and says whether one got slower.

use std::sync::Arc;
use std::time::Duration;

use crate::bench::Dial;
use crate::bench::regression::Verdict;
use crate::config::ClusterSetup;
use crate::model::chain;
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When, benches};
use crate::store::samples;

/// Daily, when there is usually least to do.
pub const SCHEDULE: &str = "0 0 3 * * *";

/// The `bench` job.
pub const JOB: JobSpec = JobSpec {
    name: "bench",
    about: "Measure clusters with a benchmark profile, where [bench] enabled says so",
    when: When::Cron(SCHEDULE),
    jitter: Duration::from_secs(60),
    catch_up: CatchUp::Skip,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(5 * 3_600),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

/// A load that looks slower is run so often in all before that is believed, or not.
const REPEATS: usize = 5;

async fn run(context: Context) -> anyhow::Result<Summary> {
    let config = context.config().clone();
    if !config.bench.enabled {
        return Ok(Summary::new("benchmarks are not enabled"));
    }
    let (mut loads, mut slower, mut skipped, mut errors) = (0, 0, Vec::new(), Vec::new());
    for cluster in &config.clusters {
        let name = &cluster.config.name;
        if let Some((key, value)) = cluster.production_tag().filter(|_| !config.bench.production) {
            skipped.push(format!("{name} is tagged {key}={value}"));
            continue;
        }
        match one(&context, cluster).await {
            Ok((measured, worse)) => {
                loads += measured;
                slower += worse;
            }
            Err(error) => errors.push(format!("{name}: {}", chain(error.as_ref()))),
        }
    }
    let mut text = format!("{loads} load(s) measured, {slower} slower than usual");
    if !skipped.is_empty() {
        text.push_str(&format!("; left alone: {}", skipped.join(", ")));
    }
    Ok(Summary::new(text).with_errors(errors))
}

/// Measures one cluster: how many loads there were, and how many were slower than usual.
async fn one(context: &Context, cluster: &ClusterSetup) -> anyhow::Result<(usize, usize)> {
    let config = context.config();
    let name = config.bench.scheduled();
    let profile = config.bench.profile(name);
    let profile = profile.ok_or_else(|| anyhow::anyhow!("there is no profile {name:?}"))?;
    let (clock, store) = (&context.services.clock, context.store());
    let (mut loads, mut slower, mut series) = (0, 0, Vec::new());
    for order in profile.orders() {
        let mut newest = None;
        for _ in 0..REPEATS {
            let dial = Arc::new(Dial::default());
            let run = benches::make(config, cluster, &order, Some(name), clock, dial).await?;
            benches::keep(store, &run, clock).await?;
            let history = benches::judged(store, clock.now_ms()).await?;
            newest = history.into_iter().find(|judged| judged.id() == run.id);
            // One slow run is weather; what stays so is not.
            if newest.as_ref().is_none_or(|judged| judged.verdict() < Verdict::Suspected) {
                break;
            }
        }
        let Some(judged) = newest else { continue };
        loads += 1;
        slower += usize::from(judged.verdict() == Verdict::Regression);
        series.extend(benches::series(&judged));
    }
    samples::write_recorded(store, &context.services.writer, context.now_ms(), &series).await?;
    context.services.changed.notify_one();
    Ok((loads, slower))
}
