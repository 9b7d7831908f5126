//! Hashes of all members at one common revision.
//!
//! As etcd's own check (`corrupt.go`) this compares only hashes of equal compact revision: history that one member
//! has compacted and another has not is no difference in data. Unlike it, nobody is accused at first sight.

use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::agreement::Groups;
use super::divergence::{Divergence, first_difference};
use crate::etcd::{EtcdError, Member};
use crate::model::{ErrorKind, Instance};

/// Rounds until something is certain. Compactions come minutes apart, so two in a row meet one at most.
const ROUNDS: u32 = 6;
/// Between two rounds; long enough for a compaction that one member has done to be done by all.
const PAUSE: Duration = Duration::from_secs(1);
/// A member reads all of its keys for it: about a second per GiB (etcd issue 8910).
const DEADLINE: Duration = Duration::from_secs(60);
/// The right the call needs, in etcd's words.
const RIGHT: &str = "Maintenance.HashKV: role root";

/// What comparing hashes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashVerdict {
    /// All members that could be compared hold the same data.
    Agree,
    /// Twice in a row the same members held different data at one revision.
    Differ,
    /// Nothing could be compared: too few answer, or a right is missing.
    Unknown,
}

/// One member's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHash {
    pub instance: Instance,
    pub hash: u32,
    /// History up to it is compacted at that member.
    pub compact_revision: i64,
}

/// A comparison of hashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HashCheck {
    /// When it started, ms since the epoch, UTC.
    pub ts_ms: i64,
    pub verdict: HashVerdict,
    /// The revision all hashes are of; `None` when no member told its own.
    pub revision: Option<i64>,
    /// Those that were compared.
    pub members: Vec<MemberHash>,
    /// Who stands against a majority; empty where there is none.
    pub minority: Vec<Instance>,
    /// Where the data of the first two groups part.
    pub divergence: Option<Divergence>,
    /// Members that were not compared, each with the reason.
    pub left_out: Vec<(Instance, String)>,
    /// In etcd's words, when it is why nothing is known.
    pub missing_right: Option<String>,
}

/// Why a member gave no hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The revision is compacted away.
    Compacted,
    /// The right is missing.
    Denied(String),
    Failed(String),
}

/// What the check needs of a member.
pub(super) trait Replica: Sync {
    fn instance(&self) -> &Instance;

    /// The newest revision that the member has applied.
    fn revision(&self) -> impl Future<Output = Result<i64, Refusal>> + Send;

    /// The hash of all that is up to `revision`, and the compact revision that it holds for.
    fn hash(&self, revision: i64) -> impl Future<Output = Result<(u32, i64), Refusal>> + Send;
}

impl Replica for Member {
    fn instance(&self) -> &Instance {
        Member::instance(self)
    }

    async fn revision(&self) -> Result<i64, Refusal> {
        // A serializable read tells what this member has applied, and costs it nothing.
        let (_, answer) = self.read(true).await;
        let answer = answer.map_err(|error| refusal(&error))?;
        Ok(answer.header.unwrap_or_default().revision)
    }

    async fn hash(&self, revision: i64) -> Result<(u32, i64), Refusal> {
        let answer = self.hash_kv(revision, DEADLINE).await.map_err(|error| refusal(&error))?;
        Ok((answer.hash, answer.compact_revision))
    }
}

fn refusal(error: &EtcdError) -> Refusal {
    let text = error.to_string();
    match error.kind() {
        _ if text.contains("has been compacted") => Refusal::Compacted,
        ErrorKind::Denied | ErrorKind::Auth => Refusal::Denied(text),
        _ => Refusal::Failed(text),
    }
}

/// One pass over all members at one revision.
#[derive(Debug, Default)]
struct Round {
    revision: Option<i64>,
    /// Of equal compact revision.
    members: Vec<MemberHash>,
    left_out: Vec<(Instance, String)>,
    denied: bool,
    /// Some members were in the middle of a compaction, or another was far behind: look again.
    unsettled: bool,
}

impl Round {
    fn groups(&self) -> Groups {
        Groups::of(self.members.iter().map(|member| (member.instance.clone(), member.hash)))
    }
}

