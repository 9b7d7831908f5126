//! Which members there are, and under which instance each is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::exposition::{SeriesCache, SeriesPool};
use super::late::Late;
use super::member::{Memory, Scraped};
use super::node;
use crate::etcd::wire::{ListedMember, StatusResponse};
use crate::etcd::{ClusterConfig, EtcdError, Login, Member};
use crate::model::{Instance, MemberId};

/// One member as the probe addresses it. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) instance: Instance,
    /// `None` for a member without a usable client URL: one that never started, or one that must not be
    /// asked because its URL is plain although TLS is configured.
    pub(super) member: Result<Member, String>,
    pub(super) metrics_url: Option<String>,
    pub(super) node_url: Option<String>,
    /// Its place in the configured endpoints; `None` if only the member list names it.
    pub(super) configured: Option<usize>,
    pub(super) listed: Option<Listed>,
    pub(super) cache: Arc<Mutex<SeriesCache>>,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) status: Arc<Late<Result<StatusResponse, EtcdError>>>,
    pub(super) scrape: Arc<Late<Scraped>>,
    pub(super) node: Arc<Late<node::Fetched>>,
    pub(super) node_cache: Arc<Mutex<SeriesCache>>,
}

/// What the member list says of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: MemberId,
    /// Empty until it started for the first time.
    pub(super) name: String,
    pub(super) is_learner: bool,
    pub(super) peer_urls: Vec<String>,
    pub(super) client_urls: Vec<String>,
}

/// The targets of one cluster, by instance.
#[derive(Debug)]
pub(super) struct Targets {
    config: ClusterConfig,
    login: Option<Login>,
    pool: Arc<SeriesPool>,
    by_instance: BTreeMap<Instance, Target>,
    /// Who answered behind a configured endpoint; an endpoint may be no client URL of its member.
    seen_at: BTreeMap<Instance, MemberId>,
}

