//! A configured cluster, ready to connect: its login resolved, its files looked at.

use std::sync::Arc;

use crate::etcd::{self, ClusterConfig, EtcdError, Login};
use crate::probe::{Prober, ScrapeConfig, SeriesPool};

/// How a cluster is reached, with its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSetup {
    pub config: ClusterConfig,
    pub login: Option<Login>,
    /// The login of [`ClusterConfig::backup_auth`].
    pub backup_login: Option<Login>,
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
        let tls = self.config.tls.iter().chain(&self.config.backup_tls);
        let problems = tls.flat_map(etcd::file_problems);
        let said = |problem| match problem {
            EtcdError::TlsFile { key, path, problem } => (key, format!("{} {problem}", path.display())),
            other => ("tls", other.to_string()),
        };
        problems.map(said).collect()
    }
}
