//! Sending everything that has no receipt: what is open, in which order, and when to give up.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::attempt::{Attempt, Proof};
use super::commit::store_error;
use super::receipts::{ReceiptOutcome, Receipts};
use super::unsaved::Found;
use super::{DeliverError, Deliverer, SendError, lock};
use crate::alert::{Group, Notification};
use crate::model::Severity;
use crate::store::key::SequenceKey;

/// What one sweep did.
#[derive(Debug, Default)]
pub struct SweepReport {
    /// Idempotency key and channel of each notification that was accepted now.
    pub accepted: Vec<(String, String)>,
    /// Refused for good, failed for now, or given up.
    pub failures: Vec<Failure>,
    /// Notifications without a receipt after the sweep, failed ones among them.
    pub undelivered: usize,
    pub errors: Vec<DeliverError>,
}

impl SweepReport {
    pub(super) fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.failures.extend(other.failures);
        self.undelivered = self.undelivered.saturating_add(other.undelivered);
        self.errors.extend(other.errors);
    }
}

/// A notification that a channel did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub channel: String,
    pub idempotency_key: String,
    pub error: SendError,
}

/// Transitions older than this are history: nobody is told of yesterday's end of an alert. That they were
/// not told is.
const EXPIRED_MS: i64 = 86_400_000;
/// Superseded transitions older than this are not looked for: the retention of state is about to take their
/// receipts (7 days at the least), and a missing receipt would mean nothing.
const FORGOTTEN_MS: i64 = 6 * 86_400_000;
/// How long one sweep goes on with one channel; what is left is the next sweep's.
const CHANNEL_BUDGET: Duration = Duration::from_secs(60);

/// The sweep's own time: the given instant and what passed since. Claims and receipts carry it, so that a
/// claim of a long sweep's end does not look older to others than it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct SweepClock {
    began: Instant,
    began_ms: i64,
}

impl SweepClock {
    pub(super) fn starting(now_ms: i64) -> Self {
        Self { began: Instant::now(), began_ms: now_ms }
    }

    pub(super) fn now_ms(self) -> i64 {
        let passed_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.began_ms.saturating_add(passed_ms)
    }

    pub(super) fn is_over(self) -> bool {
        self.began.elapsed() >= CHANNEL_BUDGET
    }
}

/// A notification to send, with the transition that carries it.
pub(super) type Due = (Arc<Open>, Notification);

/// Groups whose receipts are looked for at once.
const READS_AT_ONCE: usize = 16;

/// A transition whose notifications are not all done with.
pub(super) struct Open {
    pub(super) group: Group,
    pub(super) receipts: Receipts,
    pub(super) proof: Proof,
}

impl Deliverer {
    /// Appends the group transitions that a crash or an interval held back, then sends what has no receipt:
    /// all channels at once, within a channel several groups at once, critical ones first, and within a group
    /// in the order of the transitions.
    pub async fn sweep(&self, now_ms: i64) -> SweepReport {
        let mut report = SweepReport::default();
        self.save(&mut report.errors).await;
        // A store that just failed is not asked again: what is known in memory is told now.
        if report.errors.is_empty() {
            report.errors.extend(self.reload().await.err());
        }
        self.regroup(now_ms, &mut report.errors).await;
        let groups = self.groups(&mut report.errors).await.into_values();
        let looked = stream::iter(groups.filter(|found| !self.is_complete(found)))
            .map(|newest| self.look(newest, now_ms))
            .buffered(READS_AT_ONCE);
        let mut looked = pin!(looked);
        let mut stories = Vec::new();
        while let Some((story, part)) = looked.next().await {
            stories.push(story);
            report.add(part);
        }
        stories.sort_by_key(|story| {
            let urgent = story.iter().any(|open| open.group.severity == Severity::Critical);
            (!urgent, story.first().map_or(i64::MAX, |open| open.group.changed_ms))
        });
        let mut channels: BTreeMap<String, Vec<Due>> = BTreeMap::new();
        for open in stories.into_iter().flatten() {
            let open = Arc::new(open);
            for notification in &open.group.notifications {
                if !open.receipts.has(&open.group, &notification.channel) {
                    let queue = channels.entry(notification.channel.clone()).or_default();
                    queue.push((Arc::clone(&open), notification.clone()));
                }
            }
        }
        let clock = SweepClock::starting(now_ms);
        let parts = channels.iter().map(|(name, queue)| self.sweep_channel(name, queue.clone(), clock));
        join_all(parts).await.into_iter().for_each(|part| report.add(part));
        lock(&self.settled).forget_before(now_ms.saturating_sub(EXPIRED_MS));
        report
    }

