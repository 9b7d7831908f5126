//! Sending everything that has no receipt.

use std::collections::BTreeSet;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::commit::store_error;
use super::receipts::{self, Receipt, ReceiptOutcome, Receipts};
use super::{Channel, DeliverError, Deliverer, Message, SendError, lock};
use crate::alert::{Group, Notification};
use crate::model::Severity;
use crate::store::key::SequenceKey;

/// What one sweep did.
#[derive(Debug, Default)]
pub struct SweepReport {
    /// Idempotency key and channel of each notification that was accepted now.
    pub accepted: Vec<(String, String)>,
    /// Refused for good, or failed for now.
    pub failures: Vec<Failure>,
    /// Notifications without a receipt after the sweep, failed ones among them.
    pub undelivered: usize,
    pub errors: Vec<DeliverError>,
}

/// A notification that a channel did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub channel: String,
    pub idempotency_key: String,
    pub error: SendError,
}

/// Transitions older than this are history: nobody is told of yesterday's end of an alert.
const EXPIRED_MS: i64 = 86_400_000;
/// Tries within one claim, the first included.
const TRIES: usize = 3;
/// The longest wait that one sweep grants a channel; a longer wish opens its breaker instead.
const WAIT_MAX: Duration = Duration::from_secs(5);

impl Deliverer {
    /// Appends the group transitions that a crash or an interval held back, then sends what has no receipt,
    /// per channel in the order of the transitions.
    pub async fn sweep(&self, now_ms: i64) -> SweepReport {
        let mut report = SweepReport::default();
        if let Err(error) = self.reload().await {
            report.errors.push(error);
        }
        report.errors.extend(self.regroup(now_ms).await.err());
        let groups = match self.groups().await {
            Ok(groups) => groups,
            Err(error) => {
                report.errors.push(error);
                return report;
            }
        };
        for newest in groups.into_values() {
            let mut stuck: BTreeSet<String> = BTreeSet::new();
            for (group, receipts) in self.open_transitions(newest, now_ms, &mut report).await {
                for notification in &group.notifications {
                    let channel = &notification.channel;
                    if receipts.has(&group, channel) {
                        continue;
                    }
                    // Order within a channel: an end is not told before its beginning.
                    if stuck.contains(channel)
                        || !self.deliver(&group, notification, &receipts, now_ms, &mut report).await
                    {
                        stuck.insert(channel.clone());
                        report.undelivered = report.undelivered.saturating_add(1);
                    }
                }
            }
        }
        report
    }

    /// The transitions with notifications to send, oldest first: back from the newest one to the first that
    /// is complete or expired.
    async fn open_transitions(
        &self,
        newest: Group,
        now_ms: i64,
        report: &mut SweepReport,
    ) -> Vec<(Group, Receipts)> {
        let sequence = SequenceKey::group(&newest.key);
        let mut open = Vec::new();
        let mut next = Some(newest);
        while let Some(group) = next {
            if now_ms.saturating_sub(group.changed_ms) > EXPIRED_MS {
                break;
            }
            let receipts = match Receipts::of(&self.store, &group).await {
                Ok(receipts) => receipts,
                // Fail open: rather twice than not at all. What is older stays for another sweep.
                Err(source) => {
                    report.errors.push(store_error("read receipts of", &group.key, source));
                    open.push((group, Receipts::none()));
                    break;
                }
            };
            let complete = group.notifications.iter().all(|n| receipts.has(&group, &n.channel));
            if complete && !group.notifications.is_empty() {
                break;
            }
            let before = group.number.saturating_sub(1);
            open.push((group, receipts));
            next = if before == 0 { None } else { self.transition(&sequence, before, report).await };
        }
        open.reverse();
        open
    }

    async fn transition(
        &self,
        sequence: &SequenceKey,
        number: u64,
        report: &mut SweepReport,
    ) -> Option<Group> {
        match crate::store::sequence::at(&self.store, sequence, number).await {
            Ok(group) => group,
            Err(source) => {
                report.errors.push(store_error("read group", sequence.prefix().as_str(), source));
                None
            }
        }
    }

