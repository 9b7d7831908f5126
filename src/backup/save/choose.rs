//! Which member is copied, and what members say of their data before.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Order, SaveError};
use crate::backup::{MemberAddress, RecordedHash, Source};
use crate::etcd::wire::ListedMember;
use crate::etcd::{EtcdError, Member, members};
use crate::model::{ClusterId, MemberId, chain};

/// A member reads all of its data to hash it: a second per GiB, more on a slow disk.
const HASH_DEADLINE: Duration = Duration::from_secs(60);
/// A follower may be a moment behind the revision that it is asked for.
const HASH_TRIES: u32 = 5;
const HASH_PAUSE: Duration = Duration::from_millis(200);

/// A member that can be copied.
pub(super) struct Chosen {
    pub(super) member: Member,
    pub(super) source: Source,
    pub(super) cluster_id: ClusterId,
    pub(super) members: Vec<MemberAddress>,
    /// Another member to ask for its hash.
    other: Option<(Member, MemberId)>,
}

/// What was said before the stream was opened.
pub(super) struct Said {
    pub(super) revision: i64,
    pub(super) compact_revision: i64,
    pub(super) keys: Option<u64>,
    pub(super) hashes: Vec<RecordedHash>,
}

/// One that answered, with what speaks for it.
struct Candidate {
    member: Member,
    source: Source,
    cluster_id: ClusterId,
    members: Vec<MemberAddress>,
    in_zone: bool,
    took: Duration,
}

/// The members that can be copied, best first: those of our zone before others, followers before the leader, then the one
/// that answered soonest. Learners and members with a CORRUPT alarm are none.
pub(super) async fn choose(order: &Order<'_>) -> Result<Vec<Chosen>, SaveError> {
    let config = order.cluster.as_backup();
    let no_member = |why: String| SaveError::NoMember { why };
    let found = members(&config, order.login).await.map_err(|error| no_member(chain(&error)))?;
    let asked = found.into_iter().filter(|found| found.is_listed && !found.is_learner).map(|found| async {
        let member = Member::new(&config, &found.client_url, order.login)
            .map_err(|error| (found.client_url.clone(), error))?;
        candidate(order, member).await.map_err(|error| (found.client_url, error))
    });
    let (mut candidates, mut refused) = (Vec::new(), Vec::new());
    for answer in join_all(asked).await {
        match answer {
            Ok(Some(candidate)) => candidates.push(candidate),
            Ok(None) => {}
            Err((url, error)) => refused.push(format!("{url}: {}", chain(&error))),
        }
    }
    candidates.sort_by_key(|candidate| (!candidate.in_zone, candidate.source.is_leader, candidate.took));
    if candidates.is_empty() {
        let why =
            if refused.is_empty() { "all are learners or corrupt".to_owned() } else { refused.join("; ") };
        return Err(no_member(why));
    }
    let others: Vec<(Member, MemberId)> =
        candidates.iter().map(|candidate| (candidate.member.clone(), candidate.source.member_id)).collect();
    let chosen = candidates.into_iter().map(|candidate| {
        let other = others.iter().find(|(_, id)| *id != candidate.source.member_id).cloned();
        let Candidate { member, source, cluster_id, members, .. } = candidate;
        Chosen { member, source, cluster_id, members, other }
    });
    Ok(chosen.collect())
}

async fn candidate(order: &Order<'_>, member: Member) -> Result<Option<Candidate>, EtcdError> {
    let asked = Instant::now();
    let status = member.status().await?;
    let took = asked.elapsed();
    let header = status.header.unwrap_or_default();
    let is_corrupt = status.errors.iter().any(|error| error.contains("CORRUPT"));
    if status.is_learner || is_corrupt {
        return Ok(None);
    }
    let listed = member.member_list(false).await?;
    let name = listed.members.iter().find(|listed| listed.id == header.member_id);
    let zone = order.cluster.backup.zones.get(member.instance().as_str());
    Ok(Some(Candidate {
        source: Source {
            instance: member.instance().clone(),
            member_id: MemberId(header.member_id),
            name: name.map(|listed| listed.name.clone()).unwrap_or_default(),
            version: status.version,
            is_leader: status.leader == header.member_id,
        },
        cluster_id: ClusterId(header.cluster_id),
        members: listed.members.iter().map(address).collect(),
        in_zone: zone.is_some() && zone == order.config.zone.as_ref(),
        took,
        member,
    }))
}

fn address(listed: &ListedMember) -> MemberAddress {
    MemberAddress {
        member_id: MemberId(listed.id),
        name: listed.name.clone(),
        peer_urls: listed.peer_urls.clone(),
        client_urls: listed.client_urls.clone(),
        is_learner: listed.is_learner,
    }
}

impl Chosen {
    pub(super) fn failed(&self, source: EtcdError) -> SaveError {
        SaveError::Etcd { instance: self.source.instance.to_string(), source }
    }

    /// Asks for revision, compaction, hashes and the number of keys. Any of these may be missing but the right to hash: a copy
    /// takes the same right.
    pub(super) async fn said(&self) -> Result<Said, EtcdError> {
        let header = self.member.status().await?.header.unwrap_or_default();
        let revision = header.revision;
        let other = async {
            match &self.other {
                Some((other, id)) => hash_at(other, *id, revision).await.ok(),
                None => None,
            }
        };
        let own = hash_at(&self.member, self.source.member_id, revision);
        let count = self.member.count_keys(revision, HASH_DEADLINE);
        let (own, other, keys) = tokio::join!(own, other, count);
        let mut hashes = match own {
            Ok(own) => vec![own],
            Err(error) if is_refused(&error) => return Err(error),
            // Too busy to hash: a copy that is verified later is better than none.
            Err(_) => Vec::new(),
        };
        hashes.extend(other);
        let keys = keys.ok();
        let compact_revision = hashes.first().map_or(0, |hash| hash.compact_revision.max(0));
        Ok(Said { revision, compact_revision, keys, hashes })
    }

    /// What the source says after its stream, where it was compacted meanwhile: what it said before is of a history that
    /// the copy may not have any more. Of the oldest revision that can be asked for, as the copy has only what was there
    /// when the stream began; 3.4 does not tell of the compacted revision itself.
    pub(super) async fn said_since(&self, compact_revision: i64) -> Option<RecordedHash> {
        let now = self.member.hash_kv(0, HASH_DEADLINE).await.ok()?;
        if now.compact_revision <= compact_revision {
            return None;
        }
        for revision in [now.compact_revision, now.compact_revision + 1] {
            let said = hash_at(&self.member, self.source.member_id, revision).await.ok();
            if said.as_ref().is_some_and(|said| said.compact_revision == now.compact_revision) {
                return said;
            }
        }
        None
    }
}

async fn hash_at(member: &Member, member_id: MemberId, revision: i64) -> Result<RecordedHash, EtcdError> {
    let mut tries = 1;
    loop {
        // Of the newest revision without naming it where it is compacted itself: 3.4 refuses the name.
        match member.hash_kv(revision, HASH_DEADLINE).await {
            Ok(answer) => {
                return Ok(RecordedHash {
                    instance: member.instance().clone(),
                    member_id,
                    revision,
                    compact_revision: answer.compact_revision,
                    hash: answer.hash,
                });
            }
            Err(error) if tries < HASH_TRIES && error.is_answer() && !is_refused(&error) => tries += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(HASH_PAUSE).await;
    }
}

fn is_refused(error: &EtcdError) -> bool {
    use crate::model::ErrorKind;
    matches!(error.kind(), ErrorKind::Denied | ErrorKind::Auth)
}
