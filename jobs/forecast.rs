//! Works out when databases, disks and descriptors are full, and writes it down for rules and pages.

use std::time::Duration;

use crate::model::{Labels, METRIC_NAME, chain};
use crate::promql::EvalOptions;
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};
use crate::store::samples;
use crate::survey::forecasts;

/// The `forecast` job.
pub const JOB: JobSpec = JobSpec {
    name: "forecast",
    about: "Work out when databases, disks and file descriptors are full",
    when: When::Cron("0 7 * * * *"),
    jitter: Duration::from_secs(120),
    catch_up: CatchUp::Once,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(900),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let now_ms = context.now_ms();
    let options = EvalOptions { max_samples: context.config().query.max_samples, ..EvalOptions::default() };
    let (mut series, mut errors, mut growing) = (Vec::new(), Vec::new(), 0);
    for cluster in context.config().clusters.iter().map(|cluster| &cluster.config.name) {
        match forecasts(context.store(), options, cluster, now_ms).await {
            Err(error) => errors.push(format!("{cluster}: {}", chain(&error))),
            Ok(found) => {
                for forecast in found {
                    let Some(left) = forecast.seconds_left() else { continue };
                    growing += usize::from(left.is_finite());
                    let instance = forecast.instance.as_deref().unwrap_or_default();
                    let labels = |name| {
                        Labels::from_pairs([
                            (METRIC_NAME, name),
                            ("cluster", cluster.as_str()),
                            ("instance", instance),
                            ("resource", forecast.resource.as_str()),
                        ])
                    };
                    series.push((labels("etcd_monitor_capacity_left_seconds"), left));
                    if let Some(per_day) = forecast.per_day {
                        series.push((labels("etcd_monitor_capacity_growth_per_day"), per_day.middle));
                    }
                }
            }
        }
        if context.stop.is_cancelled() {
            break;
        }
    }
    samples::write_recorded(context.store(), &context.services.writer, now_ms, &series).await?;
    let said = format!("{} forecast(s), {growing} of them growing", series.len() / 2);
    Ok(Summary::new(said).with_errors(errors))
}
