//! Whether the members of a cluster agree: on who is a member, and on what they store.
//!
//! Owns: the comparison of member lists and of hashes at one revision, the second look before anybody is accused,
//! and the search for the first revision that differs. Refuses: the schedule (`jobs`), the store, and judging
//! (rules read the series that `jobs/inspect.rs` writes).

mod agreement;
mod certificates;
mod changes;
mod config;
mod divergence;
mod hash;
mod lists;
pub mod said;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::etcd::{ClusterConfig, EtcdError, Login, Member, members};
use crate::model::{ClusterName, Labels, METRIC_NAME, MemberId};

pub use agreement::Groups;
pub use certificates::{Certificate, CertificateCheck, Use};
pub use changes::changes;
pub use config::InspectConfig;
pub use divergence::Divergence;
pub use hash::{HashCheck, HashVerdict, MemberHash};
pub use lists::{ListCheck, ListedMember};

/// Of the requests per second that a member may get: the sentinel sends less than half of them.
const SHARE_OF_REQUESTS: f64 = 0.25;

/// The rule that tells of a difference fires until a check finds none.
const REPEATED_AFTER_A_DIFFERENCE: Duration = Duration::from_secs(3_600);

/// What one inspection of a cluster found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    pub cluster: ClusterName,
    /// When it started, ms since the epoch, UTC.
    pub ts_ms: i64,
    pub lists: ListCheck,
    /// The last comparison of hashes; it is made less often than inspections. `None` before the first.
    pub hash: Option<HashCheck>,
    pub certificates: CertificateCheck,
}

/// Reads one cluster for inspections.
#[derive(Debug)]
pub struct Inspector {
    config: ClusterConfig,
    /// As the cluster is watched.
    subjects: Vec<Subject>,
    /// The same members with the rights that hashes need.
    with_rights: Vec<Member>,
}

/// A member, and what only its member list entry says.
#[derive(Debug, Clone)]
struct Subject {
    member: Member,
    peer_urls: Vec<String>,
    /// Whether the member list has it.
    is_listed: bool,
    /// It answers neither for the list nor for a hash; its certificates are looked at all the same.
    is_learner: bool,
}

impl Inspector {
    /// Asks the cluster who its members are. `backup` is the credential with the root role, for hashes.
    ///
    /// # Errors
    /// When the configuration does not fit together.
    pub async fn find(
        config: &ClusterConfig,
        login: Option<&Login>,
        backup: Option<&Login>,
    ) -> Result<Self, EtcdError> {
        let max_requests_per_second = config.max_requests_per_second * SHARE_OF_REQUESTS;
        let slow = ClusterConfig { max_requests_per_second, ..config.clone() };
        let mut subjects = Vec::new();
        for found in members(&slow, login).await? {
            let member = Member::new(&slow, &found.client_url, login)?;
            let (is_listed, is_learner) = (found.is_listed, found.is_learner);
            subjects.push(Subject { member, peer_urls: found.peer_urls, is_listed, is_learner });
        }
        let others = backup.is_some() || slow.backup_tls.is_some();
        let votes = |subject: &&Subject| subject.is_listed && !subject.is_learner;
        let with_rights = subjects.iter().filter(votes).map(|subject| match others {
            true => Member::new(&slow.as_backup(), subject.member.url(), backup.or(login)),
            // Clones share the connection and the pace.
            false => Ok(subject.member.clone()),
        });
        let with_rights = with_rights.collect::<Result<_, _>>()?;
        Ok(Self { config: slow, subjects, with_rights })
    }

    /// Compares the member lists and looks at the certificates; with `hash` compares the members' data, too.
    /// `last` is the hash check that still stands.
    pub async fn inspect(&self, now_ms: i64, hash: bool, last: Option<HashCheck>) -> Inspection {
        let (lists, certificates) =
            tokio::join!(lists::check(&self.subjects), certificates::check(&self.config, &self.subjects));
        let hash = if hash { Some(hash::check(&self.with_rights, now_ms).await) } else { last };
        Inspection { cluster: self.config.name.clone(), ts_ms: now_ms, lists, hash, certificates }
    }
}

impl Inspection {
    /// Whether members disagree about something, or a certificate has expired.
    pub fn found_something(&self) -> bool {
        let expired = |seen: &Certificate| seen.not_after_ms <= self.ts_ms;
        let differ = |hash: &HashCheck| hash.verdict == HashVerdict::Differ;
        self.lists.different() > 1
            || self.certificates.seen.iter().any(expired)
            || self.hash.as_ref().is_some_and(differ)
    }

