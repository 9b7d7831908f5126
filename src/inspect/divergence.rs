//! The first revision at which two members' data differ.

use serde::{Deserialize, Serialize};

use super::hash::Replica;

/// Where two members part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The lowest revision at which their hashes are known to differ.
    pub revision: i64,
    /// Whether they are known to be equal at the revision before it. Otherwise the difference may be as old as
    /// history is: what is older is compacted away.
    pub is_first: bool,
}

/// Halves the revisions in (`compact_revision`, `differs`] until the first that differs is left: a hash covers all
/// history since the compaction, so once different it stays so. Some twenty calls to each for a million
/// revisions, at the pace of inspections. `None` when a member stops answering.
pub(super) async fn first_difference(
    one: &impl Replica,
    other: &impl Replica,
    compact_revision: i64,
    differs: i64,
) -> Option<Divergence> {
    let (mut equal, mut differs) = (compact_revision, differs);
    while differs - equal > 1 {
        let middle = equal + (differs - equal) / 2;
        let (a, b) = (one.hash(middle).await.ok()?, other.hash(middle).await.ok()?);
        // A compaction since moved the ground: what was found so far holds.
        if a.1 != compact_revision || b.1 != compact_revision {
            return Some(Divergence { revision: differs, is_first: false });
        }
        if a.0 == b.0 {
            equal = middle;
        } else {
            differs = middle;
        }
    }
    Some(Divergence { revision: differs, is_first: equal > compact_revision })
}
