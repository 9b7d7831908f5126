//! Renders the pages that are due from the store and uploads what changed.

use std::time::Duration;

use crate::report::publish_plan::{MANIFEST_PATH, Manifest, cache_control, content_type, plan};
use crate::report::refresh::{due, faces};
use crate::report::{LIVE_PATH, live, render_due};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When};
use crate::watch::is_live;

/// The `report` job.
pub const JOB: JobSpec = JobSpec {
    name: "report",
    about: "Render the pages that are due and upload what changed",
    // Looks every minute, makes pages every 15 minutes or when one would say something else.
    when: When::Cron("5 * * * * *"),
    jitter: Duration::ZERO,
    catch_up: CatchUp::Once,
    on_change: true,
    fails_open: false,
    timeout: Duration::from_secs(120),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

/// Without a `watch` the live file comes from here, and the next one in a minute.
const LIVE_LIFETIME_MS: i64 = 180_000;

async fn run(context: Context) -> anyhow::Result<Summary> {
    let now_ms = context.now_ms();
    let (store, config) = (context.store(), &context.config().report);
    let subjects = context.subjects();
    let survey = context.survey(&subjects);
    let input = survey.sight(now_ms).await?;
    if !is_live(store, &context.config().watch, now_ms).await? {
        let lifetime_ms = LIVE_LIFETIME_MS.max(3 * input.expected_interval_ms);
        let body = live(config, &input, lifetime_ms)?.into();
        store.put_site(LIVE_PATH, body, content_type(LIVE_PATH), cache_control(LIVE_PATH)).await?;
    }
    let manifest = store.get_site(MANIFEST_PATH).await?;
    // Without a manifest that can be read everything is uploaded.
    let old = manifest.and_then(|bytes| Manifest::parse(&bytes).ok());
    let faces = faces(config, &input);
    let due = due(old.as_ref().and_then(|old| old.faces.as_ref()), &faces, now_ms);
    let clusters = subjects.len();
    if due.is_empty() {
        return Ok(Summary::new(format!("{clusters} cluster(s), no page is due")));
    }
    let site = render_due(config, &survey.complete(input, &due).await?, &due)?;
    let plan = plan(old.as_ref(), &site, &due, faces, now_ms)?;
    for upload in &plan.uploads {
        let body = upload.body.clone().into();
        store.put_site(&upload.path, body, upload.content_type, upload.cache_control).await?;
    }
    for path in &plan.deletes {
        store.delete_site(path).await?;
    }
    let (uploads, unchanged) = (plan.uploads.len(), plan.unchanged);
    Ok(Summary::new(format!("{clusters} cluster(s), {uploads} file(s) uploaded, {unchanged} unchanged")))
}
