//! Which cluster a benchmark is of: the official tool's connection flags, or one of the configuration.

use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use crate::cli::connection::environment_flags;
use crate::cli::{Global, Stop};
use crate::config::{ClusterSetup, Config, Overrides};
use crate::discover::etcdctl::EtcdctlFlags;
use crate::model::ClusterName;
use crate::model::unit::parse_duration;

/// The flags; the `ETCDCTL_*` variables stand in for absent ones.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection (as in the official tool; ETCDCTL_* variables work too)")]
pub struct Target {
    /// Client URLs of the members that are asked, in turn by connection [default: 127.0.0.1:2379]
    #[arg(long, global = true, value_name = "URL,…")]
    endpoints: Option<String>,
    /// CA that signed the servers' certificates
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<String>,
    /// Client certificate
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<String>,
    /// Key of the client certificate
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<String>,
    /// User, or user:password
    #[arg(long, global = true, value_name = "NAME[:PASSWORD]")]
    user: Option<String>,
    /// Password of --user
    #[arg(long, global = true, value_name = "PASSWORD")]
    password: Option<String>,
    /// Accept any server certificate. For tests only
    #[arg(long, global = true)]
    insecure_skip_tls_verify: bool,
    /// Limit of connecting to a member; 0 is the default
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration)]
    dial_timeout: Option<Duration>,
    /// Accepted as in the official tool; connections stay with the members that they were opened to
    #[arg(long, global = true, value_name = "DURATION", hide = true)]
    auto_sync_interval: Option<String>,
    /// The configured cluster to ask; with --endpoints, what to call theirs [default: etcd]
    #[arg(long, global = true, value_name = "NAME")]
    cluster: Option<ClusterName>,
    /// Load a cluster that is tagged production
    #[arg(long, global = true)]
    yes: bool,
}

impl Target {
    /// The configuration, and the cluster.
    pub async fn resolve(&self, global: &Global) -> Result<(Config, ClusterSetup), Stop> {
        let usage = |error: &dyn std::fmt::Display| Stop::Usage(error.to_string());
        let flags = self.flags().over(environment_flags()?).map_err(|error| usage(&error))?;
        if flags.is_empty() && global.config.is_some() {
            let config = crate::cli::with_found(global.load(Overrides::default())?).await?;
            let cluster = self.chosen(&config)?;
            self.dare(&cluster)?;
            return Ok((config, cluster));
        }
        let name = match &self.cluster {
            Some(name) => name.clone(),
            None => "etcd".parse().map_err(|error| usage(&error))?,
        };
        let (config, login) = flags.cluster(name).map_err(|error| usage(&error))?;
        let cluster = ClusterSetup { config, login, backup_login: None };
        let overrides = Overrides { cluster: Some(cluster.clone()), ..Overrides::default() };
        Ok((global.load(overrides)?, cluster))
    }

    /// The cluster that is named, if one is.
    pub fn named(&self) -> Option<&ClusterName> {
        self.cluster.as_ref()
    }

    fn flags(&self) -> EtcdctlFlags {
        EtcdctlFlags {
            endpoints: self.endpoints.clone(),
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            user: self.user.clone().map(SecretString::from),
            password: self.password.clone().map(SecretString::from),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify.then_some(true),
            insecure_transport: None,
            dial_timeout: self.dial_timeout.filter(|timeout| !timeout.is_zero()),
            command_timeout: None,
        }
    }

    fn chosen(&self, config: &Config) -> Result<ClusterSetup, Stop> {
        let known: Vec<&str> = config.clusters.iter().map(|cluster| cluster.config.name.as_str()).collect();
        let known = known.join(", ");
        match (&self.cluster, config.clusters.as_slice()) {
            (None, [one]) => Ok(one.clone()),
            (None, []) => Err(Stop::Usage("no cluster is configured; give --endpoints".to_owned())),
            (None, _) => Err(Stop::Usage(format!("which cluster? Give --cluster: {known}"))),
            (Some(name), clusters) => {
                let found = clusters.iter().find(|cluster| cluster.config.name == *name);
                found.cloned().ok_or_else(|| {
                    Stop::Usage(format!("there is no cluster {:?}; there are {known}", name.as_str()))
                })
            }
        }
    }

    fn dare(&self, cluster: &ClusterSetup) -> Result<(), Stop> {
        match cluster.production_tag() {
            Some((key, value)) if !self.yes => Err(Stop::Usage(format!(
                "cluster {} is tagged {key}={value}: a benchmark there takes from those who use it; add --yes to do it all the same",
                cluster.config.name
            ))),
            _ => Ok(()),
        }
    }
}
