//! Asks every source of clusters once, for hosts without a daemon, which asks them all the time.

use std::time::Duration;

use crate::model::chain;
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When, discovery};

/// The `discover` job.
pub const JOB: JobSpec = JobSpec {
    name: "discover",
    about: "Ask the sources of clusters which there are",
    when: When::Cron("0 * * * * *"),
    jitter: Duration::ZERO,
    catch_up: CatchUp::Skip,
    on_change: false,
    fails_open: false,
    timeout: Duration::from_secs(50),
    hosts: &[Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let (mut found, mut errors) = (0, Vec::new());
    for source in &context.config().sources {
        let name = &source.config().name;
        match discovery::look(&context.services, source).await {
            Ok((clusters, problems)) => {
                found += clusters;
                errors.extend(problems.into_iter().map(|problem| format!("{name}: {problem}")));
            }
            Err(error) => errors.push(format!("{name}: {}", chain(error.as_ref()))),
        }
    }
    let sources = context.config().sources.len();
    Ok(Summary::new(format!("{sources} source(s), {found} cluster(s) found")).with_errors(errors))
}