    /// The notifications of one channel: several groups at once, each group's one after the other.
    async fn sweep_channel(&self, name: &str, queue: Vec<Due>, clock: SweepClock) -> SweepReport {
        let width = self.channels.get(name).map_or(1, |channel| channel.width().max(1));
        let mut stories: Vec<Vec<Due>> = queue
            .chunk_by(|(one, _), (next, _)| one.group.key == next.group.key)
            .map(<[Due]>::to_vec)
            .collect();
        let together = stories.split_off(self.single(name, &stories, clock.now_ms()));
        let parts = stream::iter(stories).map(|story| self.sweep_story(story, clock));
        let mut parts = pin!(parts.buffer_unordered(width));
        let mut report = SweepReport::default();
        while let Some(part) = parts.next().await {
            report.add(part);
        }
        self.took(name, report.accepted.iter().filter(|(_, to)| to == name).count(), clock.now_ms());
        if !together.is_empty() {
            report.add(self.tell_together(name, &together, clock).await);
        }
        report
    }

    /// The notifications of one group to one channel, in order: an end is not told before its beginning.
    pub(super) async fn sweep_story(&self, story: Vec<Due>, clock: SweepClock) -> SweepReport {
        let mut report = SweepReport::default();
        let (mut stuck, mut unproven) = (false, false);
        for (open, notification) in &story {
            let proof = if unproven { Proof::Keep } else { open.proof };
            let done = !clock.is_over()
                && !stuck
                && self.deliver(open, notification, (proof, clock), &mut report).await;
            if !done {
                stuck = true;
                report.undelivered = report.undelivered.saturating_add(1);
            }
            let waiting = lock(&self.settled).waiting(&notification.idempotency_key, &notification.channel);
            unproven |= waiting.is_some();
        }
        report
    }

    async fn look(&self, newest: Found, now_ms: i64) -> (Vec<Open>, SweepReport) {
        let mut report = SweepReport::default();
        let known = newest.is_stored().then(|| (newest.group().key.clone(), newest.group().number));
        let open = self.open_transitions(newest, now_ms, &mut report).await;
        // What was just given up is looked at once more: its receipt may not have been written.
        let complete = open.is_empty() && report.errors.is_empty() && report.failures.is_empty();
        if let Some((key, number)) = known.filter(|_| complete) {
            lock(&self.complete).insert(key, number);
        }
        (open, report)
    }

    /// Whether the group said nothing since everything it said had its receipt.
    fn is_complete(&self, newest: &Found) -> bool {
        let group = newest.group();
        newest.is_stored() && lock(&self.complete).get(&group.key) == Some(&group.number)
    }

