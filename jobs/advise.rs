//! Works out what to change in every cluster, and how well it is.

use std::time::Duration;

use crate::model::{AdviceState, ClusterName};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When, advice};
use crate::store::samples;
use crate::survey::advice_series;

/// The `advise` job.
pub const JOB: JobSpec = JobSpec {
    name: "advise",
    about: "Work out what to change in each cluster, by which evidence, and its health score",
    when: When::Cron("50 */15 * * * *"),
    jitter: Duration::from_secs(60),
    catch_up: CatchUp::Once,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(600),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let (config, store, writer) = (context.config(), context.store(), &context.services.writer);
    let subjects = context.subjects();
    let names: Vec<ClusterName> = subjects.iter().map(|subject| subject.name.clone()).collect();
    let survey = context.survey(&subjects);
    let (mut series, mut errors) = (Vec::new(), Vec::new());
    let (mut open, mut news) = (0, 0);
    for (cluster, made) in
        advice::make(config, &survey, &names, Some(config.channels.len()), &context.services.clock).await?
    {
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                errors.push(advice::problem(&cluster, &error));
                continue;
            }
        };
        // Who was faster knows as much.
        news += usize::from(advice::keep(store, writer, &made).await?);
        open += made.advice.items.iter().filter(|item| item.state == AdviceState::Open).count();
        series.extend(advice_series(&made.advice));
    }
    samples::write_recorded(store, writer, context.now_ms(), &series).await?;
    if news > 0 {
        context.services.changed.notify_one();
    }
    let clusters = names.len();
    let said =
        format!("{clusters} cluster(s), {open} recommendation(s) open, of {news} cluster(s) something new");
    Ok(Summary::new(said).with_errors(errors))
}
