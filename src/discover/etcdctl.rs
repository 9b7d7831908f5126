//! etcdctl's connection flags and `ETCDCTL_*` variables, so that what works there works here.

use std::time::Duration;

use secrecy::SecretString;

use crate::etcd::{ClusterConfig, EtcdError, Login, TlsConfig};
use crate::model::ClusterName;
use crate::model::unit::ConfigDuration;

/// etcdctl's endpoint without `--endpoints`.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";

/// The values of etcdctl's global flags; `None` = not given.
#[derive(Debug, Clone, Default)]
pub struct EtcdctlFlags {
    /// Comma-separated.
    pub endpoints: Option<String>,
    pub cacert: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
    /// `name` or `name:password`.
    pub user: Option<SecretString>,
    pub password: Option<SecretString>,
    pub insecure_skip_tls_verify: Option<bool>,
    /// etcdctl's default is true: bare `host:port` without certificates is plain.
    pub insecure_transport: Option<bool>,
    pub dial_timeout: Option<Duration>,
    pub command_timeout: Option<Duration>,
}

/// Flags that contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum EtcdctlError {
    #[error("--{flag} and {variable} are both set; etcdctl takes one of them")]
    Both { flag: &'static str, variable: &'static str },
    #[error("--password needs --user")]
    PasswordWithoutUser,
    #[error("--user {user} has no password; give --user {user}:<password> or --password")]
    NoPassword { user: String },
    #[error("--password is set, and --user holds a password too")]
    TwoPasswords,
    #[error(transparent)]
    Config(#[from] EtcdError),
}

impl EtcdctlFlags {
    /// Whether nothing at all is given.
    pub fn is_empty(&self) -> bool {
        let Self { endpoints, cacert, cert, key, user, password, .. } = self;
        [endpoints, cacert, cert, key].iter().all(|value| value.is_none())
            && [user, password].iter().all(|value| value.is_none())
            && self.insecure_skip_tls_verify.is_none()
            && self.insecure_transport.is_none()
            && self.dial_timeout.is_none()
            && self.command_timeout.is_none()
    }

    /// Joins what the command line gave with what the environment gave.
    ///
    /// # Errors
    /// [`EtcdctlError::Both`] where both give a value, as etcdctl refuses it.
    pub fn over(self, environment: Self) -> Result<Self, EtcdctlError> {
        fn one<T>(
            flag: &'static str,
            variable: &'static str,
            a: Option<T>,
            b: Option<T>,
        ) -> Result<Option<T>, EtcdctlError> {
            if a.is_some() && b.is_some() { Err(EtcdctlError::Both { flag, variable }) } else { Ok(a.or(b)) }
        }
        let env = environment;
        Ok(Self {
            endpoints: one("endpoints", "ETCDCTL_ENDPOINTS", self.endpoints, env.endpoints)?,
            cacert: one("cacert", "ETCDCTL_CACERT", self.cacert, env.cacert)?,
            cert: one("cert", "ETCDCTL_CERT", self.cert, env.cert)?,
            key: one("key", "ETCDCTL_KEY", self.key, env.key)?,
            user: one("user", "ETCDCTL_USER", self.user, env.user)?,
            password: one("password", "ETCDCTL_PASSWORD", self.password, env.password)?,
            insecure_skip_tls_verify: one(
                "insecure-skip-tls-verify",
                "ETCDCTL_INSECURE_SKIP_TLS_VERIFY",
                self.insecure_skip_tls_verify,
                env.insecure_skip_tls_verify,
            )?,
            insecure_transport: one(
                "insecure-transport",
                "ETCDCTL_INSECURE_TRANSPORT",
                self.insecure_transport,
                env.insecure_transport,
            )?,
            dial_timeout: one("dial-timeout", "ETCDCTL_DIAL_TIMEOUT", self.dial_timeout, env.dial_timeout)?,
            command_timeout: one(
                "command-timeout",
                "ETCDCTL_COMMAND_TIMEOUT",
                self.command_timeout,
                env.command_timeout,
            )?,
        })
    }