    /// The transitions with notifications to send, oldest first: back from the newest one to the first that
    /// is complete.
    async fn open_transitions(&self, newest: Found, now_ms: i64, report: &mut SweepReport) -> Vec<Open> {
        let sequence = SequenceKey::group(&newest.group().key);
        let (newest_number, mut open, mut expired) = (newest.group().number, Vec::new(), Vec::new());
        let mut next = Some(newest);
        while let Some(found) = next {
            // A number that waits may yet become another writer's: no receipt before it is in the store.
            let proof = if found.is_stored() { Proof::Store } else { Proof::Keep };
            let group = found.into_group();
            let age_ms = now_ms.saturating_sub(group.changed_ms);
            if age_ms > FORGOTTEN_MS && group.number != newest_number {
                break;
            }
            let receipts = match proof {
                // What is not in the store has no receipts there.
                Proof::Keep => Ok(Receipts::none()),
                Proof::Store => self.receipts_of(&group, now_ms).await,
            };
            let receipts = match receipts {
                Ok(receipts) => receipts,
                // Fail open: rather twice than not at all. What is older stays for another sweep.
                Err(error) => {
                    report.errors.push(error);
                    open.iter_mut().for_each(|open: &mut Open| open.proof = Proof::Keep);
                    if age_ms <= EXPIRED_MS {
                        open.push(Open { group, receipts: Receipts::none(), proof: Proof::Keep });
                    }
                    break;
                }
            };
            let complete = group.notifications.iter().all(|n| receipts.has(&group, &n.channel));
            if complete && !group.notifications.is_empty() {
                break;
            }
            let before = group.number.saturating_sub(1);
            let found = Open { group, receipts, proof };
            if age_ms > EXPIRED_MS {
                expired.push(found);
            } else {
                open.push(found);
            }
            next = match self.transition(&sequence, before).await {
                Ok(group) => group,
                Err(error) => {
                    // What is older is told later; proofs of what is newer would hide it.
                    report.errors.push(error);
                    open.iter_mut().for_each(|open| open.proof = Proof::Keep);
                    break;
                }
            };
        }
        for found in expired.iter().rev() {
            self.give_up(found, now_ms, report).await;
        }
        open.reverse();
        open
    }

    async fn receipts_of(&self, group: &Group, now_ms: i64) -> Result<Receipts, DeliverError> {
        let receipts = Receipts::of(&self.store, group).await;
        let receipts = receipts.map_err(|source| store_error("read receipts of", &group.key, source))?;
        let mut settled = lock(&self.settled);
        for notification in group.notifications.iter().filter(|n| receipts.has(group, &n.channel)) {
            settled.stored(&notification.idempotency_key, &notification.channel, now_ms);
        }
        Ok(receipts)
    }

    /// Says of each notification that nobody took in time that it never will be sent.
    async fn give_up(&self, open: &Open, now_ms: i64, report: &mut SweepReport) {
        let hours = EXPIRED_MS / 3_600_000;
        for notification in &open.group.notifications {
            let (channel, key) = (&notification.channel, &notification.idempotency_key);
            let settled = lock(&self.settled).has(key, channel);
            if settled || open.receipts.has(&open.group, channel) {
                continue;
            }
            let error = SendError::Expired { hours };
            let reason = Some(error.to_string());
            report.failures.push(Failure { channel: channel.clone(), idempotency_key: key.clone(), error });
            let receipt = self.receipt(ReceiptOutcome::Expired, key, channel, now_ms, reason);
            self.settle(&open.group, receipt, Proof::Store, report).await;
        }
    }

    /// The group's state of that number, wherever it is; there is no number 0.
    async fn transition(&self, sequence: &SequenceKey, number: u64) -> Result<Option<Found>, DeliverError> {
        let waiting = lock(&self.unsaved).group_in(sequence, number);
        if waiting.is_some() || number == 0 {
            return Ok(waiting.map(Found::Waiting));
        }
        crate::store::sequence::at(&self.store, sequence, number)
            .await
            .map(|group| group.map(Found::Stored))
            .map_err(|source| store_error("read group", sequence.prefix().as_str(), source))
    }

    /// Whether the notification is done with: accepted, refused for good, or taken by a failover channel.
    async fn deliver(
        &self,
        open: &Open,
        notification: &Notification,
        when: (Proof, SweepClock),
        report: &mut SweepReport,
    ) -> bool {
        let group = &open.group;
        match self.attempt(group, notification, &notification.channel, when, report).await {
            Attempt::Done => true,
            Attempt::NotNow => false,
            failed @ (Attempt::Failed | Attempt::Refused) => {
                if group.severity == Severity::Critical {
                    for channel in &group.failover {
                        if open.receipts.has(group, channel) {
                            break;
                        }
                        let outcome = self.attempt(group, notification, channel, when, report).await;
                        if outcome == Attempt::Done {
                            break;
                        }
                    }
                }
                failed == Attempt::Refused
            }
        }
    }
}
