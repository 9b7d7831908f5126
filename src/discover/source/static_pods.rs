//! The members that this node's kubelet runs, from their static pod manifests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::described::Described;
use crate::discover::kubeadm::{self, KubeadmError};
use crate::model::ClusterName;

/// `static-pods`: which manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StaticPods {
    pub manifests: Vec<PathBuf>,
}

impl Default for StaticPods {
    fn default() -> Self {
        Self { manifests: vec![kubeadm::MANIFEST.into()] }
    }
}

impl StaticPods {
    /// A manifest that is not there is a member that is not there.
    pub(super) fn ask(&self, source: &ClusterName) -> Vec<Result<Described, String>> {
        let described = |path: &PathBuf| match kubeadm::read(path, source.clone()) {
            Ok(cluster) => {
                let manifest = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                Some(Ok(Described {
                    endpoints: cluster.endpoints,
                    words: BTreeMap::from([("manifest".to_owned(), manifest.unwrap_or_default())]),
                    metrics_urls: cluster.metrics_urls,
                    tls: cluster.tls,
                    name: "{source}".to_owned(),
                    ..Described::default()
                }))
            }
            Err(KubeadmError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error.to_string())),
        };
        self.manifests.iter().filter_map(described).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_is_not_there_is_no_member_and_a_broken_one_a_problem() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write(
            "etcd.yaml",
            "spec: {containers: [{name: etcd, command: [etcd, --advertise-client-urls=http://10.0.0.1:2379]}]}",
        );
        write("broken.yaml", "spec: {containers: []}");
        let manifests = ["etcd.yaml", "gone.yaml", "broken.yaml"].map(|name| folder.path().join(name));
        let found = StaticPods { manifests: manifests.into() }.ask(&"node".parse().expect("a name"));
        let endpoints: Vec<_> = found.iter().flatten().flat_map(|one| &one.endpoints).collect();
        assert_eq!(endpoints, ["http://10.0.0.1:2379"]);
        let problems: Vec<_> = found.iter().filter_map(|one| one.as_ref().err()).collect();
        assert!(
            problems.len() == 1 && problems[0].contains("broken.yaml: no container named etcd"),
            "{problems:?}"
        );
    }
}
