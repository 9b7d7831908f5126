//! The storm cap: when one channel would get more messages within a while than a person can read, what is
//! beyond that is told in one message that names it all.
//!
//! It changes how transitions are sent, not what they are: each of them keeps its place in the outbox until its
//! own receipt says that the common message carried it. So a crash, a second process or a channel that refuses
//! loses nothing, and ends are told as their beginnings are. What was sent lately is this process's own memory.

mod digest;

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use futures::{StreamExt, stream};

use super::attempt::{Attempt, Proof};
use super::sweep::{Due, SweepClock, SweepReport};
use super::{Deliverer, lock};
use crate::alert::StormConfig;
use crate::model::Severity;

/// The least time between two common messages of a channel, ms: short where something critical is new.
const GAP_CRITICAL_MS: i64 = 15_000;
const GAP_MS: i64 = 60_000;
/// The most notifications of one common message.
const DIGEST_MAX: usize = 1_000;
/// Claims and receipts written at once.
const WRITES_AT_ONCE: usize = 16;

/// The cap and what each channel got lately.
#[derive(Debug, Default)]
pub(super) struct Storm {
    config: Option<StormConfig>,
    lately: Mutex<HashMap<String, Lately>>,
}

#[derive(Debug, Default)]
struct Lately {
    /// When messages were taken, ms since the epoch.
    taken_ms: VecDeque<i64>,
    digest_ms: Option<i64>,
}

impl Deliverer {
    /// Joins messages beyond a cap. Without this every notification is a message of its own.
    #[must_use]
    pub fn with_storm_cap(mut self, config: StormConfig) -> Self {
        self.storm.config = (config.messages > 0).then_some(config);
        self
    }

    /// How many of these stories are told for themselves, from the front; the others are told together.
    pub(super) fn single(&self, name: &str, stories: &[Vec<Due>], now_ms: i64) -> usize {
        let joins = self.channels.get(name).is_some_and(|channel| channel.joins());
        let Some(config) = self.storm.config.filter(|_| joins) else { return stories.len() };
        let window_ms = i64::try_from(config.window.0.as_millis()).unwrap_or(i64::MAX);
        let mut lately = lock(&self.storm.lately);
        let lately = lately.entry(name.to_owned()).or_default();
        // A clock that went back must not keep the cap full.
        lately.taken_ms.retain(|at| (0..window_ms).contains(&now_ms.saturating_sub(*at)));
        let mut left = config.messages.saturating_sub(lately.taken_ms.len());
        let fits = |story: &&Vec<Due>| {
            let fits = story.len() <= left;
            left = left.saturating_sub(story.len());
            fits
        };
        let single = stories.iter().take_while(fits).count();
        // One more is no storm.
        if stories.iter().skip(single).map(Vec::len).sum::<usize>() <= 1 { stories.len() } else { single }
    }

    /// Counts what a channel took for itself.
    pub(super) fn took(&self, name: &str, count: usize, now_ms: i64) {
        if self.storm.config.is_some() {
            let mut lately = lock(&self.storm.lately);
            lately.entry(name.to_owned()).or_default().taken_ms.extend(std::iter::repeat_n(now_ms, count));
        }
    }

    /// Tells these stories together, if it is time to.
    pub(super) async fn tell_together(
        &self,
        name: &str,
        stories: &[Vec<Due>],
        clock: SweepClock,
    ) -> SweepReport {
        let mut report = SweepReport::default();
        let all = stories.iter().map(Vec::len).sum();
        let now_ms = clock.now_ms();
        let urgent = stories.iter().flatten().any(|(open, _)| open.group.is_urgent());
        let gap_ms = if urgent { GAP_CRITICAL_MS } else { GAP_MS };
        let told_ms = lock(&self.storm.lately).entry(name.to_owned()).or_default().digest_ms;
        let rested = told_ms.is_none_or(|at| !(0..gap_ms).contains(&now_ms.saturating_sub(at)));
        if !rested || clock.is_over() {
            report.undelivered = all;
            return report;
        }
        let mut rest = stories;
        while !rest.is_empty() {
            let mut count = 0_usize;
            let fits = |story: &&Vec<Due>| {
                count = count.saturating_add(story.len());
                count <= DIGEST_MAX
            };
            let (these, later) = rest.split_at(rest.iter().take_while(fits).count().clamp(1, rest.len()));
            rest = later;
            self.tell_these(name, these, clock, &mut report).await;
        }
        report
    }

    async fn tell_these(
        &self,
        name: &str,
        stories: &[Vec<Due>],
        clock: SweepClock,
        report: &mut SweepReport,
    ) {
        let count: usize = stories.iter().map(Vec::len).sum();
        match self.digest(name, stories, clock, report).await {
            Attempt::Done => {
                let mut lately = lock(&self.storm.lately);
                lately.entry(name.to_owned()).or_default().digest_ms = Some(clock.now_ms());
            }
            // Others are at it, or each was sent for itself.
            Attempt::NotNow | Attempt::Refused => {}
            Attempt::Failed => {
                report.undelivered = report.undelivered.saturating_add(count);
                self.fail_over(stories, clock, report).await;
            }
        }
    }

    /// What is critical goes to the next channel that takes it, together again.
    async fn fail_over(&self, stories: &[Vec<Due>], clock: SweepClock, report: &mut SweepReport) {
        let mut by_route: HashMap<&[String], Vec<Vec<Due>>> = HashMap::new();
        for story in stories {
            let critical: Vec<Due> = story
                .iter()
                .filter(|(open, _)| open.group.severity == Severity::Critical)
                .filter(|(open, _)| {
                    !open.group.failover.iter().any(|name| open.receipts.has(&open.group, name))
                })
                .cloned()
                .collect();
            if let Some((first, _)) = story.first().filter(|_| !critical.is_empty()) {
                by_route.entry(&first.group.failover).or_default().push(critical);
            }
        }
        for (ways, stories) in by_route {
            for way in ways {
                if self.digest(way, &stories, clock, report).await == Attempt::Done {
                    break;
                }
            }
        }
    }

    /// Writes the receipts of what a common message carried, story by story in order.
    async fn settle_all(&self, name: &str, stories: &[Vec<Due>], now_ms: i64, report: &mut SweepReport) {
        let settle = |story: Vec<Due>| async move {
            let mut report = SweepReport::default();
            let mut unproven = false;
            for (open, notification) in &story {
                let key = &notification.idempotency_key;
                let proof = if unproven { Proof::Keep } else { open.proof };
                let receipt = self.receipt(super::ReceiptOutcome::Accepted, key, name, now_ms, None);
                self.settle(&open.group, receipt, proof, &mut report).await;
                report.accepted.push((key.clone(), name.to_owned()));
                unproven |= lock(&self.settled).waiting(key, name).is_some();
            }
            report
        };
        let parts = stream::iter(stories.to_vec()).map(settle).buffer_unordered(WRITES_AT_ONCE);
        for part in parts.collect::<Vec<_>>().await {
            report.add(part);
        }
    }
}

#[cfg(test)]
mod tests;
