//! When members begin and cease to hear each other.

use serde_json::json;

use super::{Happening, event};
use crate::model::{Event, EventKind, Instance, Reading, Severity, Structure};

/// Compares with what was told last. A reading of which no member's counters tell anything changes nothing.
pub(super) fn observe(told: &mut Option<String>, next: &Reading) -> Option<Event> {
    if next.members.iter().all(|member| member.hears.is_empty()) {
        return None;
    }
    let structure = Structure::of(&next.rows());
    let name = |instance: &Instance| {
        let member = next.members.iter().find(|member| member.instance == *instance);
        member.and_then(|member| member.name.clone()).unwrap_or_else(|| instance.to_string())
    };
    let shape = structure.partition(&name);
    if *told == shape {
        return None;
    }
    told.clone_from(&shape);
    let (kind, severity, text) = match &shape {
        Some(shape) => (
            EventKind::PartitionStarted,
            Severity::Critical,
            format!("the monitor reaches the members, but they do not reach each other: {shape}"),
        ),
        None => (EventKind::PartitionEnded, Severity::Info, "all members hear each other again".to_owned()),
    };
    let cuts: Vec<[&Instance; 2]> = structure.cuts.iter().map(|(deaf, peer)| [deaf, peer]).collect();
    Some(event(
        next,
        Happening {
            kind,
            severity,
            subject: next.cluster.as_str(),
            occurrence: format!("{} {}", shape.unwrap_or_default(), next.ts_ms),
            text,
            details: json!({ "sides": structure.sides, "does_not_hear": cuts, "quorum_margin": structure.margin }),
        },
    ))
}
