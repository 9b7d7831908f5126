//! d
pub mod etcdctl {
    use crate::config::CommandLineCluster;
    use crate::model::ClusterName;
    #[derive(Default, Clone)]
    pub struct EtcdctlFlags {
        pub endpoints: Option<String>,
        pub cacert: Option<String>,
        pub cert: Option<String>,
        pub key: Option<String>,
        pub user: Option<String>,
        pub password: Option<secrecy::SecretString>,
        pub insecure_skip_tls_verify: bool,
        pub command_timeout: Option<String>,
    }
    #[derive(Debug, thiserror::Error)]
    #[error("x")]
    pub struct FlagError;
    pub fn merge(
        f: EtcdctlFlags,
        _: &dyn Fn(&str) -> Option<String>,
    ) -> Result<EtcdctlFlags, Vec<FlagError>> {
        Ok(f)
    }
    pub fn to_cluster(
        n: ClusterName,
        f: &EtcdctlFlags,
    ) -> Result<Option<CommandLineCluster>, Vec<FlagError>> {
        Ok(f.endpoints
            .as_ref()
            .map(|e| (crate::etcd::ClusterConfig::new(n, e.split(',').map(String::from).collect()), None)))
    }
}
pub mod kubeadm {
    pub const MANIFEST_PATH: &str = "/nope";
    pub fn read(_: &std::path::Path) -> Result<Option<crate::etcd::ClusterConfig>, std::io::Error> {
        Ok(None)
    }
}
