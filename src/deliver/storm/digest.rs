//! The common message: who may send it, what it says, and that it was taken.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};

use super::{Due, WRITES_AT_ONCE};
use crate::alert::{Group, Kind, Notification};
use crate::deliver::attempt::{Admitted, Attempt, InFlight, Proof, send};
use crate::deliver::commit::store_error;
use crate::deliver::sweep::{Failure, SweepClock, SweepReport};
use crate::deliver::{Deliverer, Message, SendError, lock, receipts};
use crate::model::{Incident, Labels, Severity};

impl Deliverer {
    /// Sends one message for all notifications of `stories` that this process may send now. `NotNow`: others are
    /// at all of them.
    pub(super) async fn digest(
        &self,
        name: &str,
        stories: &[Vec<Due>],
        clock: SweepClock,
        report: &mut SweepReport,
    ) -> Attempt {
        let now_ms = clock.now_ms();
        let (Some(channel), Some(lanes)) = (self.channels.get(name), self.lanes.get(name)) else {
            return Attempt::Failed;
        };
        let Some(_admitted) = Admitted::enter(&self.breakers, name, now_ms) else { return Attempt::Failed };
        let claims = stream::iter(stories.to_vec()).map(|story| self.claim_story(name, story, now_ms));
        let (mut mine, mut sending) = (Vec::new(), Vec::new());
        let mut claims = std::pin::pin!(claims.buffered(WRITES_AT_ONCE));
        while let Some((claimed, in_flight, left, errors)) = claims.next().await {
            report.errors.extend(errors);
            report.undelivered = report.undelivered.saturating_add(left);
            sending.extend(in_flight);
            if !claimed.is_empty() {
                mine.push(claimed);
            }
        }
        if mine.is_empty() {
            return Attempt::NotNow;
        }
        let group = joined(name, &mine, now_ms);
        let key = group.notifications.first().map(|first| first.idempotency_key.clone()).unwrap_or_default();
        let ack = self.ack_links().await;
        let message = Message {
            group: &group,
            channel: name,
            idempotency_key: &key,
            sent_ms: now_ms,
            external_url: &self.external_url,
            ack: ack.as_ref(),
            reference: None,
        };
        let sent = send(channel.as_ref(), lanes, &message).await;
        self.note(name, &sent, clock.now_ms());
        match sent {
            Ok(_) => {
                self.settle_all(name, &mine, clock.now_ms(), report).await;
                Attempt::Done
            }
            Err(error) => {
                let refused = matches!(error, SendError::Permanent { .. });
                report.failures.push(Failure { channel: name.to_owned(), idempotency_key: key, error });
                if !refused {
                    return Attempt::Failed;
                }
                self.send_each(name, mine, clock, report).await;
                Attempt::Refused
            }
        }
    }

    /// What is refused together may be taken one by one: it may have been the length.
    async fn send_each(
        &self,
        name: &str,
        stories: Vec<Vec<Due>>,
        clock: SweepClock,
        report: &mut SweepReport,
    ) {
        let each = |story: Vec<Due>| async move {
            let (mut report, mut stuck, mut unproven) = (SweepReport::default(), false, false);
            for (open, notification) in &story {
                let when = (if unproven { Proof::Keep } else { open.proof }, clock);
                let attempt = match stuck || clock.is_over() {
                    true => Attempt::NotNow,
                    false => self.send_claimed(&open.group, notification, name, when, &mut report).await,
                };
                unproven |= lock(&self.settled).waiting(&notification.idempotency_key, name).is_some();
                if matches!(attempt, Attempt::NotNow | Attempt::Failed) {
                    stuck = true;
                    report.undelivered = report.undelivered.saturating_add(1);
                }
            }
            report
        };
        let parts = stream::iter(stories).map(each).buffer_unordered(WRITES_AT_ONCE);
        for part in parts.collect::<Vec<_>>().await {
            report.add(part);
        }
    }

    /// The notifications of a story that this process may send, from its front, as an end is not told before its
    /// beginning; what it keeps meanwhile; how many are left to others; and what went wrong.
    async fn claim_story(
        &self,
        name: &str,
        story: Vec<Due>,
        now_ms: i64,
    ) -> (Vec<Due>, Vec<InFlight<'_>>, usize, Vec<crate::deliver::DeliverError>) {
        let (mut mine, mut sending, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = story.into_iter();
        for (open, notification) in rest.by_ref() {
            let key = &notification.idempotency_key;
            if lock(&self.settled).has(key, name) {
                continue;
            }
            let Some(entered) = InFlight::enter(&self.in_flight, key, name) else {
                return (mine, sending, rest.count().saturating_add(1), errors);
            };
            match receipts::claim(&self.store, &self.writer, &open.group, name, now_ms).await {
                Ok(true) => {}
                Ok(false) => return (mine, sending, rest.count().saturating_add(1), errors),
                // Fail open: rather twice than not at all.
                Err(source) => {
                    errors.push(store_error("claim a notification of", &open.group.key, source));
                }
            }
            sending.push(entered);
            mine.push((open, notification));
        }
        (mine, sending, 0, errors)
    }
}

/// One group of everything: of each incident its newest state, the worst first.
fn joined(name: &str, stories: &[Vec<Due>], now_ms: i64) -> Group {
    let mut newest: BTreeMap<&str, &Incident> = BTreeMap::new();
    let (mut keys, mut shown) = (BTreeSet::new(), BTreeMap::new());
    for (open, notification) in stories.iter().flatten() {
        keys.insert(notification.idempotency_key.as_str());
        shown.extend(open.group.told.iter().map(|(key, told)| (key.clone(), told.clone())));
        for incident in &open.group.incidents {
            let there = newest.entry(&incident.fingerprint).or_insert(incident);
            if (incident.episode, incident.changed_ms) >= (there.episode, there.changed_ms) {
                *there = incident;
            }
        }
    }
    let mut incidents: Vec<Incident> = newest.into_values().cloned().collect();
    incidents.sort_by_key(|incident| {
        let over = !incident.state.is_active();
        (over, std::cmp::Reverse(incident.severity), incident.fired_ms)
    });
    shown.retain(|key, _| incidents.iter().any(|incident| incident.fingerprint == *key));
    let text = keys.into_iter().collect::<Vec<_>>().join("\n");
    // The same notifications in one message are the same message.
    let idempotency_key = format!("storm-{}", crate::alert::group::short_hash(&text));
    Group {
        key: format!("storm:{name}"),
        number: 1,
        thread: u64::try_from(now_ms).unwrap_or_default(),
        labels: Labels::default(),
        kind: Kind::Storm,
        severity: incidents.iter().map(|incident| incident.severity).max().unwrap_or(Severity::Warning),
        notifications: vec![Notification { channel: name.to_owned(), idempotency_key }],
        incidents,
        failover: Vec::new(),
        level: 0,
        told: shown,
        changed_ms: now_ms,
    }
}
