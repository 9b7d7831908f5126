//! The dead man's switch on hosts without a `watch`: held by `evaluate`, the last of the jobs that must have done
//! their work for anybody to be told of anything. A `watch` holds its own.

use super::context::Context;
use crate::model::ClusterName;
use crate::store::readings;
use crate::watch::{FRESH_MS, blind};

/// Pings the switch, if one is configured, while every cluster has a fresh reading of its quorum. The caller has
/// evaluated all rules. `Err` is why it was let go, for people: then the service's silence alarm is right.
///
/// # Errors
/// What is stale, or that the service was not reached.
pub async fn hold_switch(context: &Context, now_ms: i64) -> Result<(), String> {
    let Some(switch) = &context.config().dead_man else { return Ok(()) };
    let rows = readings::latest(context.store(), now_ms - FRESH_MS, now_ms).await;
    let rows = rows.map_err(|error| {
        format!("the dead man's switch is let go: the store cannot be read: {}", crate::model::chain(&error))
    })?;
    let clusters = context.config().clusters.iter().map(|cluster| &cluster.config.name);
    let blind = blind(clusters, &rows);
    if !blind.is_empty() {
        let names: Vec<&str> = blind.iter().map(ClusterName::as_str).collect();
        return Err(format!(
            "the dead man's switch is let go: no fresh reading of a quorum of {}",
            names.join(", ")
        ));
    }
    switch.ping().await.map_err(|error| format!("the dead man's switch was not reached: {error}"))
}
