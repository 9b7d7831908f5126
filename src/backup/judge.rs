//! From what a file was found to be to a verdict: pure.

use super::database::Examined;
use super::{Level, RecordedHash, VerdictState};
use crate::model::chain;

/// How good a database is, and why not better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub state: VerdictState,
    pub level: Option<Level>,
    /// What is wrong or missing, a sentence each.
    pub why: Vec<String>,
}

/// The revisions at which HashKV is to be computed for [`judge`].
pub fn revisions_to_hash(said: &[RecordedHash]) -> Vec<i64> {
    let mut revisions: Vec<i64> = said.iter().map(|hash| hash.revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    revisions
}

/// Judges what `examined` says by what members `said` of their data: it is verified when a member said the same of the same
/// revision, and none said anything else.
pub fn judge(examined: &Examined, said: &[RecordedHash]) -> Judgement {
    let level = examined.level;
    if let Some(damage) = &examined.damage {
        return Judgement { state: VerdictState::Bad, level, why: vec![chain(damage)] };
    }
    let mut why = examined.notes.clone();
    let compact_revision = examined.found.as_ref().map_or(0, |found| found.compact_revision);
    let mut agree = Vec::new();
    let mut differ = Vec::new();
    for recorded in said {
        // etcd says -1 where nothing was compacted.
        let comparable = recorded.compact_revision.max(0) == compact_revision;
        let ours =
            examined.hashes.iter().find(|hash| hash.revision == recorded.revision).filter(|_| comparable);
        match ours {
            Some(ours) if ours.hash == recorded.hash => agree.push(recorded),
            Some(ours) => differ.push((recorded, ours.hash)),
            None => {}
        }
    }
    why.extend(differ.iter().map(|(recorded, hash)| {
        format!(
            "its HashKV at revision {} is {hash}, and {} said {}",
            recorded.revision, recorded.instance, recorded.hash
        )
    }));
    let state = match (agree.is_empty(), differ.is_empty()) {
        (true, false) => VerdictState::Bad,
        (false, false) => {
            why.push("the members did not agree with each other when it was made".to_owned());
            VerdictState::Unverified
        }
        (true, true) => {
            why.push(match said.first() {
                None => "no member said what its data hash to: it is whole, and nothing says that it is the cluster's".to_owned(),
                Some(_) => format!(
                    "what members said of their data cannot be compared: the database is compacted up to revision {compact_revision}"
                ),
            });
            VerdictState::Unverified
        }
        // Without a checksum its bytes may be another cluster's; the members' word says that they are not.
        (false, true) => VerdictState::Verified,
    };
    let level = if state == VerdictState::Verified { Some(Level::L2) } else { level };
    Judgement { state, level, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Found;
    use crate::backup::database::HashAt;
    use crate::model::MemberId;

    fn said(instance: &str, revision: i64, compact_revision: i64, hash: u32) -> RecordedHash {
        let instance = format!("{instance}:2379").parse().expect("an instance");
        RecordedHash { instance, member_id: MemberId(1), revision, compact_revision, hash }
    }

    fn examined(hash: u32) -> Examined {
        let found = Found {
            status_hash: 1,
            revision: 12,
            compact_revision: 5,
            entries: 3,
            keys: 2,
            bytes: 4096,
            hash_kv: None,
        };
        Examined {
            level: Some(Level::L1),
            trailer: None,
            damage: None,
            notes: Vec::new(),
            found: Some(found),
            hashes: vec![HashAt { revision: 10, compact_revision: 5, hash }],
        }
    }

    #[test]
    fn what_members_said_decides() {
        let (same, other) = (said("a", 10, 5, 7), said("b", 10, 5, 8));
        let compacted = said("a", 10, 6, 7);
        for (said, state, level, why) in [
            (vec![same.clone()], VerdictState::Verified, Level::L2, ""),
            (vec![same.clone(), same.clone()], VerdictState::Verified, Level::L2, ""),
            (vec![], VerdictState::Unverified, Level::L1, "no member said"),
            (vec![other.clone()], VerdictState::Bad, Level::L1, "is 7, and b:2379 said 8"),
            (vec![same.clone(), other], VerdictState::Unverified, Level::L1, "did not agree"),
            (vec![compacted.clone()], VerdictState::Unverified, Level::L1, "up to revision 5"),
            (vec![compacted, same], VerdictState::Verified, Level::L2, ""),
        ] {
            let found = judge(&examined(7), &said);
            assert_eq!((found.state, found.level), (state, Some(level)), "{said:?}");
            assert!(found.why.join("; ").contains(why), "{found:?}");
        }
    }

    #[test]
    fn damage_is_bad_whatever_was_said() {
        let damage = crate::backup::database::Damage::Stopped;
        let broken = Examined { damage: Some(damage), level: Some(Level::L0), ..examined(7) };
        let found = judge(&broken, &[said("a", 10, 5, 7)]);
        assert_eq!((found.state, found.level), (VerdictState::Bad, Some(Level::L0)));
    }
}
