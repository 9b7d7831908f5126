//! One member's client: the calls a monitor makes, each with a deadline and an error that says where.

use std::future::Future;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Channel, Client, ConnectOptions, GetOptions};
use secrecy::{ExposeSecret, SecretString};
use tonic::transport::Endpoint;

use super::config::ClusterConfig;
use super::error::EtcdError;
use super::http::HttpClient;
use super::tls::TlsMaterial;
use crate::model::{Alarm, ClusterId, ErrorKind, MemberId, MemberStatus, StatusSource};

/// A call's result.
pub type Answer<T> = Result<T, EtcdError>;

/// How to reach a cluster's members: configuration with its secrets and files read.
#[derive(Clone)]
pub struct Connection {
    pub config: ClusterConfig,
    password: Option<SecretString>,
    tls: TlsMaterial,
}

/// What Status says, and of which member and cluster it is.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusAnswer {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
    pub is_learner: bool,
    pub status: MemberStatus,
}

/// A member as the member list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedMember {
    pub id: MemberId,
    /// Empty while it never started.
    pub name: String,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// The member list with its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberList {
    pub cluster_id: ClusterId,
    /// Who answered.
    pub member_id: MemberId,
    pub raft_term: u64,
    pub members: Vec<ListedMember>,
}

impl Connection {
    /// Reads the TLS files.
    ///
    /// # Errors
    /// (key, message) of every file that does not do.
    pub fn new(
        config: ClusterConfig,
        password: Option<SecretString>,
    ) -> Result<Self, Vec<(&'static str, String)>> {
        let tls = config.tls.as_ref().map_or_else(|| Ok(TlsMaterial::default()), TlsMaterial::read)?;
        Ok(Self { config, password, tls })
    }

    /// Reads changed TLS files again; true when they changed. Unreadable ones keep the old.
    pub fn refresh(&mut self) -> bool {
        let Some(config) = self.config.tls.as_ref().filter(|tls| self.tls.is_outdated(tls)) else {
            return false;
        };
        TlsMaterial::read(config).map(|material| self.tls = material).is_ok()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout.0
    }

    pub(super) fn apply_http(
        &self,
        builder: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, reqwest::Error> {
        match &self.config.tls {
            Some(tls) => self.tls.apply_http(builder, tls),
            None => Ok(builder),
        }
    }
}

/// One member's gRPC port. Nothing is sent before the first call.
pub struct MemberClient {
    url: String,
    timeout: Duration,
    /// Made at the first call: with a login, making it talks to etcd.
    client: Option<Client>,
    connection: Connection,
    http: HttpClient,
}

impl MemberClient {
    /// # Errors
    /// When the URL or the TLS material cannot be used.
    pub fn new(connection: &Connection, endpoint: &str) -> Answer<Self> {
        let url = connection.config.url_of(endpoint);
        let http = HttpClient::new(connection, endpoint)?;
        Ok(Self { url, timeout: connection.timeout(), client: None, connection: connection.clone(), http })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The member's HTTP side, to use beside this one.
    pub fn http(&self) -> HttpClient {
        self.http.clone()
    }

    async fn client(&mut self) -> Answer<Client> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let endpoint = self.endpoint()?;
        let config = &self.connection.config;
        let mut options = ConnectOptions::new();
        if let (Some(auth), Some(password)) = (&config.auth, &self.connection.password) {
            options = options.with_user(&auth.user, password.expose_secret()).with_auto_token_refresh(true);
        }
        let connect = Client::from_channel(Channel::Tonic(endpoint.connect_lazy()), Some(options));
        let client = limited(self.timeout, &self.url, "connect", connect).await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    fn endpoint(&self) -> Answer<Endpoint> {
        let invalid = |error: &dyn std::fmt::Display| {
            EtcdError::new(&self.url, "connect", ErrorKind::Other, format!("not a usable URL: {error}"))
        };
        let endpoint = Endpoint::from_shared(self.url.clone()).map_err(|error| invalid(&error))?;
        let endpoint = endpoint
            .connect_timeout(self.timeout)
            // A black hole shows only by missing answers to pings.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true);
        if !self.url.starts_with("https://") {
            return Ok(endpoint);
        }
        let tls = self.connection.config.tls.clone().unwrap_or_default();
        self.connection.tls.apply(endpoint, &self.url, &tls)
    }

    /// After a failed login or a reset connection the next call starts afresh.
    fn forget_on_failure<T>(&mut self, answer: Answer<T>) -> Answer<T> {
        let fatal = |error: &EtcdError| matches!(error.kind, ErrorKind::Auth | ErrorKind::Tls);
        if answer.as_ref().is_err_and(fatal) {
            self.client = None;
        }
        answer
    }

    /// Maintenance.Status.
    pub async fn status(&mut self) -> Answer<StatusAnswer> {
        let mut client = self.client().await?;
        let answer = limited(self.timeout, &self.url, "status", client.status()).await;
        let response = self.forget_on_failure(answer)?;
        let header = self.header("status", response.header())?;
        let bytes = |signed: i64| u64::try_from(signed).unwrap_or(0);
        let quota = bytes(response.db_size_quota());
        Ok(StatusAnswer {
            cluster_id: ClusterId(header.cluster_id()),
            member_id: MemberId(header.member_id()),
            is_learner: response.is_learner(),
            status: MemberStatus {
                source: StatusSource::Rpc,
                version: response.version().to_owned(),
                db_size_bytes: bytes(response.db_size()),
                db_size_in_use_bytes: bytes(response.raft_used_db_size()),
                quota_bytes: (quota > 0).then_some(quota),
                leader: Some(MemberId(response.leader())).filter(|leader| leader.0 != 0),
                raft_term: response.raft_term(),
                raft_index: response.raft_index(),
                raft_applied_index: response.raft_applied_index(),
                revision: Some(header.revision()),
                errors: response.errors().to_vec(),
            },
        })
    }

    fn header<'a>(
        &self,
        call: &'static str,
        header: Option<&'a etcd_client::ResponseHeader>,
    ) -> Answer<&'a etcd_client::ResponseHeader> {
        header
            .ok_or_else(|| EtcdError::new(&self.url, call, ErrorKind::Malformed, "the answer has no header"))
    }

