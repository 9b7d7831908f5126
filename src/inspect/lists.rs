//! Who each member says is a member.

use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::agreement::Groups;
use super::{Subject, short};
use crate::etcd::wire::MemberListResponse;
use crate::etcd::{ClusterConfig, EtcdError, Login, Member};
use crate::model::Instance;

/// A change reaches all members within a round trip; the second look comes after this.
const PAUSE: Duration = Duration::from_secs(2);

/// A member as a list has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListedMember {
    /// Hexadecimal, as etcdctl prints it.
    pub id: String,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// The member lists of all members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListCheck {
    /// Each list with the members that have it, the most common first; one in health, none when nobody answers.
    pub lists: Vec<(Vec<Instance>, Vec<ListedMember>)>,
    /// Members that gave no list, each with the reason.
    pub left_out: Vec<(Instance, String)>,
}

impl ListCheck {
    /// How many different lists there are.
    pub fn different(&self) -> usize {
        self.lists.len()
    }
}

/// Each member's client URL and peer URLs, from the first endpoint that tells. Where none does, because its
/// certificate has expired say, they are the configured endpoints: these can be looked at all the same.
///
/// # Errors
/// When the configuration does not fit together.
pub(super) async fn members(
    config: &ClusterConfig,
    login: Option<&Login>,
) -> Result<Vec<(String, Vec<String>)>, EtcdError> {
    for endpoint in &config.endpoints {
        if let Ok(list) = Member::new(config, endpoint, login)?.member_list(false).await {
            return Ok(urls(config, &list));
        }
    }
    Ok(config.endpoints.iter().map(|endpoint| (endpoint.clone(), Vec::new())).collect())
}

/// Members that never started have no client URL and are left out.
fn urls(config: &ClusterConfig, list: &MemberListResponse) -> Vec<(String, Vec<String>)> {
    let ours: Vec<Instance> =
        config.endpoints.iter().filter_map(|endpoint| Instance::of_endpoint(endpoint).ok()).collect();
    let url = |urls: &Vec<String>| {
        // The configured endpoint, where a member has several addresses: it is the one that is known to work.
        let known = urls.iter().find(|url| Instance::of_endpoint(url).is_ok_and(|i| ours.contains(&i)));
        known.or_else(|| urls.first()).cloned()
    };
    let is_ours = |url: &String| Instance::of_endpoint(url).is_ok_and(|i| ours.contains(&i));
    let members =
        list.members.iter().filter_map(|member| Some((url(&member.client_urls)?, member.peer_urls.clone())));
    members.filter(|(url, _)| config.discover_members || is_ours(url)).collect()
}

/// Compares the lists that members have in their own memory; looks again before it says that some differ.
pub(super) async fn check(subjects: &[Subject]) -> ListCheck {
    let first = look(subjects).await;
    if first.different() <= 1 {
        return first;
    }
    tokio::time::sleep(PAUSE).await;
    look(subjects).await
}

async fn look(subjects: &[Subject]) -> ListCheck {
    // Not confirmed by a quorum: what each remembers is the question.
    let answers = join_all(subjects.iter().map(|subject| subject.member.member_list(false))).await;
    let mut lists = Vec::new();
    let mut left_out = Vec::new();
    for (subject, answer) in subjects.iter().zip(answers) {
        let member = &subject.member;
        match answer {
            Ok(list) => lists.push((member.instance().clone(), listed(&list))),
            Err(error) => left_out.push((member.instance().clone(), error.to_string())),
        }
    }
    let groups = Groups::of(lists.iter().cloned());
    let list_of = |group: &Vec<Instance>| {
        let list = lists.iter().find(|(instance, _)| group.first() == Some(instance));
        list.map(|(_, list)| list.clone()).unwrap_or_default()
    };
    let lists = groups.0.iter().map(|group| (group.clone(), list_of(group))).collect();
    ListCheck { lists, left_out }
}

/// The list in an order of its own: members give theirs in any.
fn listed(list: &MemberListResponse) -> Vec<ListedMember> {
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort();
        urls
    };
    let mut members: Vec<ListedMember> = list
        .members
        .iter()
        .map(|member| ListedMember {
            id: short(member.id),
            name: member.name.clone(),
            peer_urls: sorted(&member.peer_urls),
            client_urls: sorted(&member.client_urls),
            is_learner: member.is_learner,
        })
        .collect();
    members.sort();
    members
}
