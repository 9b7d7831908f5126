//! Objects of the Kubernetes API: the pods of kubeadm's etcd, or the endpoints behind services of an operator's etcds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::DiscoverError;
use super::described::Described;
use crate::etcd::{ClusterConfig, Member, TlsConfig};
use crate::model::{ClusterName, chain};

/// `kubernetes`: which objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Kubernetes {
    /// The API server; inside a cluster the one that the pod's environment names.
    pub api: Option<String>,
    pub token_file: PathBuf,
    pub ca_file: Option<PathBuf>,
    pub objects: Objects,
    /// All namespaces when empty.
    pub namespace: String,
    /// A label selector.
    pub selector: String,
    /// The label whose values are the clusters; without it all objects of a namespace are one cluster, or all
    /// endpoints of a service.
    pub group_by: Option<String>,
    /// The client port where no annotation and no port's name tells it.
    pub port: u16,
    /// `https` where `tls` of the source is set.
    pub scheme: Option<String>,
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objects {
    Pods,
    EndpointSlices,
    Endpoints,
}

impl Default for Kubernetes {
    fn default() -> Self {
        let account = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        Self {
            api: None,
            token_file: account.join("token"),
            ca_file: Some(account.join("ca.crt")),
            objects: Objects::Pods,
            namespace: "kube-system".to_owned(),
            selector: "component=etcd".to_owned(),
            group_by: None,
            port: 2379,
            scheme: None,
        }
    }
}

/// Where kubeadm writes how a member is reached.
const CLIENT_URLS: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";
const SERVICE: &str = "kubernetes.io/service-name";

/// Of a list of any kind the fields that are read.
#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    metadata: Metadata,
    /// Of a pod.
    #[serde(default)]
    status: Status,
    /// Of an EndpointSlice.
    #[serde(default)]
    endpoints: Vec<Endpoint>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    /// Of Endpoints.
    #[serde(default)]
    subsets: Vec<Subset>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    phase: String,
    #[serde(default, rename = "podIP")]
    pod_ip: String,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
}

#[derive(Deserialize)]
struct Port {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    port: Option<u16>,
}

/// Members that are not ready are what is to be seen.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subset {
    #[serde(default)]
    addresses: Vec<Address>,
    #[serde(default)]
    not_ready_addresses: Vec<Address>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
struct Address {
    ip: String,
}

impl Kubernetes {
    /// The API server, reached as a member is.
    pub(super) fn cluster(&self, source: &ClusterName) -> ClusterConfig {
        let api = self.api.clone().unwrap_or_else(|| "https://kubernetes.default.svc:443".to_owned());
        let tls = TlsConfig { ca: self.ca_file.clone(), ..TlsConfig::default() };
        let tls = Some(tls).filter(|_| api.starts_with("https://"));
        ClusterConfig { tls, ..ClusterConfig::plain(source.clone(), vec![api]) }
    }

    pub(super) async fn ask(&self, api: &Member) -> Result<Vec<Result<Described, String>>, DiscoverError> {
        let place = format!("{}{}", api.url(), self.path());
        let wrong = |reason: String| DiscoverError::Unanswered { place: place.clone(), reason };
        let url = reqwest::Url::parse_with_params(&place, [("labelSelector", &self.selector)]);
        let url = url.map_err(|error| wrong(error.to_string()))?;
        let mut request = api.http().await?.get(url);
        // Read each time: the kubelet renews it.
        match tokio::fs::read_to_string(&self.token_file).await {
            Ok(token) => request = request.bearer_auth(token.trim()),
            Err(error) if api.url().starts_with("https://") => {
                return Err(wrong(format!("{}: {error}", self.token_file.display())));
            }
            // A proxy on loopback, `kubectl proxy` say, has its own.
            Err(_) => {}
        }
        let answer = request.send().await.map_err(|error| wrong(chain(&error)))?;
        let (status, body) = (answer.status(), answer.bytes().await);
        let body = body.map_err(|error| wrong(chain(&error)))?;
        if !status.is_success() {
            let said = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
            let said = said.get("message").and_then(|said| said.as_str()).unwrap_or_default().to_owned();
            return Err(wrong(format!("{status} {said}")));
        }
        let list: List = serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
        Ok(list.items.iter().filter_map(|object| self.described(object)).map(Ok).collect())
    }