    /// Cluster.MemberList, from this member's own view.
    pub async fn member_list(&mut self) -> Answer<MemberList> {
        let mut client = self.client().await?;
        let answer = limited(self.timeout, &self.url, "member-list", client.member_list()).await;
        let response = self.forget_on_failure(answer)?;
        let header = self.header("member-list", response.header())?;
        let members = response.members().iter().map(|member| ListedMember {
            id: MemberId(member.id()),
            name: member.name().to_owned(),
            client_urls: member.client_urls().to_vec(),
            is_learner: member.is_learner(),
        });
        Ok(MemberList {
            cluster_id: ClusterId(header.cluster_id()),
            member_id: MemberId(header.member_id()),
            raft_term: header.raft_term(),
            members: members.collect(),
        })
    }

    /// Maintenance.Alarm GET: a raft proposal, so one member per cluster is asked, seldom.
    pub async fn alarms(&mut self) -> Answer<Vec<Alarm>> {
        let mut client = self.client().await?;
        let call = client.alarm(AlarmAction::Get, AlarmType::None, None);
        let answer = limited(self.timeout, &self.url, "alarms", call).await;
        let response = self.forget_on_failure(answer)?;
        let alarms = response.alarms().iter().filter_map(|alarm| {
            let kind = match alarm.alarm() {
                AlarmType::None => return None,
                AlarmType::Nospace => "NOSPACE",
                AlarmType::Corrupt => "CORRUPT",
            };
            Some(Alarm { kind: kind.to_owned(), member_id: Some(MemberId(alarm.member_id())) })
        });
        Ok(alarms.collect())
    }

    /// Reads the key `health`, as etcdctl's `endpoint health` does. A missing right proves as much as an
    /// answer: to know it the member had to ask the quorum.
    pub async fn read(&mut self, linearizable: bool) -> Answer<Duration> {
        let call = if linearizable { "linearizable-read" } else { "serializable-read" };
        let mut client = self.client().await?;
        let mut options = GetOptions::new().with_limit(1).with_keys_only();
        if !linearizable {
            options = options.with_serializable();
        }
        let started = std::time::Instant::now();
        let answer = limited(self.timeout, &self.url, call, client.get("health", Some(options))).await;
        match self.forget_on_failure(answer) {
            Ok(_) => Ok(started.elapsed()),
            Err(error) if error.kind == ErrorKind::Denied => Ok(started.elapsed()),
            Err(error) => Err(error),
        }
    }
}

async fn limited<T>(
    limit: Duration,
    url: &str,
    call: &'static str,
    work: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Answer<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(EtcdError::of_client(url, call, &error)),
        Err(_) => Err(EtcdError::timeout(url, call, limit)),
    }
}
