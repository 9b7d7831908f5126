//! etcdctl's connection flags, as `run` and `check` take them.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use super::Stop;
use crate::config::{ClusterSetup, process_environment};
use crate::discover::etcdctl::EtcdctlFlags;
use crate::discover::kubeadm;
use crate::model::ClusterName;
use crate::model::unit::parse_duration;

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
    /// Limit of connecting to a member
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    dial_timeout: Option<Duration>,
    /// Limit of every call to a member
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    command_timeout: Option<Duration>,
    /// What to call the cluster that these flags describe
    #[arg(long, value_name = "NAME", default_value = "etcd")]
    cluster: ClusterName,
}

impl Connect {
    /// The cluster that the flags and variables describe; where they describe none and no file is
    /// configured, the one of this machine's kubeadm manifest, if there is one.
    pub fn cluster(&self, has_file: bool) -> Result<Option<ClusterSetup>, Stop> {
        let usage = |error: &dyn std::fmt::Display| Stop::Usage(error.to_string());
        let flags = self.flags().over(environment_flags()?).map_err(|error| usage(&error))?;
        if !flags.is_empty() {
            let (config, login) = flags.cluster(self.cluster.clone()).map_err(|error| usage(&error))?;
            return Ok(Some(ClusterSetup { config, login, backup_login: None }));
        }
        let manifest = Path::new(kubeadm::MANIFEST);
        if has_file || !manifest.exists() {
            return Ok(None);
        }
        let config = kubeadm::read(manifest, self.cluster.clone()).map_err(|error| usage(&error))?;
        Ok(Some(ClusterSetup { config, login: None, backup_login: None }))
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
            dial_timeout: self.dial_timeout,
            command_timeout: self.command_timeout,
        }
    }
}

/// The `ETCDCTL_*` variables that stand for flags.
pub(super) fn environment_flags() -> Result<EtcdctlFlags, Stop> {
    let environment = process_environment();
    let text = |name: &str| environment.get(name).cloned().filter(|value| !value.is_empty());
    let truth = |name: &str| match text(name).as_deref() {
        None => Ok(None),
        Some("true" | "1" | "t" | "TRUE" | "True" | "T") => Ok(Some(true)),
        Some("false" | "0" | "f" | "FALSE" | "False" | "F") => Ok(Some(false)),
        Some(other) => Err(Stop::Usage(format!("{name}={other:?} is neither true nor false"))),
    };
    let duration = |name: &str| match text(name).map(|value| parse_duration(&value)) {
        None => Ok(None),
        Some(Ok(duration)) => Ok(Some(duration)),
        Some(Err(error)) => Err(Stop::Usage(format!("{name}: {error}"))),
    };
    Ok(EtcdctlFlags {
        endpoints: text("ETCDCTL_ENDPOINTS"),
        cacert: text("ETCDCTL_CACERT"),
        cert: text("ETCDCTL_CERT"),
        key: text("ETCDCTL_KEY"),
        user: text("ETCDCTL_USER").map(SecretString::from),
        password: text("ETCDCTL_PASSWORD").map(SecretString::from),
        insecure_skip_tls_verify: truth("ETCDCTL_INSECURE_SKIP_TLS_VERIFY")?,
        insecure_transport: truth("ETCDCTL_INSECURE_TRANSPORT")?,
        dial_timeout: duration("ETCDCTL_DIAL_TIMEOUT")?,
        command_timeout: duration("ETCDCTL_COMMAND_TIMEOUT")?,
    })
}