    /// The cluster and login these flags mean. A bare `host:port` is https once any certificate, or
    /// `insecure-transport=false`, is given.
    ///
    /// # Errors
    /// [`EtcdctlError`] when they do not fit together.
    pub fn cluster(&self, name: ClusterName) -> Result<(ClusterConfig, Option<Login>), EtcdctlError> {
        let endpoints = self.endpoints.as_deref().unwrap_or(DEFAULT_ENDPOINT).split(',');
        let endpoints: Vec<String> =
            endpoints.map(str::trim).filter(|e| !e.is_empty()).map(str::to_owned).collect();
        let mut config = ClusterConfig::plain(name, endpoints);
        let given = |text: &Option<String>| text.as_ref().filter(|t| !t.is_empty()).map(Into::into);
        let tls = TlsConfig {
            ca: given(&self.cacert),
            cert: given(&self.cert),
            key: given(&self.key),
            server_name: None,
            insecure_skip_verify: self.insecure_skip_tls_verify == Some(true),
        };
        if tls != TlsConfig::default() || self.insecure_transport == Some(false) {
            config.tls = Some(tls);
        }
        if let Some(dial) = self.dial_timeout {
            config.timeouts.connect = ConfigDuration(dial);
        }
        if let Some(command) = self.command_timeout {
            config.timeouts.call = ConfigDuration(command);
        }
        config.check()?;
        Ok((config, self.login()?))
    }

    fn login(&self) -> Result<Option<Login>, EtcdctlError> {
        use secrecy::ExposeSecret;
        let Some(user) = &self.user else {
            return if self.password.is_some() { Err(EtcdctlError::PasswordWithoutUser) } else { Ok(None) };
        };
        let (user, inline) = match user.expose_secret().split_once(':') {
            Some((user, password)) => (user, Some(SecretString::from(password))),
            None => (user.expose_secret(), None),
        };
        let password = match (inline, &self.password) {
            (Some(_), Some(_)) => return Err(EtcdctlError::TwoPasswords),
            (Some(password), None) => password,
            (None, Some(password)) => password.clone(),
            (None, None) => return Err(EtcdctlError::NoPassword { user: user.to_owned() }),
        };
        Ok(Some(Login { user: user.to_owned(), password }))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn name() -> ClusterName {
        "it".parse().expect("name")
    }

    #[test]
    fn certificates_make_bare_endpoints_https() {
        let flags = EtcdctlFlags { endpoints: Some("a:2379, b:2379".to_owned()), ..EtcdctlFlags::default() };
        let url = |flags: &EtcdctlFlags| {
            let (config, _) = flags.cluster(name()).expect("fits");
            config.endpoint_url(&config.endpoints[1]).expect("url")
        };
        assert_eq!(url(&flags), "http://b:2379");
        let with_ca = EtcdctlFlags { cacert: Some("/ca.pem".to_owned()), ..flags.clone() };
        assert_eq!(url(&with_ca), "https://b:2379");
        let secure = EtcdctlFlags { insecure_transport: Some(false), ..flags };
        assert_eq!(url(&secure), "https://b:2379");
        let half = EtcdctlFlags { cert: Some("/c.pem".to_owned()), ..EtcdctlFlags::default() };
        assert!(half.cluster(name()).expect_err("no key").to_string().contains("key"));
    }

    #[test]
    fn users_and_passwords_follow_etcdctl() {
        let flags = |user: Option<&str>, password: Option<&str>| EtcdctlFlags {
            user: user.map(Into::into),
            password: password.map(Into::into),
            ..EtcdctlFlags::default()
        };
        for (user, password) in [("root:a:b", None), ("root", Some("a:b"))] {
            let (_, login) = flags(Some(user), password).cluster(name()).expect("fits");
            let login = login.expect("a login");
            assert_eq!((login.user.as_str(), login.password.expose_secret()), ("root", "a:b"));
        }
        assert!(flags(None, None).cluster(name()).expect("fits").1.is_none());
        for (user, password) in [(Some("root"), None), (None, Some("x")), (Some("root:x"), Some("y"))] {
            let error = flags(user, password).cluster(name()).expect_err("does not fit").to_string();
            assert!(!error.contains(":x"), "{error}");
        }
    }

    #[test]
    fn flag_and_variable_both_set_is_an_error() {
        let endpoints = |e: &str| EtcdctlFlags { endpoints: Some(e.to_owned()), ..EtcdctlFlags::default() };
        let error = endpoints("a:1").over(endpoints("b:1")).expect_err("both").to_string();
        assert!(error.contains("--endpoints") && error.contains("ETCDCTL_ENDPOINTS"), "{error}");
        let joined = EtcdctlFlags::default().over(endpoints("b:1")).expect("one");
        assert_eq!(joined.endpoints.as_deref(), Some("b:1"));
    }
}