/// Compares the members' hashes; looks again before it says that some differ.
pub(super) async fn check(replicas: &[impl Replica], now_ms: i64) -> HashCheck {
    let mut suspected: Option<Groups> = None;
    let mut last = Round::default();
    for n in 0..ROUNDS {
        if n > 0 {
            tokio::time::sleep(PAUSE * n).await;
        }
        last = round(replicas).await;
        if last.denied || last.members.len() < 2 {
            // Without a right it stays so; a member that is away may come back, which the next inspection sees.
            if last.unsettled {
                continue;
            }
            break;
        }
        let groups = last.groups();
        if groups.agree() {
            // Whoever was left out for a compaction in progress is worth another look.
            if last.unsettled && n + 1 < ROUNDS {
                suspected = None;
                continue;
            }
            return verdict(HashVerdict::Agree, now_ms, last, None);
        }
        if suspected.as_ref() == Some(&groups) {
            let divergence = divergence(replicas, &groups, &last).await;
            return verdict(HashVerdict::Differ, now_ms, last, divergence);
        }
        suspected = Some(groups);
    }
    verdict(HashVerdict::Unknown, now_ms, last, None)
}

fn verdict(verdict: HashVerdict, now_ms: i64, round: Round, divergence: Option<Divergence>) -> HashCheck {
    let minority = if verdict == HashVerdict::Differ { round.groups().minority() } else { Vec::new() };
    HashCheck {
        ts_ms: now_ms,
        verdict,
        revision: round.revision,
        minority,
        divergence,
        missing_right: round.denied.then(|| RIGHT.to_owned()),
        members: round.members,
        left_out: round.left_out,
    }
}

async fn round(replicas: &[impl Replica]) -> Round {
    let mut round = Round::default();
    // All at once, so that the common revision is a fresh one.
    let revisions = join_all(replicas.iter().map(Replica::revision)).await;
    let mut known = Vec::new();
    for (replica, revision) in replicas.iter().zip(revisions) {
        match revision {
            Ok(revision) => known.push((replica, revision)),
            Err(refusal) => round.leave_out(replica, refusal),
        }
    }
    // Of one alone nothing is learned, and hashing costs it something.
    if known.len() < 2 {
        return round;
    }
    known.sort_by_key(|(_, revision)| *revision);
    // The slowest decides; one that is behind what others have compacted cannot be compared with them.
    for slowest in 0..known.len() {
        let Some((_, revision)) = known.get(slowest) else { break };
        round.revision = Some(*revision);
        let Some(candidates) = known.get(slowest..) else { break };
        let mut answers = Vec::new();
        let mut compacted = false;
        // One at a time: each reads all of its keys.
        for (replica, _) in candidates {
            match replica.hash(*revision).await {
                Ok((hash, compact_revision)) => {
                    answers.push(MemberHash { instance: replica.instance().clone(), hash, compact_revision });
                }
                Err(Refusal::Compacted) => compacted = true,
                Err(refusal) => round.leave_out(*replica, refusal),
            }
        }
        if compacted && slowest + 1 < known.len() {
            if let Some((replica, behind)) = known.get(slowest) {
                let why = format!("is at revision {behind}, which others have compacted");
                round.left_out.push((replica.instance().clone(), why));
            }
            round.unsettled = true;
            continue;
        }
        round.unsettled |= compacted;
        round.keep_comparable(answers);
        break;
    }
    round
}

impl Round {
    fn leave_out(&mut self, replica: &impl Replica, refusal: Refusal) {
        let why = match refusal {
            Refusal::Denied(why) => {
                self.denied = true;
                why
            }
            Refusal::Failed(why) => why,
            Refusal::Compacted => "has compacted the revision meanwhile".to_owned(),
        };
        self.left_out.push((replica.instance().clone(), why));
    }

    /// Keeps the most answers of one compact revision.
    fn keep_comparable(&mut self, answers: Vec<MemberHash>) {
        let by_compaction = Groups::of(answers.iter().map(|a| (a.instance.clone(), a.compact_revision)));
        let Some(kept) = by_compaction.0.first() else { return };
        self.unsettled |= !by_compaction.agree();
        for answer in answers {
            if kept.contains(&answer.instance) {
                self.members.push(answer);
            } else {
                let why = format!("has compacted up to {}, others have not", answer.compact_revision);
                self.left_out.push((answer.instance, why));
            }
        }
    }
}

/// Where the data of the largest two groups part.
async fn divergence(replicas: &[impl Replica], groups: &Groups, round: &Round) -> Option<Divergence> {
    let of_group = |n: usize| {
        let instance = groups.0.get(n)?.first()?;
        replicas.iter().find(|replica| replica.instance() == instance)
    };
    let compact_revision = round.members.first()?.compact_revision;
    first_difference(of_group(0)?, of_group(1)?, compact_revision, round.revision?).await
}

#[cfg(test)]
mod tests;
