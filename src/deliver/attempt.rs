//! One notification to one channel: claim, send with retries, receipt.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, timeout_at};

use super::breaker::Breaker;
use super::channel::Reference;
use super::commit::store_error;
use super::lanes::Lanes;
use super::receipts::{self, Receipt, ReceiptOutcome, Story};
use super::sweep::{Failure, SweepClock, SweepReport};
use super::{Channel, Deliverer, Message, SendError, lock};
use crate::alert::{Group, Notification};
use crate::model::Severity;

/// Tries within one claim, the first included. Pauses that the other side asks for are not counted.
const TRIES: usize = 3;
/// The shortest pause before the next try.
const WAIT_MIN: Duration = Duration::from_millis(300);
/// The longest wait that one sweep grants a channel; a longer wish opens its breaker instead.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long one claim is used: less than its life, so that nobody else sends meanwhile.
const PATIENCE: Duration = Duration::from_secs(25);
/// The same where a failover channel stands ready, which shall have been tried within 20 s.
const PATIENCE_WITH_FAILOVER: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Done,
    /// Somebody else has the claim, or it is too early.
    NotNow,
    Failed,
    Refused,
}

/// What becomes of receipts. A sweep looks back to the newest transition that has all of them, so the receipt
/// of a transition must not be there before its predecessors', nor before the transition itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Store,
    /// In memory, until a sweep finds those in the store.
    Keep,
}

impl Deliverer {
    pub(super) async fn attempt(
        &self,
        group: &Group,
        notification: &Notification,
        name: &str,
        (proof, clock): (Proof, SweepClock),
        report: &mut SweepReport,
    ) -> Attempt {
        let key = &notification.idempotency_key;
        if lock(&self.settled).has(key, name) {
            let waiting = lock(&self.settled).waiting(key, name);
            if let Some(receipt) = waiting {
                self.settle(group, receipt, proof, report).await;
            }
            return Attempt::Done;
        }
        let Some(_sending) = InFlight::enter(&self.in_flight, key, name) else { return Attempt::NotNow };
        if !self.channels.contains_key(name) {
            let reason = "the channel is no longer configured".to_owned();
            let (channel, idempotency_key) = (name.to_owned(), key.clone());
            report.failures.push(Failure {
                channel,
                idempotency_key,
                error: SendError::Permanent { reason },
            });
            return Attempt::Failed;
        }
        let Some(_admitted) = Admitted::enter(&self.breakers, name, clock.now_ms()) else {
            return Attempt::Failed;
        };
        match receipts::claim(&self.store, &self.writer, group, name, clock.now_ms()).await {
            Ok(true) => {}
            Ok(false) => return Attempt::NotNow,
            Err(source) => report.errors.push(store_error("claim a notification of", &group.key, source)),
        }
        self.send_claimed(group, notification, name, (proof, clock), report).await
    }

    /// Sends what this process may send.
    pub(super) async fn send_claimed(
        &self,
        group: &Group,
        notification: &Notification,
        name: &str,
        (proof, clock): (Proof, SweepClock),
        report: &mut SweepReport,
    ) -> Attempt {
        let key = &notification.idempotency_key;
        let fail = |error| Failure { channel: name.to_owned(), idempotency_key: key.clone(), error };
        let (Some(channel), Some(lanes)) = (self.channels.get(name), self.lanes.get(name)) else {
            return Attempt::Failed;
        };
        let reference =
            if channel.refers() { receipts::reference(&self.store, group, name).await } else { None };
        let ack = self.ack_links().await;
        let message = Message {
            group,
            channel: name,
            idempotency_key: key,
            sent_ms: clock.now_ms(),
            external_url: &self.external_url,
            ack: ack.as_ref(),
            reference: reference.as_deref(),
        };
        let sent = send(channel.as_ref(), lanes, &message).await;
        let now_ms = clock.now_ms();
        self.note(name, &sent, now_ms);
        match sent {
            Ok(reference) => {
                report.accepted.push((key.clone(), name.to_owned()));
                let mut receipt = self.receipt(ReceiptOutcome::Accepted, key, name, now_ms, None);
                receipt.story = reference.map(|first| Story { thread: group.thread_key(), first });
                self.settle(group, receipt, proof, report).await;
                Attempt::Done
            }
            Err(error @ SendError::Permanent { .. }) => {
                let receipt =
                    self.receipt(ReceiptOutcome::Refused, key, name, now_ms, Some(error.to_string()));
                report.failures.push(fail(error));
                self.settle(group, receipt, proof, report).await;
                Attempt::Refused
            }
            Err(error) => {
                report.failures.push(fail(error));
                Attempt::Failed
            }
        }
    }

