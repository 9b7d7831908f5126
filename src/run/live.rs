//! Keeps the site's live file beside a running watch: written when something is to be seen, at most once in
//! five seconds, and else often enough to show that somebody looks.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Context;
use crate::model::Incident;
use crate::report::publish_plan::{cache_control, content_type};
use crate::report::{LIVE_PATH, live};
use crate::watch::View;

/// Least time between two writes.
const PAUSE: Duration = Duration::from_secs(5);

/// Incidents that other hosts commit are looked for this often; each look lists the store.
const INCIDENTS_EVERY_MS: i64 = 60_000;

/// Writes the file of what `view` sees until `shutdown`.
pub async fn keep(context: Context, view: View, shutdown: CancellationToken) {
    let watch = &context.config().watch;
    let every = watch.flush_interval(context.store().local_path().is_some());
    // Two flushes may fail or be late before a reader is told that nobody looks.
    let lifetime_ms = ms(every) * 2 + 3 * context.config().expected_interval_ms();
    let mut file = File { incidents: Vec::new(), read_ms: None };
    let mut beats = tokio::time::interval(every);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    // Nothing was seen yet; the first reading rings.
    beats.reset();
    loop {
        let moved = tokio::select! {
            () = shutdown.cancelled() => return,
            () = view.moved() => true,
            _ = beats.tick() => false,
        };
        if view.speaks()
            && let Err(error) = file.write(&context.refreshed(), &view, moved, lifetime_ms).await
        {
            warn!(error = format!("{error:#}"), "the live file could not be written");
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

struct File {
    incidents: Vec<Incident>,
    /// When the incidents were read.
    read_ms: Option<i64>,
}

impl File {
    async fn write(
        &mut self,
        context: &Context,
        view: &View,
        moved: bool,
        lifetime_ms: i64,
    ) -> anyhow::Result<()> {
        let now_ms = context.now_ms();
        let subjects = context.subjects();
        let survey = context.survey(&subjects);
        if moved || self.read_ms.is_none_or(|read_ms| now_ms - read_ms >= INCIDENTS_EVERY_MS) {
            self.incidents = survey.incidents(now_ms).await?;
            self.read_ms = Some(now_ms);
        }
        let rows = view.rows();
        if rows.is_empty() {
            return Ok(());
        }
        let input = survey.of(&rows, &self.incidents, now_ms);
        let body = live(&context.config().report, &input, lifetime_ms)?.into();
        let kind = (content_type(LIVE_PATH), cache_control(LIVE_PATH));
        Ok(context.store().put_site(LIVE_PATH, body, kind.0, kind.1).await?)
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 8)
}
