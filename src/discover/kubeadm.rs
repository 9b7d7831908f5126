//! The etcd member that kubeadm runs on this node, from its static pod manifest.
//!
//! Owns: what the manifest's flags and volumes mean for a client on the host, and which of kubeadm's client
//! certificates is used. Refuses: the members on other nodes. `--initial-cluster` names those that existed when
//! this one joined, so removed ones would count as down; etcd's member list has the true ones.

pub(super) mod manifest;

use std::path::{Path, PathBuf};

use self::manifest::EtcdContainer;
use super::process::EtcdProcess;
use crate::etcd::{ClusterConfig, TlsConfig};
use crate::model::{ClusterName, Instance};

/// Where kubeadm puts it.
pub const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";

/// Client certificates of kubeadm's PKI, without `.crt` and `.key`, from the CA's folder. The first one is made
/// for health checks, which is what this program does; the other is the identity of the API server.
const CLIENTS: [&str; 2] = ["healthcheck-client", "../apiserver-etcd-client"];

/// Why a manifest gives no cluster; every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum KubeadmError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {problem}", path.display())]
    Manifest { path: PathBuf, problem: ManifestProblem },
}

/// What a manifest lacks, or what it names and the host lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestProblem {
    #[error("no static pod manifest: {0}")]
    NotAPod(String),
    #[error("no container named etcd, and none that runs etcd")]
    NoContainer,
    #[error("no --advertise-client-urls")]
    NoClientUrl,
    #[error("https, but no --trusted-ca-file")]
    NoCa,
    #[error("{flag} {} is in no hostPath volume of the etcd container: on the host it is nowhere", path.display())]
    NotMounted { flag: &'static str, path: PathBuf },
    #[error("{} does not exist: --trusted-ca-file names it", path.display())]
    CaGone { path: PathBuf },
    #[error(
        "etcd asks for a client certificate, but there is no {}.crt and no {}.crt with its .key; give one with --cert and --key",
        healthcheck.display(), apiserver.display()
    )]
    NoClientCertificate { healthcheck: PathBuf, apiserver: PathBuf },
}

/// Reads the manifest at `path` (see [`MANIFEST`]) and looks for the certificates it names.
///
/// # Errors
/// When the file cannot be read, is no manifest of an etcd pod, or names files that are not there.
pub fn read(path: &Path, name: ClusterName) -> Result<ClusterConfig, KubeadmError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| KubeadmError::Read { path: path.to_owned(), source })?;
    parse(&text, name, &|file| file.exists())
        .map_err(|problem| KubeadmError::Manifest { path: path.to_owned(), problem })
}

/// The settings that the manifest at `path` starts etcd with, for where its process cannot be seen; `None` when there
/// is no such manifest.
pub fn settings(path: &Path) -> Option<EtcdProcess> {
    let text = std::fs::read_to_string(path).ok()?;
    let etcd = EtcdContainer::parse(&text).ok()?;
    Some(EtcdProcess::of_flags(etcd.flags()))
}

