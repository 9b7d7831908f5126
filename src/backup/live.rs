//! What members say now of the revision that a database ends with: proof, as long as they have not compacted it.

use std::time::Duration;

use super::RecordedHash;
use crate::etcd::{ClusterConfig, EtcdError, Login, Member, members};
use crate::model::{MemberId, chain};

/// A member reads all of its data to hash it.
const DEADLINE: Duration = Duration::from_secs(60);

/// HashKV of all members at `revision`, and why some did not answer.
///
/// # Errors
/// When the configuration does not fit together.
pub async fn said_now(
    cluster: &ClusterConfig,
    login: Option<&Login>,
    revision: i64,
) -> Result<(Vec<RecordedHash>, Vec<String>), EtcdError> {
    let as_backup = cluster.as_backup();
    let (mut said, mut silent) = (Vec::new(), Vec::new());
    for found in members(&as_backup, login).await?.into_iter().filter(|found| !found.is_learner) {
        let member = Member::new(&as_backup, &found.client_url, login)?;
        match member.hash_kv(revision, DEADLINE).await {
            Ok(answer) => said.push(RecordedHash {
                instance: member.instance().clone(),
                member_id: MemberId(answer.header.map_or(0, |header| header.member_id)),
                revision,
                compact_revision: answer.compact_revision,
                hash: answer.hash,
            }),
            Err(error) => silent.push(format!("{}: {}", found.client_url, chain(&error))),
        }
    }
    Ok((said, silent))
}
