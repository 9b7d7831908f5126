//! Renders the site from the store and uploads what changed.

use std::time::Duration;

use crate::report::publish_plan::{MANIFEST_PATH, Manifest, plan};
use crate::report::render;
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};

/// The `report` job.
pub const JOB: JobSpec = JobSpec {
    name: "report",
    about: "Render the site and upload what changed",
    when: When::Cron("5 * * * * *"),
    jitter: Duration::ZERO,
    catch_up: CatchUp::Once,
    on_change: true,
    fails_open: false,
    timeout: Duration::from_secs(120),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

async fn run(context: Context) -> anyhow::Result<Summary> {
    let now_ms = context.now_ms();
    let subjects = context.subjects();
    let input = context.survey(&subjects).full(now_ms).await?;
    let site = render(&context.config().report, &input)?;
    let store = context.store();
    let manifest = store.get_site(MANIFEST_PATH).await?;
    // Without a manifest that can be read everything is uploaded.
    let old = manifest.and_then(|bytes| Manifest::parse(&bytes).ok());
    let plan = plan(old.as_ref(), &site, now_ms)?;
    for upload in &plan.uploads {
        let body = upload.body.clone().into();
        store.put_site(&upload.path, body, upload.content_type, upload.cache_control).await?;
    }
    for path in &plan.deletes {
        store.delete_site(path).await?;
    }
    let (uploads, unchanged, clusters) = (plan.uploads.len(), plan.unchanged, subjects.len());
    Ok(Summary::new(format!("{clusters} cluster(s), {uploads} file(s) uploaded, {unchanged} unchanged")))
}