/// The cluster that a manifest's text describes, as a client on the same host sees it. `exists` tells whether
/// a file is on the host.
///
/// # Errors
/// The first [`ManifestProblem`].
pub fn parse(
    text: &str,
    name: ClusterName,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<ClusterConfig, ManifestProblem> {
    let etcd = EtcdContainer::parse(text)?;
    // All advertised URLs lead to one member, and one member is one instance.
    let endpoint = etcd.flags().urls("advertise-client-urls").next().ok_or(ManifestProblem::NoClientUrl)?;
    let mut config = ClusterConfig::plain(name, vec![endpoint.to_owned()]);
    if endpoint.starts_with("https://") {
        config.tls = Some(tls(&etcd, exists)?);
    }
    config.metrics_urls = metrics_url(&etcd).into_iter().collect();
    Ok(config)
}

fn tls(etcd: &EtcdContainer, exists: &dyn Fn(&Path) -> bool) -> Result<TlsConfig, ManifestProblem> {
    let inside = Path::new(etcd.flags().get("trusted-ca-file").ok_or(ManifestProblem::NoCa)?);
    let ca = etcd
        .on_host(inside)
        .ok_or_else(|| ManifestProblem::NotMounted { flag: "--trusted-ca-file", path: inside.to_owned() })?;
    if !exists(&ca) {
        return Err(ManifestProblem::CaGone { path: ca });
    }
    let [healthcheck, apiserver] = CLIENTS.map(|client| beside(&ca, client));
    let file = |client: &Path, ending: &str| client.with_extension(ending);
    let client = [&healthcheck, &apiserver]
        .into_iter()
        .find(|client| exists(&file(client, "crt")) && exists(&file(client, "key")));
    let asked = etcd.flags().get("client-cert-auth").is_some_and(|value| value != "false");
    if asked && client.is_none() {
        return Err(ManifestProblem::NoClientCertificate { healthcheck, apiserver });
    }
    Ok(TlsConfig {
        cert: client.filter(|_| asked).map(|client| file(client, "crt")),
        key: client.filter(|_| asked).map(|client| file(client, "key")),
        ca: Some(ca),
        ..TlsConfig::default()
    })
}

/// The path `name` from the folder of `ca`, `../` meaning the folder above.
fn beside(ca: &Path, name: &str) -> PathBuf {
    let folder = ca.parent().unwrap_or(Path::new("/"));
    match name.strip_prefix("../") {
        Some(name) => folder.parent().unwrap_or(folder).join(name),
        None => folder.join(name),
    }
}

/// Where `/metrics` is, from `--listen-metrics-urls`. One that other machines reach is a pattern for all
/// members, as kubeadm configures them alike. One on loopback, kubeadm's default, is this member's alone; the
/// others' metrics come from their client URLs, which serve them too.
fn metrics_url(etcd: &EtcdContainer) -> Option<String> {
    let listener = |url: &str| {
        let (scheme, _) = url.split_once("://")?;
        let instance = Instance::of_endpoint(url).ok()?;
        let port = instance.as_str().rsplit_once(':')?.1.to_owned();
        Some((scheme.to_owned(), instance, port))
    };
    let listeners: Vec<_> = etcd.flags().urls("listen-metrics-urls").filter_map(listener).collect();
    let (scheme, instance, port) =
        listeners.iter().find(|(_, instance, _)| !instance.is_loopback()).or_else(|| listeners.first())?;
    if instance.is_loopback() {
        Some(format!("{scheme}://{instance}/metrics"))
    } else {
        Some(format!("{scheme}://{{host}}:{port}/metrics"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_28: &str = include_str!("../../tests/data/kubeadm/v1.28.yaml");
    const V1_33: &str = include_str!("../../tests/data/kubeadm/v1.33.yaml");
    const CHANGED_BY_HAND: &str = include_str!("../../tests/data/kubeadm/changed-by-hand.yaml");

    fn read(text: &str, exists: Exists) -> Result<ClusterConfig, ManifestProblem> {
        parse(text, "k8s".parse().expect("name"), exists)
    }

    type Exists<'a> = &'a dyn Fn(&Path) -> bool;

    fn all(_: &Path) -> bool {
        true
    }

    #[test]
    fn the_manifest_says_what_etcd_is_set_to_where_its_process_is_not_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("etcd.yaml");
        assert_eq!(settings(&path), None, "no manifest");
        std::fs::write(&path, V1_28).expect("written");
        let found = settings(&path).expect("settings");
        assert_eq!(found.settings.get("snapshot-count").map(String::as_str), Some("10000"));
        let instances: Vec<String> = found.instances().iter().map(ToString::to_string).collect();
        assert!(instances.contains(&"192.168.56.11:2379".to_owned()), "{instances:?}");
    }

    fn tls_files(ca: &str, client: &str) -> Option<TlsConfig> {
        Some(TlsConfig {
            ca: Some(ca.into()),
            cert: Some(format!("{client}.crt").into()),
            key: Some(format!("{client}.key").into()),
            ..TlsConfig::default()
        })
    }

    #[test]
    fn kubeadms_own_manifests_give_endpoint_certificate_and_loopback_metrics() {
        for (text, endpoint) in [(V1_28, "https://192.168.56.11:2379"), (V1_33, "https://10.0.0.12:2379")] {
            let config = read(text, &all).expect(endpoint);
            assert_eq!(config.endpoints, [endpoint]);
            let pki = "/etc/kubernetes/pki/etcd";
            assert_eq!(config.tls, tls_files(&format!("{pki}/ca.crt"), &format!("{pki}/healthcheck-client")));
            assert_eq!(config.metrics_urls, ["http://127.0.0.1:2381/metrics"]);
            assert!(config.discover_members && config.check().is_ok());
        }
    }

    #[test]
    fn files_are_where_the_volumes_put_them_on_the_host() {
        let config = read(CHANGED_BY_HAND, &|path| path.starts_with("/srv/pki")).expect("reads");
        assert_eq!(config.endpoints, ["https://[fd00::11]:2379"]);
        assert_eq!(config.tls, tls_files("/srv/pki/etcd/ca.crt", "/srv/pki/etcd/healthcheck-client"));
        assert_eq!(config.metrics_urls, ["http://{host}:2381/metrics"]);
        assert!(config.check().is_ok());
    }

    #[test]
    fn the_client_certificate_is_the_first_that_is_there_with_its_key() {
        let etcd = "/etc/kubernetes/pki/etcd";
        let apiserver = "/etc/kubernetes/pki/apiserver-etcd-client";
        for gone in ["healthcheck-client.key", "healthcheck-client.crt"] {
            let config = read(V1_28, &|path| !path.ends_with(gone)).expect(gone);
            assert_eq!(config.tls, tls_files(&format!("{etcd}/ca.crt"), apiserver), "{gone}");
        }
        let unasked = V1_28.replace("--client-cert-auth=true", "--client-cert-auth=false");
        let config = read(&unasked, &|path| path.ends_with("ca.crt")).expect("none is asked for");
        let ca = Some(PathBuf::from(format!("{etcd}/ca.crt")));
        assert_eq!(config.tls, Some(TlsConfig { ca, ..TlsConfig::default() }));
    }

    #[test]
    fn metrics_are_a_pattern_only_where_others_reach_them() {
        for (listen, wanted) in [
            ("http://127.0.0.1:2381", Some("http://127.0.0.1:2381/metrics")),
            ("http://[::1]:9", Some("http://[::1]:9/metrics")),
            ("http://localhost:9", Some("http://localhost:9/metrics")),
            ("http://127.0.0.1:1,http://10.0.0.12:2", Some("http://{host}:2/metrics")),
            ("https://0.0.0.0:3", Some("https://{host}:3/metrics")),
            ("", None),
            ("what", None),
        ] {
            let config = read(&V1_33.replace("http://127.0.0.1:2381", listen), &all).expect(listen);
            let wanted: Vec<String> = wanted.map(ToOwned::to_owned).into_iter().collect();
            assert_eq!(config.metrics_urls, wanted, "{listen}");
        }
    }

    #[test]
    fn every_problem_has_its_message() {
        let without =
            |flag: &str| V1_28.lines().filter(|line| !line.contains(flag)).collect::<Vec<_>>().join("\n");
        let elsewhere = V1_28.replace("- mountPath: /etc/kubernetes/pki/etcd", "- mountPath: /elsewhere");
        let no_client: Exists = &|path| path.ends_with("ca.crt");
        let cases: [(String, Exists, &str); 7] = [
            ("a: [".to_owned(), &all, "no static pod manifest: line 1"),
            ("spec: {containers: [{name: web}]}".to_owned(), &all, "no container named etcd"),
            (without("advertise-client-urls"), &all, "no --advertise-client-urls"),
            (without(" --trusted-ca-file"), &all, "no --trusted-ca-file"),
            (elsewhere, &all, "/etc/kubernetes/pki/etcd/ca.crt is in no hostPath volume"),
            (V1_28.to_owned(), &|_| false, "/etc/kubernetes/pki/etcd/ca.crt does not exist"),
            (V1_28.to_owned(), no_client, "/etc/kubernetes/pki/apiserver-etcd-client.crt with its .key"),
        ];
        for (text, exists, message) in cases {
            let error = read(&text, exists).expect_err(message).to_string();
            assert!(error.contains(message), "{error}\nshould say {message}");
        }
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("etcd.yaml");
        let error = || super::read(&path, "k8s".parse().expect("name")).expect_err("no manifest").to_string();
        assert!(error().contains("etcd.yaml"), "{}", error());
        std::fs::write(&path, "spec: {}").expect("written");
        assert!(error().contains("etcd.yaml: no container named etcd"), "{}", error());
    }
}
