//! Claims and receipts: who tries to send, and what was accepted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::alert::Group;
use crate::store::key::{self, Prefix};
use crate::store::{Create, Store, StoreError, Writer};

/// How a notification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptOutcome {
    Accepted,
    /// The other side will never take it; later notifications of the channel go on.
    Refused,
    /// No try was accepted while the news was news.
    Expired,
}

/// The end of one notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub outcome: ReceiptOutcome,
    pub channel: String,
    pub idempotency_key: String,
    pub at_ms: i64,
    pub writer: String,
    /// What the other side said, if it refused.
    pub reason: Option<String>,
    /// Where the other side has the story's first message, for channels that reply to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<Story>,
}

/// A story as a channel knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The group's thread key.
    pub thread: String,
    /// The channel's name of the first message.
    pub first: String,
}

#[derive(Serialize, Deserialize)]
struct Claim {
    writer: String,
    nonce: u64,
    at_ms: i64,
}

/// Which channels have a receipt for one transition, as escaped names.
pub(super) struct Receipts(BTreeSet<String>);

impl Receipts {
    pub(super) async fn of(store: &Store, group: &Group) -> Result<Self, StoreError> {
        let entries = store.list(&Prefix::receipts(&group.key, group.number)).await?;
        Ok(Self(entries.iter().map(|entry| entry.key.name().to_owned()).collect()))
    }

    pub(super) fn has(&self, group: &Group, channel: &str) -> bool {
        self.0.contains(key::receipt(&group.key, group.number, channel).name())
    }

    pub(super) fn none() -> Self {
        Self(BTreeSet::new())
    }
}

/// Writes the receipt; one that is there already says the same.
pub(super) async fn put(store: &Store, group: &Group, receipt: &Receipt) -> Result<(), StoreError> {
    let key = key::receipt(&group.key, group.number, &receipt.channel);
    let body = serde_json::to_vec(receipt)
        .map_err(|error| StoreError::Body { key: key.to_string(), reason: error.to_string() })?;
    store.create(&key, body.into()).await.map(drop)
}

/// How long nobody else tries after attempt `attempt`: a send with its retries, then longer each time.
fn claim_life_ms(attempt: u32) -> i64 {
    (30_000_i64 << attempt.saturating_sub(1).min(4)).min(300_000)
}

/// Takes the right to try. `false`: somebody else is at it, or it is too early to try again.
pub(super) async fn claim(
    store: &Store,
    writer: &Writer,
    group: &Group,
    channel: &str,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let key_of = |attempt| key::claim(&group.key, group.number, channel, attempt);
    let first = key_of(1);
    let folder = |text: &str| text.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let attempts: BTreeMap<u32, _> = store
        .list(&Prefix::claims(&group.key, group.number))
        .await?
        .into_iter()
        .filter(|entry| folder(entry.key.as_str()) == folder(first.as_str()))
        .filter_map(|entry| Some((entry.key.name().parse().ok()?, entry.key)))
        .collect();
    let mut next = 1;
    if let Some((attempt, key)) = attempts.last_key_value() {
        let claim: Option<Claim> = store.get(key).await?.and_then(|body| serde_json::from_slice(&body).ok());
        let age_ms = claim.map_or(i64::MAX, |claim| now_ms.saturating_sub(claim.at_ms));
        // A claim from the future is of a clock that is ahead: by little and it holds, by much and it must not
        // hold for ever.
        let life_ms = claim_life_ms(*attempt);
        if (-life_ms..life_ms).contains(&age_ms) {
            return Ok(false);
        }
        next = attempt.saturating_add(1);
    }
    let claim = Claim { writer: writer.id().to_string(), nonce: writer.nonce(), at_ms: now_ms };
    let key = key_of(next);
    let body = serde_json::to_vec(&claim)
        .map_err(|error| StoreError::Body { key: key.to_string(), reason: error.to_string() })?;
    Ok(store.create(&key, body.into()).await? == Create::Won)
}

/// The first message of the group's story, from the receipt of the transition before: each carries it on.
/// A store that cannot be read costs the thread, not the message.
pub(super) async fn reference(store: &Store, group: &Group, channel: &str) -> Option<String> {
    let before = group.number.checked_sub(1).filter(|number| *number > 0)?;
    let story = get(store, &group.key, before, channel).await?.story?;
    (story.thread == group.thread_key()).then_some(story.first)
}

/// The receipt, if there is one and it can be read.
pub(super) async fn get(store: &Store, group: &str, number: u64, channel: &str) -> Option<Receipt> {
    let body = store.get(&key::receipt(group, number, channel)).await.ok()??;
    serde_json::from_slice(&body).ok()
}