    pub(super) fn receipt(
        &self,
        outcome: ReceiptOutcome,
        idempotency_key: &str,
        channel: &str,
        at_ms: i64,
        reason: Option<String>,
    ) -> Receipt {
        let (idempotency_key, channel) = (idempotency_key.to_owned(), channel.to_owned());
        let writer = self.writer.id().to_string();
        Receipt { outcome, channel, idempotency_key, at_ms, writer, reason, story: None }
    }

    /// Writes the receipt, or keeps it until it can be written.
    pub(super) async fn settle(
        &self,
        group: &Group,
        receipt: Receipt,
        proof: Proof,
        report: &mut SweepReport,
    ) {
        if proof == Proof::Keep {
            lock(&self.settled).unstored(receipt);
            return;
        }
        let written = receipts::put(&self.store, group, &receipt).await;
        let mut settled = lock(&self.settled);
        match written {
            Ok(()) => settled.stored(&receipt.idempotency_key, &receipt.channel, receipt.at_ms),
            Err(source) => {
                report.errors.push(store_error("write a receipt of", &group.key, source));
                settled.unstored(receipt);
            }
        }
    }

    pub(super) fn note(&self, name: &str, sent: &Result<Reference, SendError>, now_ms: i64) {
        let mut breakers = lock(&self.breakers);
        let breaker = breakers.entry(name.to_owned()).or_default();
        match sent {
            Err(SendError::Transient { retry_after, .. }) => {
                let wait_ms = retry_after.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                breaker.failed(now_ms, wait_ms);
            }
            _ => breaker.succeeded(),
        }
    }
}

/// Keeps two sweeps of one process from sending the same thing while claims cannot be had.
pub(super) struct InFlight<'a> {
    all: &'a Mutex<BTreeSet<(String, String)>>,
    own: (String, String),
}

impl<'a> InFlight<'a> {
    pub(super) fn enter(
        all: &'a Mutex<BTreeSet<(String, String)>>,
        key: &str,
        channel: &str,
    ) -> Option<Self> {
        let own = (key.to_owned(), channel.to_owned());
        let entered = lock(all).insert(own.clone());
        // Made only by who entered, as leaving is its end.
        entered.then(|| Self { all, own })
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        lock(self.all).remove(&self.own);
    }
}

/// Lets a send through a channel's breaker, and says when it is over.
pub(super) struct Admitted<'a> {
    breakers: &'a Mutex<HashMap<String, Breaker>>,
    name: &'a str,
}

impl<'a> Admitted<'a> {
    pub(super) fn enter(
        breakers: &'a Mutex<HashMap<String, Breaker>>,
        name: &'a str,
        now_ms: i64,
    ) -> Option<Self> {
        let allowed = lock(breakers).entry(name.to_owned()).or_default().enter(now_ms);
        // Made only by who entered, as leaving is its end.
        allowed.then(|| Self { breakers, name })
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = lock(self.breakers).get_mut(self.name) {
            breaker.left();
        }
    }
}

/// One message with its retries: a deadline for each try and for all, full jitter between them, and the
/// pause that the other side asks for.
pub(super) async fn send(
    channel: &dyn Channel,
    lanes: &Lanes,
    message: &Message<'_>,
) -> Result<Reference, SendError> {
    let other_way = message.group.severity == Severity::Critical && !message.group.failover.is_empty();
    let patience = if other_way { PATIENCE_WITH_FAILOVER } else { PATIENCE.max(channel.timeout()) };
    let give_up = Instant::now() + patience;
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(WAIT_MIN)
        .with_max_delay(WAIT_MAX)
        .with_max_times(TRIES.saturating_sub(1))
        .with_jitter()
        .build();
    let mut last = SendError::transient("other messages took all the time there was".to_owned());
    loop {
        let Ok(lane) = timeout_at(give_up, lanes.enter()).await else { return Err(last) };
        let time = channel.timeout().min(give_up.saturating_duration_since(Instant::now()));
        let sent = tokio::time::timeout(time, channel.send(message)).await;
        drop(lane);
        last = match sent {
            Ok(Ok(reference)) => {
                lanes.widen();
                return Ok(reference);
            }
            Ok(Err(error @ SendError::Permanent { .. })) => return Err(error),
            Ok(Err(error)) => error,
            Err(_) => SendError::transient(format!("no answer within {:.1} s", time.as_secs_f32())),
        };
        let wished = match &last {
            SendError::Transient { retry_after, .. } => *retry_after,
            _ => None,
        };
        let wait = match wished.map(|wished| wished.max(WAIT_MIN)) {
            Some(wished) if wished > WAIT_MAX => None,
            Some(wished) => {
                lanes.pause(wished);
                Some(wished)
            }
            None => waits.next(),
        };
        match wait.filter(|wait| Instant::now() + *wait < give_up) {
            // The pause is kept on entering.
            Some(_) if wished.is_some() => {}
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(last),
        }
    }
}