impl Targets {
    pub(super) fn new(
        config: &ClusterConfig,
        login: Option<&Login>,
        pool: Arc<SeriesPool>,
    ) -> Result<Self, EtcdError> {
        let mut targets = Self {
            config: config.clone(),
            login: login.cloned(),
            pool,
            by_instance: BTreeMap::new(),
            seen_at: BTreeMap::new(),
        };
        for (at, endpoint) in config.endpoints.iter().enumerate() {
            let member = Member::new(config, endpoint, login)?;
            let explicit = config.metrics_urls.get(at).filter(|_| !targets.has_template());
            let mut target = targets.target(member.instance().clone(), Ok(member), Some(at));
            if let Some(url) = explicit {
                target.metrics_url = Some(url.clone());
            }
            targets.by_instance.insert(target.instance.clone(), target);
        }
        Ok(targets)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Target> {
        self.by_instance.values()
    }

    /// Notes whose answer came from the member behind `instance`.
    pub(super) fn saw(&mut self, instance: &Instance, id: MemberId) {
        self.seen_at.insert(instance.clone(), id);
    }

    /// Takes over a member list. `confirmed` by a quorum, it also removes discovered members; otherwise it
    /// only adds, because a member that was cut off or removed may serve an old list.
    pub(super) fn update(&mut self, list: &[ListedMember], confirmed: bool) {
        for listed in list {
            let id = MemberId(listed.id);
            let entry = Listed {
                id,
                name: listed.name.clone(),
                is_learner: listed.is_learner,
                peer_urls: listed.peer_urls.clone(),
                client_urls: listed.client_urls.clone(),
            };
            let instance = self.instance_of(listed);
            let Some(instance) = instance else { continue };
            if let Some(target) = self.by_instance.get_mut(&instance)
                && (target.member.is_ok() || listed.client_urls.is_empty())
            {
                target.listed = Some(entry);
                continue;
            }
            if !self.config.discover_members {
                continue;
            }
            let member = match listed.client_urls.first() {
                None => Err("the member has not started yet: it announces no client URL".to_owned()),
                Some(url) => Member::new(&self.config, url, self.login.as_ref()).map_err(|e| e.to_string()),
            };
            let mut target = self.target(instance.clone(), member, None);
            target.listed = Some(entry);
            self.by_instance.insert(instance, target);
        }
        let kept: BTreeMap<MemberId, Instance> =
            list.iter().filter_map(|m| Some((MemberId(m.id), self.instance_of(m)?))).collect();
        self.by_instance.retain(|instance, target| match &target.listed {
            // A member that started, or moved behind a configured endpoint, is kept under its new name only.
            Some(listed) if target.configured.is_none() => {
                kept.get(&listed.id).map_or(!confirmed, |current| current == instance)
            }
            _ => true,
        });
        if confirmed {
            for target in self.by_instance.values_mut() {
                if target.listed.as_ref().is_some_and(|listed| !kept.contains_key(&listed.id)) {
                    target.listed = None;
                }
            }
        }
    }

    /// The configured endpoint that is this member, else its first client URL, else its first peer URL.
    fn instance_of(&self, listed: &ListedMember) -> Option<Instance> {
        let id = MemberId(listed.id);
        let configured =
            |instance: &Instance| self.by_instance.get(instance).is_some_and(|t| t.configured.is_some());
        let urls: Vec<Instance> =
            listed.client_urls.iter().filter_map(|url| Instance::of_endpoint(url).ok()).collect();
        let by_url = urls.iter().find(|instance| configured(instance)).cloned();
        let by_answer =
            || self.seen_at.iter().find(|(i, seen)| **seen == id && configured(i)).map(|(i, _)| i.clone());
        by_url
            .or_else(by_answer)
            .or_else(|| urls.into_iter().next())
            .or_else(|| listed.peer_urls.iter().find_map(|url| Instance::of_endpoint(url).ok()))
    }

    fn has_template(&self) -> bool {
        matches!(self.config.metrics_urls.as_slice(), [one] if one.contains("{host}"))
    }

    /// Whether metrics are served at other URLs than clients use. A listener on loopback tells nothing: it
    /// is one member's own (kubeadm's default), beside the `/metrics` of every client URL.
    fn metrics_are_elsewhere(&self) -> bool {
        let loopback = |url: &String| Instance::of_endpoint(url).is_ok_and(|listener| listener.is_loopback());
        !self.config.metrics_urls.iter().all(loopback)
    }

    fn target(
        &self,
        instance: Instance,
        member: Result<Member, String>,
        configured: Option<usize>,
    ) -> Target {
        let template = self.config.metrics_urls.first().filter(|_| self.has_template());
        let node_url = match (self.config.node_exporter_urls.as_slice(), configured) {
            ([one], _) if one.contains("{host}") => Some(one.replace("{host}", instance.host())),
            (urls, Some(at)) => urls.get(at).cloned(),
            _ => None,
        };
        let metrics_url = match (template, &member) {
            (Some(template), _) => Some(template.replace("{host}", instance.host())),
            // With a URL per endpoint nothing is known of where other members serve theirs.
            (None, Ok(member)) if configured.is_some() || !self.metrics_are_elsewhere() => {
                Some(format!("{}/metrics", member.url()))
            }
            _ => None,
        };
        Target {
            instance,
            member,
            metrics_url,
            node_url,
            configured,
            listed: None,
            cache: Arc::new(Mutex::new(SeriesCache::new(Arc::clone(&self.pool)))),
            memory: Arc::default(),
            status: Arc::default(),
            scrape: Arc::default(),
            node: Arc::default(),
            node_cache: Arc::new(Mutex::new(SeriesCache::new(Arc::clone(&self.pool)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: u64, name: &str, client: &[&str]) -> ListedMember {
        ListedMember {
            id,
            name: name.to_owned(),
            peer_urls: vec![format!("http://10.0.0.{id}:2380")],
            client_urls: client.iter().map(|u| (*u).to_owned()).collect(),
            is_learner: false,
        }
    }

    fn targets(endpoints: &[&str]) -> Targets {
        let endpoints = endpoints.iter().map(|e| (*e).to_owned()).collect();
        let config = ClusterConfig::plain("c".parse().expect("name"), endpoints);
        Targets::new(&config, None, Arc::default()).expect("targets")
    }

    fn instances(targets: &Targets) -> Vec<&str> {
        targets.all().map(|t| t.instance.as_str()).collect()
    }

    #[test]
    fn members_are_added_from_a_list_and_removed_only_by_a_confirmed_one() {
        let mut targets = targets(&["http://10.0.0.1:2379"]);
        let all = [
            listed(1, "a", &["http://10.0.0.1:2379"]),
            listed(2, "b", &["http://10.0.0.2:2379"]),
            listed(3, "", &[]),
        ];
        targets.update(&all, true);
        assert_eq!(instances(&targets), ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2380"]);
        targets.update(&all[..1], false);
        assert_eq!(instances(&targets).len(), 3);
        let started = [all[0].clone(), listed(3, "c", &["http://10.0.0.3:2379"])];
        targets.update(&started, true);
        assert_eq!(instances(&targets), ["10.0.0.1:2379", "10.0.0.3:2379"]);
    }

    #[test]
    fn metrics_come_from_where_the_configured_urls_say_they_are() {
        let client = |id| Some(format!("http://10.0.0.{id}:2379/metrics"));
        let at = |url: &str| Some(url.to_owned());
        for (configured, first, second) in [
            (None, client(1), client(2)),
            (
                Some("http://{host}:2381/metrics"),
                at("http://10.0.0.1:2381/metrics"),
                at("http://10.0.0.2:2381/metrics"),
            ),
            (Some("http://10.0.0.1:2381/metrics"), at("http://10.0.0.1:2381/metrics"), None),
            // kubeadm's default: this node's own listener, and nothing said of the other nodes.
            (Some("http://127.0.0.1:2381/metrics"), at("http://127.0.0.1:2381/metrics"), client(2)),
        ] {
            let endpoint = "http://10.0.0.1:2379".to_owned();
            let mut config = ClusterConfig::plain("c".parse().expect("name"), vec![endpoint]);
            config.metrics_urls = configured.into_iter().map(ToOwned::to_owned).collect();
            let mut targets = Targets::new(&config, None, Arc::default()).expect("targets");
            let list = [1, 2].map(|id| listed(id, "", &[&format!("http://10.0.0.{id}:2379")]));
            targets.update(&list, true);
            let found: Vec<_> = targets.all().map(|target| target.metrics_url.clone()).collect();
            assert_eq!(found, [first, second], "{configured:?}");
        }
    }

    #[test]
    fn a_configured_endpoint_keeps_its_instance_under_another_url() {
        let mut targets = targets(&["http://lb:2379"]);
        targets.saw(&"lb:2379".parse().expect("instance"), MemberId(1));
        targets.update(&[listed(1, "a", &["http://10.0.0.1:2379"])], true);
        assert_eq!(instances(&targets), ["lb:2379"]);
        assert!(targets.all().all(|t| t.listed.as_ref().is_some_and(|l| l.id == MemberId(1))));
    }
}
