//! The static pod manifest of an etcd that kubeadm set up.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::etcd::{ClusterConfig, TlsConfig};
use crate::model::{ClusterName, Instance};

/// Where kubeadm puts it.
pub const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";

#[derive(Debug, thiserror::Error)]
pub enum KubeadmError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: no static pod manifest: {problem}", path.display())]
    Yaml { path: PathBuf, problem: String },
    #[error("{}: {problem}", path.display())]
    Content { path: PathBuf, problem: &'static str },
}

#[derive(Deserialize)]
struct Pod {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
}

/// Reads the manifest at `path` (see [`MANIFEST`]).
///
/// # Errors
/// When the file cannot be read, or is no manifest of an etcd pod.
pub fn read(path: &Path, name: ClusterName) -> Result<ClusterConfig, KubeadmError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| KubeadmError::Read { path: path.to_owned(), source })?;
    parse(&text, path, name)
}

/// The cluster that a manifest's text describes; `path` is for messages only.
///
/// The client certificate is the one kubeadm makes for health checks, beside the server's: it has no more
/// rights than needed.
///
/// # Errors
/// [`KubeadmError`], without `Read`.
pub fn parse(text: &str, path: &Path, name: ClusterName) -> Result<ClusterConfig, KubeadmError> {
    let pod: Pod = serde_saphyr::from_str(text)
        .map_err(|e| KubeadmError::Yaml { path: path.to_owned(), problem: e.to_string() })?;
    let content = |problem| KubeadmError::Content { path: path.to_owned(), problem };
    let containers = &pod.spec.containers;
    let etcd =
        containers.iter().find(|c| c.name == "etcd").ok_or_else(|| content("no container named etcd"))?;
    let words: Vec<&str> = etcd.command.iter().chain(&etcd.args).map(String::as_str).collect();
    let urls = |text: &str| text.split(',').map(|u| u.trim().to_owned()).collect::<Vec<_>>();
    let endpoints = flag(&words, "advertise-client-urls").map(urls);
    let endpoints = endpoints.ok_or_else(|| content("no --advertise-client-urls"))?;
    let mut config = ClusterConfig::plain(name, endpoints);
    if config.endpoints.iter().any(|endpoint| endpoint.starts_with("https://")) {
        let ca = flag(&words, "trusted-ca-file").map(PathBuf::from);
        let ca = ca.ok_or_else(|| content("https, but no --trusted-ca-file"))?;
        let beside = |file: &str| ca.with_file_name(file);
        let mutual = flag(&words, "client-cert-auth").is_some_and(|value| value != "false");
        config.tls = Some(TlsConfig {
            cert: mutual.then(|| beside("healthcheck-client.crt")),
            key: mutual.then(|| beside("healthcheck-client.key")),
            ca: Some(ca),
            ..TlsConfig::default()
        });
    }
    config.metrics_urls = metrics(&words);
    Ok(config)
}

/// The command line of the manifest's etcd container.
pub(super) fn etcd_words(text: &str) -> Option<Vec<String>> {
    let pod: Pod = serde_saphyr::from_str(text).ok()?;
    let etcd = pod.spec.containers.into_iter().find(|c| c.name == "etcd")?;
    Some(etcd.command.into_iter().chain(etcd.args).collect())
}

/// kubeadm serves plain metrics on loopback only, which says nothing of other members; such a URL is used
/// just where it is reachable from elsewhere, as a pattern for all members.
fn metrics(words: &[&str]) -> Vec<String> {
    let Some(url) = flag(words, "listen-metrics-urls").and_then(|urls| urls.split(',').next()) else {
        return Vec::new();
    };
    let Some((scheme, _)) = url.split_once("://") else { return Vec::new() };
    let Ok(instance) = Instance::of_endpoint(url) else { return Vec::new() };
    match instance.as_str().rsplit_once(':') {
        Some(("127.0.0.1" | "localhost" | "[::1]", _)) | None => Vec::new(),
        Some((_, port)) => vec![format!("{scheme}://{{host}}:{port}/metrics")],
    }
}

/// The value of `--name=value`, `--name value` or a bare `--name` (then empty).
pub(super) fn flag<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix("--").and_then(|w| w.strip_prefix(name)) else { continue };
        match rest.strip_prefix('=') {
            Some(value) => return Some(value),
            None if rest.is_empty() => {
                return Some(words.peek().filter(|next| !next.starts_with('-')).map_or("", |next| next));
            }
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: v1
kind: Pod
metadata:
  name: etcd
spec:
  containers:
  - command:
    - etcd
    - --advertise-client-urls=https://10.1.2.3:2379
    - --client-cert-auth=true
    - --listen-client-urls=https://127.0.0.1:2379,https://10.1.2.3:2379
    - --listen-metrics-urls=http://127.0.0.1:2381
    - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
    image: registry/etcd:3.5.16-0
    name: etcd
  hostNetwork: true
";

    fn read(text: &str) -> Result<ClusterConfig, KubeadmError> {
        parse(text, Path::new(MANIFEST), "k8s".parse().expect("name"))
    }

    #[test]
    fn a_kubeadm_manifest_gives_endpoint_and_health_check_certificate() {
        let config = read(TEXT).expect("reads");
        assert_eq!(config.endpoints, ["https://10.1.2.3:2379"]);
        let tls = config.tls.as_ref().expect("tls");
        let pki = |file: &str| Some(PathBuf::from(format!("/etc/kubernetes/pki/etcd/{file}")));
        let wanted = (pki("ca.crt"), pki("healthcheck-client.crt"), pki("healthcheck-client.key"));
        assert_eq!((tls.ca.clone(), tls.cert.clone(), tls.key.clone()), wanted);
        assert!(config.metrics_urls.is_empty() && config.check().is_ok());
        let open = read(&TEXT.replace("http://127.0.0.1:2381", "http://0.0.0.0:2381")).expect("reads");
        assert_eq!(open.metrics_urls, ["http://{host}:2381/metrics"]);
    }

    #[test]
    fn what_is_no_etcd_manifest_is_an_error_that_names_the_file() {
        for text in ["", "a: [", "spec: {containers: [{name: web}]}", "spec: {containers: [{name: etcd}]}"] {
            let error = read(text).expect_err("no manifest").to_string();
            assert!(error.contains(MANIFEST), "{error}");
        }
    }
}