    /// Whether the notification is done with: accepted, refused for good, or taken by a failover channel.
    async fn deliver(
        &self,
        group: &Group,
        notification: &Notification,
        receipts: &Receipts,
        now_ms: i64,
        report: &mut SweepReport,
    ) -> bool {
        match self.attempt(group, notification, &notification.channel, now_ms, report).await {
            Attempt::Done => true,
            Attempt::NotNow => false,
            failed @ (Attempt::Failed | Attempt::Refused) => {
                if group.severity == Severity::Critical {
                    for channel in &group.failover {
                        if receipts.has(group, channel) {
                            break;
                        }
                        let outcome = self.attempt(group, notification, channel, now_ms, report).await;
                        if outcome == Attempt::Done {
                            break;
                        }
                    }
                }
                failed == Attempt::Refused
            }
        }
    }

    async fn attempt(
        &self,
        group: &Group,
        notification: &Notification,
        name: &str,
        now_ms: i64,
        report: &mut SweepReport,
    ) -> Attempt {
        let key = &notification.idempotency_key;
        let fail = |error| Failure { channel: name.to_owned(), idempotency_key: key.clone(), error };
        let Some(channel) = self.channels.get(name) else {
            let reason = "the channel is no longer configured".to_owned();
            report.failures.push(fail(SendError::Permanent { reason }));
            return Attempt::Failed;
        };
        if !lock(&self.breakers).entry(name.to_owned()).or_default().allows(now_ms) {
            return Attempt::Failed;
        }
        match receipts::claim(&self.store, &self.writer, group, name, now_ms).await {
            Ok(true) => {}
            Ok(false) => return Attempt::NotNow,
            Err(source) => report.errors.push(store_error("claim a notification of", &group.key, source)),
        }
        let message = Message { group, channel: name, idempotency_key: key };
        let sent = send(channel.as_ref(), &message).await;
        self.note(name, &sent, now_ms);
        let (outcome, reason, attempt) = match sent {
            Ok(()) => {
                report.accepted.push((key.clone(), name.to_owned()));
                (ReceiptOutcome::Accepted, None, Attempt::Done)
            }
            Err(error @ SendError::Transient { .. }) => {
                report.failures.push(fail(error));
                return Attempt::Failed;
            }
            Err(error @ SendError::Permanent { .. }) => {
                let reason = Some(error.to_string());
                report.failures.push(fail(error));
                (ReceiptOutcome::Refused, reason, Attempt::Refused)
            }
        };
        let receipt = Receipt {
            outcome,
            channel: name.to_owned(),
            idempotency_key: key.clone(),
            at_ms: now_ms,
            writer: self.writer.id().to_string(),
            reason,
        };
        if let Err(source) = receipts::put(&self.store, group, &receipt).await {
            report.errors.push(store_error("write a receipt of", &group.key, source));
        }
        attempt
    }

    fn note(&self, name: &str, sent: &Result<(), SendError>, now_ms: i64) {
        let mut breakers = lock(&self.breakers);
        let breaker = breakers.entry(name.to_owned()).or_default();
        match sent {
            Ok(()) | Err(SendError::Permanent { .. }) => breaker.succeeded(),
            Err(SendError::Transient { retry_after, .. }) => {
                let wait_ms = retry_after.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                breaker.failed(now_ms, wait_ms);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Done,
    /// Somebody else has the claim, or it is too early.
    NotNow,
    Failed,
    Refused,
}

/// One message with its retries: a deadline for each try, full jitter between them, and the wait that the
/// other side asks for.
async fn send(channel: &dyn Channel, message: &Message<'_>) -> Result<(), SendError> {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(300))
        .with_max_delay(WAIT_MAX)
        .with_max_times(TRIES.saturating_sub(1))
        .with_jitter()
        .build();
    loop {
        let sent = tokio::time::timeout(channel.timeout(), channel.send(message)).await;
        let error = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error @ SendError::Permanent { .. })) => return Err(error),
            Ok(Err(error)) => error,
            Err(_) => SendError::Transient {
                reason: format!("no answer within {} s", channel.timeout().as_secs_f32()),
                retry_after: None,
            },
        };
        let wished = match &error {
            SendError::Transient { retry_after, .. } => *retry_after,
            SendError::Permanent { .. } => None,
        };
        match (waits.next(), wished) {
            (Some(wait), None) => tokio::time::sleep(wait).await,
            (Some(wait), Some(wished)) if wished <= WAIT_MAX => tokio::time::sleep(wait.max(wished)).await,
            _ => return Err(error),
        }
    }
}
