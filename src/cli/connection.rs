//! etcdctl's connection flags, as `run` and `check` take them.

use clap::Args;

use super::Stop;
use crate::config::{CommandLineCluster, process_environment};
use crate::discover::etcdctl::{self, EtcdctlFlags};
use crate::discover::kubeadm;
use crate::model::ClusterName;

/// The flags; the `ETCDCTL_*` variables stand in for absent ones.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection (as in etcdctl; ETCDCTL_* variables work too)")]
pub struct Connect {
    /// Client URLs of one or more members; the others are found through the member list
    #[arg(long, value_name = "URL,…")]
    endpoints: Option<String>,
    /// CA that signed the servers' certificates
    #[arg(long, value_name = "FILE")]
    cacert: Option<String>,
    /// Client certificate
    #[arg(long, value_name = "FILE")]
    cert: Option<String>,
    /// Key of the client certificate
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// User, or user:password
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    user: Option<String>,
    /// Password of --user
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Accept any server certificate. For tests only
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    /// Limit of every call to a member
    #[arg(long, value_name = "DURATION")]
    command_timeout: Option<String>,
    /// What to call the cluster that these flags describe
    #[arg(long, value_name = "NAME", default_value = "etcd")]
    cluster: ClusterName,
}

impl Connect {
    /// The cluster that the flags and variables describe; where they describe none and no file is
    /// configured, the one of this machine's kubeadm manifest, if there is one.
    pub fn cluster(&self, has_file: bool) -> Result<Option<CommandLineCluster>, Stop> {
        let environment = process_environment();
        let flags = EtcdctlFlags {
            endpoints: self.endpoints.clone(),
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            user: self.user.clone(),
            password: self.password.clone().map(Into::into),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            command_timeout: self.command_timeout.clone(),
            ..EtcdctlFlags::default()
        };
        let usage = |errors: Vec<etcdctl::FlagError>| {
            Stop::Usage(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        };
        let merged = etcdctl::merge(flags, &|name| environment.get(name).cloned()).map_err(usage)?;
        if let Some(cluster) = etcdctl::to_cluster(self.cluster.clone(), &merged).map_err(usage)? {
            return Ok(Some(cluster));
        }
        if has_file {
            return Ok(None);
        }
        let found = kubeadm::read(std::path::Path::new(kubeadm::MANIFEST_PATH));
        let found = found.map_err(|error| Stop::Usage(error.to_string()))?;
        Ok(found.map(|cluster| (cluster, None)))
    }
}