    /// What could not be looked at, for people. A missing right is said by the check itself, every time it is due.
    pub fn problems(&self) -> Vec<String> {
        let lists =
            self.lists.left_out.iter().map(|(instance, why)| format!("member list of {instance}: {why}"));
        let is_new = |hash: &&HashCheck| hash.ts_ms == self.ts_ms;
        let hash = self.hash.iter().filter(is_new).flat_map(|hash| &hash.left_out);
        let hash = hash.map(|(instance, why)| format!("hash of {instance}: {why}"));
        let certificates = self.certificates.left_out.iter().map(|(what, why)| format!("{what}: {why}"));
        lists.chain(hash).chain(certificates).collect()
    }

    /// The series that rules read. What could not be found out has none: it is unknown, not well.
    pub fn series(&self) -> Vec<(Labels, f64)> {
        let series = |name: &str, value: f64| {
            (Labels::from_pairs([(METRIC_NAME, name), ("cluster", self.cluster.as_str())]), value)
        };
        let lists = self.lists.different();
        let lists = (lists > 0).then(|| series("etcd_monitor_member_lists", lists as f64));
        let mismatch = self.hash.as_ref().and_then(|hash| match hash.verdict {
            HashVerdict::Agree => Some(0.0),
            HashVerdict::Differ => Some(1.0),
            HashVerdict::Unknown => None,
        });
        let mismatch = mismatch.map(|value| series("etcd_monitor_hash_mismatch", value));
        let certificates = self.certificates.seen.iter().map(|certificate| {
            let labels = [
                (METRIC_NAME, "etcd_monitor_cert_expiry_seconds"),
                ("cluster", self.cluster.as_str()),
                ("certificate", certificate.used_as.as_str()),
            ];
            let instance = certificate.instance.iter().map(|instance| ("instance", instance.as_str()));
            let labels = Labels::from_pairs(labels.into_iter().chain(instance));
            (labels, (certificate.not_after_ms - self.ts_ms) as f64 / 1e3)
        });
        lists.into_iter().chain(mismatch).chain(certificates).collect()
    }

    /// Whether a hash check is due: `every` after the last that gave a verdict, and at the latest an hour after one
    /// that found a difference, so that its end is seen. One that gave no verdict is repeated with the next
    /// inspection, but for a missing right, which nobody grants that often.
    pub fn hash_is_due(last: Option<&HashCheck>, now_ms: i64, every: Duration) -> bool {
        last.is_none_or(|last| {
            let wait = match (last.verdict, &last.missing_right) {
                (HashVerdict::Agree, _) | (HashVerdict::Unknown, Some(_)) => every,
                (HashVerdict::Differ, _) => every.min(REPEATED_AFTER_A_DIFFERENCE),
                (HashVerdict::Unknown, None) => Duration::ZERO,
            };
            now_ms.saturating_sub(last.ts_ms) >= i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
        })
    }
}

/// Member ids as people know them.
fn short(id: u64) -> String {
    MemberId(id).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_due_by_what_the_last_check_found() {
        let (minute, hour, day) = (60_000, 3_600_000, 86_400_000);
        let every = Duration::from_secs(86_400);
        assert!(Inspection::hash_is_due(None, 0, every));
        for (verdict, right, not_yet_ms, due_ms) in [
            (HashVerdict::Agree, None, day - 1, day),
            (HashVerdict::Differ, None, hour - 1, hour),
            (HashVerdict::Unknown, Some("root"), day - 1, day),
            (HashVerdict::Unknown, None, -1, 5 * minute),
        ] {
            let last = HashCheck {
                ts_ms: 0,
                verdict,
                revision: None,
                members: Vec::new(),
                minority: Vec::new(),
                divergence: None,
                left_out: Vec::new(),
                missing_right: right.map(str::to_owned),
            };
            let due = |now_ms| Inspection::hash_is_due(Some(&last), now_ms, every);
            assert_eq!((due(not_yet_ms), due(due_ms)), (false, true), "{verdict:?}");
            let often = Inspection::hash_is_due(Some(&last), 10 * minute, Duration::from_secs(600));
            assert!(often, "never more seldom than configured: {verdict:?}");
        }
    }
}
