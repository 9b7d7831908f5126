//! A configured cluster, ready to connect: its login resolved, its files looked at.

use std::path::Path;
use std::sync::Arc;

use crate::etcd::{ClusterConfig, EtcdError, Login};
use crate::probe::{Prober, ScrapeConfig, SeriesPool};

/// How a cluster is reached, with its secret.
#[derive(Debug, Clone)]
pub struct ClusterSetup {
    pub config: ClusterConfig,
    pub login: Option<Login>,
}

impl ClusterSetup {
    /// A prober for this cluster; those of a fleet share `pool`.
    ///
    /// # Errors
    /// When the configuration does not fit together.
    pub fn prober(&self, scrape: &ScrapeConfig, pool: &Arc<SeriesPool>) -> Result<Prober, EtcdError> {
        Prober::sharing(&self.config, self.login.as_ref(), scrape, pool)
    }

    /// What is wrong with the files it names, as (key, message): found at start, not at the first call.
    pub fn file_problems(&self) -> Vec<(&'static str, String)> {
        let Some(tls) = &self.config.tls else { return Vec::new() };
        let files = [
            ("tls.ca", &tls.ca, "CERTIFICATE"),
            ("tls.cert", &tls.cert, "CERTIFICATE"),
            ("tls.key", &tls.key, "PRIVATE KEY"),
        ];
        let problem = |(key, path, kind): (&'static str, &Option<std::path::PathBuf>, &str)| {
            pem_problem(path.as_deref()?, kind).map(|problem| (key, problem))
        };
        files.into_iter().filter_map(problem).collect()
    }
}

fn pem_problem(path: &Path, kind: &str) -> Option<String> {
    match std::fs::read(path) {
        Err(error) => Some(format!("{} cannot be read: {error}", path.display())),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let there = text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(kind));
            (!there).then(|| format!("{} holds no PEM {kind}", path.display()))
        }
    }
}
