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
