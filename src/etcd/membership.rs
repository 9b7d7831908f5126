//! Who the members of a cluster are, and where they listen.

use super::wire::MemberListResponse;
use super::{ClusterConfig, EtcdError, Login, Member};
use crate::model::Instance;

/// Where a member, or what is configured as one, is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub client_url: String,
    pub peer_urls: Vec<String>,
    /// Whether the member list has it. An endpoint that it does not have may be an address of a member, or a member
    /// of another cluster: it is asked for its list, and counts for nothing else.
    pub is_listed: bool,
    /// etcd lets learners answer neither for the list nor for a hash ("rpc not supported for learner", 3.4 to 3.6).
    pub is_learner: bool,
}

/// The members that the first endpoint tells of, and the other endpoints. Where none tells, because its certificate
/// has expired say, they are the endpoints: these can be looked at all the same.
///
/// # Errors
/// When the configuration does not fit together.
pub async fn members(config: &ClusterConfig, login: Option<&Login>) -> Result<Vec<Found>, EtcdError> {
    for endpoint in &config.endpoints {
        if let Ok(list) = Member::new(config, endpoint, login)?.member_list(false).await {
            return Ok(found(config, &list));
        }
    }
    let endpoints = config.endpoints.iter().cloned();
    Ok(endpoints
        .map(|client_url| Found { client_url, peer_urls: Vec::new(), is_listed: true, is_learner: false })
        .collect())
}

/// Members that never started have no client URL and are left out.
fn found(config: &ClusterConfig, list: &MemberListResponse) -> Vec<Found> {
    let instance = |url: &String| Instance::of_endpoint(url).ok();
    let ours: Vec<Instance> = config.endpoints.iter().filter_map(instance).collect();
    let is_ours = |url: &&String| instance(url).is_some_and(|instance| ours.contains(&instance));
    let mut found = Vec::new();
    let mut listed = Vec::new();
    for member in &list.members {
        // The configured endpoint, where a member has several addresses: it is the one that is known to work.
        let configured = member.client_urls.iter().find(is_ours);
        let url = configured.or_else(|| member.client_urls.first().filter(|_| config.discover_members));
        if let Some(url) = url {
            let (client_url, peer_urls) = (url.clone(), member.peer_urls.clone());
            found.push(Found { client_url, peer_urls, is_listed: true, is_learner: member.is_learner });
        }
        listed.extend(member.client_urls.iter().filter_map(instance));
    }
    for endpoint in &config.endpoints {
        if instance(endpoint).is_some_and(|instance| !listed.contains(&instance)) {
            found.push(Found {
                client_url: endpoint.clone(),
                peer_urls: Vec::new(),
                is_listed: false,
                is_learner: false,
            });
        }
    }
    found
}
