//! How fast a member is read: not faster than the bandwidth says, and not at all while its fsyncs suffer.

use std::time::{Duration, Instant};

use super::SaveError;
use super::choose::Chosen;
use super::fsync::Fsyncs;
use crate::backup::BackupConfig;

/// Between two looks at the member's fsyncs.
const LOOK: Duration = Duration::from_secs(2);
/// So much slower than before, and above what etcd's documentation calls healthy, they suffer.
const SLOWER: f64 = 2.0;
const HEALTHY_SECONDS: f64 = 0.010;
/// A member that suffers for so long suffers from something else, and a stream that stands still keeps its old pages.
const PAUSE_MAX: Duration = Duration::from_secs(300);

pub(super) struct Pace<'a> {
    source: &'a Chosen,
    bytes_per_second: Option<f64>,
    began: Instant,
    bytes: u64,
    last: Option<(Instant, Fsyncs)>,
    /// p99 of all fsyncs before the stream, seconds.
    before: Option<f64>,
    paused: Duration,
}

impl<'a> Pace<'a> {
    /// Looks at the member's fsyncs so far, to compare with.
    pub(super) async fn begin(source: &'a Chosen, config: &BackupConfig) -> Self {
        let bytes_per_second = config.bandwidth.map(|bandwidth| bandwidth.0 as f64);
        let (began, paused) = (Instant::now(), Duration::ZERO);
        let mut pace = Self { source, bytes_per_second, began, bytes: 0, last: None, before: None, paused };
        let fsyncs = look(source).await;
        pace.before = fsyncs.as_ref().and_then(Fsyncs::p99);
        pace.last = fsyncs.map(|fsyncs| (Instant::now(), fsyncs));
        pace.began = Instant::now();
        pace
    }

    /// Waits as long as it takes after `bytes` more.
    ///
    /// # Errors
    /// [`SaveError::Busy`].
    pub(super) async fn after(&mut self, bytes: u64) -> Result<(), SaveError> {
        self.bytes += bytes;
        if let Some(rate) = self.bytes_per_second.filter(|rate| *rate > 0.0) {
            let due = Duration::from_secs_f64(self.bytes as f64 / rate) + self.paused;
            tokio::time::sleep(due.saturating_sub(self.began.elapsed())).await;
        }
        while self.last.as_ref().is_some_and(|(at, _)| at.elapsed() >= LOOK) && self.suffers().await {
            if self.paused >= PAUSE_MAX {
                let instance = self.source.source.instance.to_string();
                return Err(SaveError::Busy { instance, seconds: self.paused.as_secs() });
            }
            tokio::time::sleep(LOOK).await;
            self.paused += LOOK;
        }
        Ok(())
    }

    /// How long it stood still because of the member's fsyncs.
    pub(super) fn paused(&self) -> Duration {
        self.paused
    }

    async fn suffers(&mut self) -> bool {
        let Some((_, last)) = self.last.take() else { return false };
        // A member that does not tell, or not any more, is read on: what else speaks against it ends the stream.
        let Some(now) = look(self.source).await else { return false };
        let p99 = now.p99_since(&last);
        self.last = Some((Instant::now(), now));
        let limit = self.before.map(|before| (SLOWER * before).max(HEALTHY_SECONDS));
        p99.zip(limit).is_some_and(|(p99, limit)| p99 > limit)
    }
}

/// From `/metrics` of the client URL; where that is elsewhere nothing is known.
async fn look(source: &Chosen) -> Option<Fsyncs> {
    let http = source.member.http().await.ok()?;
    let answer = http.get(format!("{}/metrics", source.member.url())).timeout(LOOK).send().await.ok()?;
    let text = answer.error_for_status().ok()?.text().await.ok()?;
    Some(Fsyncs::parse(&text)).filter(|fsyncs| *fsyncs != Fsyncs::default())
}
