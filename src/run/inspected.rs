//! What an inspection found, written down: events of what changed since the last one, and the newest of each cluster.

use super::context::Context;
use crate::inspect::{Inspection, changes};
use crate::model::ClusterName;
use crate::store::key::SequenceKey;
use crate::store::{events, sequence};

/// An inspection that found nothing new is written down again after this long, ms.
const WRITTEN_EVERY_MS: i64 = 3_600_000;

/// The last one that was written down, with its number; number 0 where there was none.
#[derive(Debug, Clone, Default)]
pub struct Last {
    number: u64,
    pub inspection: Option<Inspection>,
}

/// What is written down of `cluster`.
///
/// # Errors
/// When the store cannot be read.
pub async fn last(context: &Context, cluster: &ClusterName) -> anyhow::Result<Last> {
    let sequence = SequenceKey::inspection(cluster.as_str());
    let latest = sequence::latest::<Inspection>(context.store(), &sequence).await?;
    Ok(latest
        .map_or_else(Last::default, |(number, inspection)| Last { number, inspection: Some(inspection) }))
}

/// Writes down what is new in `inspection`, the one after `last`. Its series are the caller's to write: those of all
/// clusters go into one object.
///
/// # Errors
/// When the store cannot be written.
pub async fn note(context: &Context, last: Last, inspection: &Inspection) -> anyhow::Result<()> {
    let Last { number, inspection: last } = last;
    let happened = last.as_ref().map(|last| changes(last, inspection)).unwrap_or_default();
    let writer = &context.services.writer;
    // Before what they were found by is written down: a run that dies here is repeated, and finds them again.
    if !happened.is_empty() {
        events::write(context.store(), writer, context.now_ms(), &happened).await?;
        context.services.changed.notify_one();
    }
    let is_news = last.is_none_or(|last| {
        inspection.ts_ms - last.ts_ms >= WRITTEN_EVERY_MS
            || Inspection { ts_ms: inspection.ts_ms, ..last } != *inspection
    });
    if is_news {
        let sequence = SequenceKey::inspection(inspection.cluster.as_str());
        // Another host that inspected meanwhile knows as much.
        sequence::append(context.store(), &sequence, number + 1, inspection, writer).await?;
    }
    Ok(())
}
