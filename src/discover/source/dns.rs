//! SRV records, as etcd's own clients find a cluster: `_etcd-client-ssl._tcp.<domain>`, `_etcd-client._tcp.<domain>`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use serde::{Deserialize, Serialize};

use super::DiscoverError;
use super::described::Described;

/// `dns-srv`: each domain is a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DnsSrv {
    pub domains: Vec<String>,
    /// As etcdctl's `--discovery-srv-name`: `_etcd-client-<this>._tcp.<domain>`.
    #[serde(default)]
    pub service_name: Option<String>,
    /// Ask this server instead of the system's.
    #[serde(default)]
    pub server: Option<SocketAddr>,
}

/// The service's name and the scheme of what it leads to.
const SERVICES: [(&str, &str); 2] = [("etcd-client-ssl", "https"), ("etcd-client", "http")];

/// Two attempts fit into one look.
const ATTEMPT: Duration = Duration::from_millis(1_500);

impl DnsSrv {
    pub(super) async fn ask(&self) -> Result<Vec<Result<Described, String>>, DiscoverError> {
        let resolver = self.resolver().map_err(|reason| {
            let place = self.server.map_or_else(|| "the system's resolver".to_owned(), |at| at.to_string());
            DiscoverError::Unanswered { place, reason }
        })?;
        let domains = self.domains.iter().map(|domain| self.of_domain(&resolver, domain));
        let found = futures::future::try_join_all(domains).await?;
        // A domain without records is an answer: there is no such cluster any more.
        Ok(found.into_iter().filter(|one| !one.endpoints.is_empty()).map(Ok).collect())
    }

    fn resolver(&self) -> Result<TokioResolver, String> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = match self.server {
            None => TokioResolver::builder_tokio().map_err(|error| error.to_string())?,
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                TokioResolver::builder_with_config(ResolverConfig::from_name_servers(vec![server]), provider)
            }
        };
        let options = builder.options_mut();
        // What changed is to be seen with the next look: the servers' own caches know how long records live.
        (options.cache_size, options.attempts, options.timeout) = (0, 1, ATTEMPT);
        builder.build().map_err(|error| error.to_string())
    }

    async fn of_domain(&self, resolver: &TokioResolver, domain: &str) -> Result<Described, DiscoverError> {
        let mut endpoints = Vec::new();
        for (service, scheme) in SERVICES {
            let suffix = self.service_name.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
            // With the dot at the end no search domain is tried.
            let name = format!("_{service}{suffix}._tcp.{}.", domain.trim_end_matches('.'));
            let lookup = match resolver.srv_lookup(name.as_str()).await {
                Ok(lookup) => lookup,
                Err(error) if error.is_no_records_found() => continue,
                Err(error) => {
                    return Err(DiscoverError::Unanswered { place: name, reason: error.to_string() });
                }
            };
            for record in lookup.answers() {
                if let RData::SRV(srv) = &record.data {
                    let host = srv.target.to_ascii();
                    endpoints.push(format!("{scheme}://{}:{}", host.trim_end_matches('.'), srv.port));
                }
            }
        }
        endpoints.sort();
        let words = BTreeMap::from([("domain".to_owned(), domain.to_owned())]);
        Ok(Described { endpoints, words, name: "{domain}".to_owned(), ..Described::default() })
    }
}