    fn path(&self) -> String {
        let (api, objects) = match self.objects {
            Objects::Pods => ("/api/v1", "pods"),
            Objects::EndpointSlices => ("/apis/discovery.k8s.io/v1", "endpointslices"),
            Objects::Endpoints => ("/api/v1", "endpoints"),
        };
        match self.namespace.as_str() {
            "" => format!("{api}/{objects}"),
            namespace => format!("{api}/namespaces/{namespace}/{objects}"),
        }
    }

    /// The part of a cluster that an object is; `None` where it has no address.
    fn described(&self, object: &Object) -> Option<Described> {
        let metadata = &object.metadata;
        let endpoints = match self.objects {
            Objects::Pods => self.of_pod(object),
            _ => self.of_addresses(object),
        };
        if endpoints.is_empty() {
            return None;
        }
        let service = match self.objects {
            Objects::Pods => None,
            Objects::EndpointSlices => metadata.labels.get(SERVICE).cloned(),
            Objects::Endpoints => Some(metadata.name.clone()),
        };
        let group = match &self.group_by {
            Some(label) => Some(metadata.labels.get(label)?.clone()),
            None => service.clone(),
        };
        let mut words = metadata.labels.clone();
        words.insert("namespace".to_owned(), metadata.namespace.clone());
        words.extend(service.map(|service| ("service".to_owned(), service)));
        let name = match (&group, self.namespace.is_empty()) {
            (Some(_), true) => "{namespace}-{group}",
            (Some(_), false) => "{group}",
            (None, true) => "{source}-{namespace}",
            (None, false) => "{source}",
        };
        words.extend(group.map(|group| ("group".to_owned(), group)));
        let tags = BTreeMap::from([("namespace".to_owned(), metadata.namespace.clone())]);
        Some(Described { endpoints, words, tags, name: name.to_owned(), ..Described::default() })
    }

    fn of_pod(&self, pod: &Object) -> Vec<String> {
        if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
            return Vec::new();
        }
        match pod.metadata.annotations.get(CLIENT_URLS) {
            // All advertised URLs lead to one member.
            Some(urls) => urls.split(',').next().into_iter().map(str::to_owned).collect(),
            None if pod.status.pod_ip.is_empty() => Vec::new(),
            None => vec![self.url(&pod.status.pod_ip, self.port)],
        }
    }

    fn of_addresses(&self, object: &Object) -> Vec<String> {
        let slice = object.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let port = self.port_of(object.ports.as_deref());
        let mut urls: Vec<String> = slice.map(|ip| self.url(ip, port)).collect();
        for subset in &object.subsets {
            let port = self.port_of(subset.ports.as_deref());
            let all = subset.addresses.iter().chain(&subset.not_ready_addresses);
            urls.extend(all.map(|address| self.url(&address.ip, port)));
        }
        urls
    }

    /// The port called client, else the configured one where it is among them, else the only one.
    fn port_of(&self, ports: Option<&[Port]>) -> u16 {
        let ports = ports.unwrap_or_default();
        let client = ports.iter().find(|port| port.name.as_deref().is_some_and(|n| n.contains("client")));
        let only = match ports {
            [only] => only.port,
            _ => None,
        };
        client.and_then(|port| port.port).or(only).unwrap_or(self.port)
    }

    fn url(&self, ip: &str, port: u16) -> String {
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        match &self.scheme {
            Some(scheme) => format!("{scheme}://{host}:{port}"),
            None => format!("{host}:{port}"),
        }
    }
}
