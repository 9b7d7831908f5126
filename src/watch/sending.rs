//! Sending what the loop committed, beside the loop: a channel that hangs delays no evaluation, and no later
//! news on the other channels. Refuses: deciding what is sent, and how (`deliver`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::judge::Judge;
use crate::model::chain;

/// Sweeps under way at once: what a slow channel keeps waiting must not keep what is committed next.
const SWEEPS_AT_ONCE: usize = 8;
/// After each sweep for news comes another: a store that fails or lists late may have hidden them.
const AGAIN_TO_BE_SURE: Duration = Duration::from_secs(10);
/// When what was left undelivered is tried again: once the claim of the failed try is over.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// The same when it may have been left because the sweep before was at it.
const AGAIN_AFTER_OVERLAP: Duration = Duration::from_secs(3);

/// Sweeps whenever `told`, and again while something is undelivered, until `shutdown`; then ends the sweeps
/// under way.
pub async fn send_when_told(
    judge: Arc<Judge>,
    told: Arc<Notify>,
    now_ms: impl Fn() -> i64,
    shutdown: CancellationToken,
) {
    let mut sweeps = JoinSet::new();
    let mut again: Option<Instant> = None;
    loop {
        let room = sweeps.len() < SWEEPS_AT_ONCE;
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = sweeps.join_next() => {
                if let Ok(Some(wait)) = ended {
                    let at = Instant::now() + wait;
                    again = Some(again.map_or(at, |again| again.min(at)));
                }
                continue;
            }
            () = told.notified(), if room => again = Some(Instant::now() + AGAIN_TO_BE_SURE),
            () = sleep_until(again.unwrap_or_else(Instant::now)), if room && again.is_some() => again = None,
        }
        let wait = if sweeps.is_empty() { AGAIN_AFTER_FAILURE } else { AGAIN_AFTER_OVERLAP };
        let (judge, now_ms) = (Arc::clone(&judge), now_ms());
        sweeps.spawn(async move { (sweep(&judge, now_ms).await > 0).then_some(wait) });
    }
    while sweeps.join_next().await.is_some() {}
}

/// One sweep; how much it left undelivered.
async fn sweep(judge: &Judge, now_ms: i64) -> usize {
    let report = judge.deliverer().sweep(now_ms).await;
    for failure in &report.failures {
        warn!(channel = failure.channel, "not delivered: {}", failure.error);
    }
    for error in &report.errors {
        warn!(error = chain(error), "while delivering");
    }
    report.undelivered
}
