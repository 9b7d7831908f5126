//! Who each member says is a member.

use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::agreement::Groups;
use super::{Subject, short};
use crate::etcd::wire::MemberListResponse;
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
    let subjects: Vec<&Subject> = subjects.iter().filter(|subject| !subject.is_learner).collect();
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
