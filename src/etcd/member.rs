//! One member's connection: every call has a deadline, a pace and an error that names the endpoint.

mod database;
mod pipe;

pub use database::DatabaseStream;
pub use pipe::{Inflow, Method, Outbox, Pipe, frame};

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

use super::login::{Session, Token};
use super::wire::{self, Header};
use super::{ClusterConfig, EtcdError, Login, Pace, TlsConfig, tls};
use crate::model::{ErrorKind, Instance};

/// An etcd answer: all begin with the header.
pub trait Answer: prost::Message + Default + 'static {
    fn header(&self) -> Option<&Header>;
}

/// A member's endpoint. Clones share the connection, the pace and the login.
#[derive(Debug, Clone)]
pub struct Member {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// With scheme, without path.
    url: String,
    instance: Instance,
    tls: Option<TlsConfig>,
    session: Option<Session>,
    connect_timeout: Duration,
    call_timeout: Duration,
    keepalive: Duration,
    pace: Pace,
    connection: Mutex<Option<(tls::Stamp, Connection)>>,
}

#[derive(Debug, Clone)]
struct Connection {
    channel: Channel,
    http: reqwest::Client,
}

/// A call's name, its path, and whether its silence says that the member is dead. It does not for calls
/// that a healthy member cannot answer without a quorum.
struct Call {
    name: &'static str,
    path: &'static str,
    silence_is_death: bool,
}

const STATUS: Call =
    Call { name: "status", path: "/etcdserverpb.Maintenance/Status", silence_is_death: true };
const MEMBER_LIST: Call =
    Call { name: "member-list", path: "/etcdserverpb.Cluster/MemberList", silence_is_death: true };
const MEMBER_LIST_QUORUM: Call =
    Call { name: "member-list", path: "/etcdserverpb.Cluster/MemberList", silence_is_death: false };
const ALARMS: Call =
    Call { name: "alarms", path: "/etcdserverpb.Maintenance/Alarm", silence_is_death: false };
const READ: Call = Call { name: "serializable-read", path: "/etcdserverpb.KV/Range", silence_is_death: true };
const READ_QUORUM: Call =
    Call { name: "linearizable-read", path: "/etcdserverpb.KV/Range", silence_is_death: false };
const KEYS: Call = Call { name: "keys", path: "/etcdserverpb.KV/Range", silence_is_death: false };
const LOGIN: Call = Call { name: "login", path: "/etcdserverpb.Auth/Authenticate", silence_is_death: false };
const HASH_KV: Call =
    Call { name: "hash-kv", path: "/etcdserverpb.Maintenance/HashKV", silence_is_death: false };

impl Member {
    /// A handle for `endpoint` (configured, or a client URL of the member list); nothing is sent yet.
    ///
    /// # Errors
    /// [`EtcdError::Config`] when the endpoint does not fit the cluster's settings.
    pub fn new(config: &ClusterConfig, endpoint: &str, login: Option<&Login>) -> Result<Self, EtcdError> {
        // The HTTP client panics without a provider, so no caller shall be able to forget it.
        super::install_crypto_provider();
        let url = config.endpoint_url(endpoint)?;
        let instance = Instance::of_endpoint(&url).map_err(|e| EtcdError::Config {
            cluster: config.name.clone(),
            key: "endpoints",
            problem: e.to_string(),
        })?;
        let inner = Inner {
            tls: config.tls.clone().filter(|_| url.starts_with("https://")),
            url,
            instance,
            session: login.cloned().map(Session::new),
            connect_timeout: config.timeouts.connect.0,
            call_timeout: config.timeouts.call.0,
            keepalive: config.timeouts.keepalive.0,
            pace: Pace::new(config.max_requests_per_second),
            connection: Mutex::new(None),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn url(&self) -> &str {
        &self.inner.url
    }

    pub fn instance(&self) -> &Instance {
        &self.inner.instance
    }

    /// Maintenance.Status.
    ///
    /// # Errors
    /// [`EtcdError`]; `Denied` or `Auth` without the right (root, from 3.5.30 on).
    pub async fn status(&self) -> Result<wire::StatusResponse, EtcdError> {
        self.call(&STATUS, wire::StatusRequest {}, self.inner.call_timeout).await
    }

    /// The member list; with `linearizable` confirmed by a quorum (3.5+), else as the member remembers it.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn member_list(&self, linearizable: bool) -> Result<wire::MemberListResponse, EtcdError> {
        let call = if linearizable { &MEMBER_LIST_QUORUM } else { &MEMBER_LIST };
        self.call(call, wire::MemberListRequest { linearizable }, self.inner.call_timeout).await
    }

    /// The active alarms. A raft proposal: ask one member per cluster, seldom.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn alarms(&self) -> Result<wire::AlarmResponse, EtcdError> {
        self.call(&ALARMS, wire::AlarmRequest { action: 0 }, self.inner.call_timeout).await
    }

    /// Reads the key `health` (as etcdctl's health check does), by a quorum unless `serializable`.
    ///
    /// # Errors
    /// [`EtcdError`]; `Denied` proves that the read reached a decision.
    pub async fn read(&self, serializable: bool) -> (Duration, Result<wire::RangeResponse, EtcdError>) {
        let request = wire::RangeRequest {
            key: b"health".to_vec(),
            limit: 1,
            serializable,
            count_only: true,
            ..wire::RangeRequest::default()
        };
        let call = if serializable { &READ } else { &READ_QUORUM };
        if let Err(error) = self.pace(call.name).await {
            return (Duration::ZERO, Err(error));
        }
        // The clock starts when the request may go out: our own rate limit is no latency of etcd.
        let started = Instant::now();
        let answer = self.call_now(call, request, self.inner.call_timeout).await;
        (started.elapsed(), answer)
    }

    /// How many keys are alive at `revision`, as this member knows. It walks along its index of all keys.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn count_keys(&self, revision: i64, deadline: Duration) -> Result<u64, EtcdError> {
        let request = wire::RangeRequest {
            key: vec![0],
            range_end: vec![0],
            revision,
            serializable: true,
            count_only: true,
            ..wire::RangeRequest::default()
        };
        let answer: wire::RangeResponse = self.call(&KEYS, request, deadline).await?;
        Ok(u64::try_from(answer.count).unwrap_or(0))
    }

    /// At most `limit` keys that begin with `prefix`, with their values.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn below(&self, prefix: &[u8], limit: i64) -> Result<wire::KeysResponse, EtcdError> {
        let request = wire::KeysRequest { key: prefix.to_vec(), range_end: range_end(prefix), limit };
        self.call(&KEYS, request, self.inner.call_timeout).await
    }

    /// The hash of the key space at `revision` (0 = now). Reads the whole database: one member at a time.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn hash_kv(
        &self,
        revision: i64,
        deadline: Duration,
    ) -> Result<wire::HashKvResponse, EtcdError> {
        self.call(&HASH_KV, wire::HashKvRequest { revision }, deadline).await
    }

    /// An HTTP client with this member's TLS settings, for `/metrics` and `/health`; counts as a request.
    ///
    /// # Errors
    /// [`EtcdError::TlsFile`], or [`EtcdError::Resting`] while the member is left alone.
    pub async fn http(&self) -> Result<reqwest::Client, EtcdError> {
        // Not held back by the breaker: it is about gRPC, and `/metrics` may be on a port of its own.
        self.token().await;
        Ok(self.connection().await?.http)
    }

    /// The TLS alert with which the member ends connections, if it does. In TLS 1.3 a refused client
    /// certificate shows only after the handshake, and gRPC may meet the closed connection first; an
    /// HTTP request waits for the answer and so mostly sees the alert.
    async fn alert(&self) -> Option<(ErrorKind, String)> {
        let http = self.connection().await.ok()?.http;
        let request = http.get(format!("{}/version", self.inner.url)).timeout(self.inner.connect_timeout);
        let causes = crate::model::chain(&request.send().await.err()?);
        Some(super::error::transport(&self.inner.url, &causes)).filter(|(kind, _)| *kind == ErrorKind::Tls)
    }

    /// Waits for a token; refuses while the breaker is open.
    async fn pace(&self, call: &'static str) -> Result<(), EtcdError> {
        if let Some((wait, kind, last)) = self.inner.pace.rest(Instant::now()) {
            return Err(EtcdError::Resting { endpoint: self.inner.url.clone(), call, kind, last, wait });
        }
        self.token().await;
        Ok(())
    }

    async fn token(&self) {
        let wait = self.inner.pace.take(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    async fn call<Q, A>(&self, call: &Call, request: Q, deadline: Duration) -> Result<A, EtcdError>
    where
        Q: prost::Message + Clone + 'static,
        A: Answer,
    {
        self.pace(call.name).await?;
        self.call_now(call, request, deadline).await
    }

    /// The call without waiting for its turn.
    async fn call_now<Q, A>(&self, call: &Call, request: Q, deadline: Duration) -> Result<A, EtcdError>
    where
        Q: prost::Message + Clone + 'static,
        A: Answer,
    {
        let mut result = self.call_with_login(call, request, deadline).await;
        if let Err(EtcdError::Call { kind, message, .. }) = &mut result
            && *kind == ErrorKind::Unreachable
            && self.inner.url.starts_with("https://")
            && message.contains("closed")
        {
            match self.alert().await {
                Some(why) => (*kind, *message) = why,
                None if self.inner.tls.as_ref().is_none_or(|tls| tls.cert.is_none()) => {
                    message
                        .push_str("; if it runs, it may want a client certificate: set tls.cert and tls.key");
                }
                None => {}
            }
        }
        match &result {
            Ok(_) => self.inner.pace.answered(),
            Err(e) if e.is_answer() => self.inner.pace.answered(),
            Err(e) => match e.kind() {
                ErrorKind::Timeout if !call.silence_is_death => {}
                kind @ (ErrorKind::Timeout | ErrorKind::Unreachable | ErrorKind::Tls) => {
                    self.inner.pace.failed(Instant::now(), kind, &e.reason());
                }
                _ => {}
            },
        }
        result
    }

    async fn call_with_login<Q, A>(&self, call: &Call, request: Q, deadline: Duration) -> Result<A, EtcdError>
    where
        Q: prost::Message + Clone + 'static,
        A: Answer,
    {
        let Some(session) = &self.inner.session else {
            return self.send(call, request, None, deadline).await;
        };
        for last in [false, true] {
            let (token, why) = match session.token(async |login: &Login| self.login(login).await).await {
                Token::Send(token) => (Some(token), None),
                Token::Without(why) => (None, why),
            };
            // A wrong password is told as such; an outage of the quorum leaves what anyone may read.
            if let Some((kind @ (ErrorKind::Auth | ErrorKind::Malformed), message)) = why {
                return Err(self.failure(call, kind, message));
            }
            let had_token = token.is_some();
            match (self.send(call, request.clone(), token, deadline).await, why) {
                (Err(e), Some((kind, message))) if e.kind() == ErrorKind::Auth => {
                    return Err(self.failure(call, kind, message));
                }
                (Err(e), _) if had_token && !last && rejects_token(&e) => session.forget().await,
                (result, _) => return result,
            }
        }
        Err(self.failure(call, ErrorKind::Auth, "every new login token is rejected".to_owned()))
    }

    fn failure(&self, call: &Call, kind: ErrorKind, message: String) -> EtcdError {
        EtcdError::Call { endpoint: self.inner.url.clone(), call: call.name, kind, message, source: None }
    }

    async fn login(&self, login: &Login) -> Result<String, EtcdError> {
        use secrecy::ExposeSecret;
        let request = wire::AuthenticateRequest {
            name: login.user.clone(),
            password: login.password.expose_secret().to_owned(),
        };
        let answer: wire::AuthenticateResponse =
            self.send(&LOGIN, request, None, self.inner.call_timeout).await?;
        Ok(answer.token)
    }

    async fn send<Q, A>(
        &self,
        call: &Call,
        request: Q,
        token: Option<tonic::metadata::AsciiMetadataValue>,
        deadline: Duration,
    ) -> Result<A, EtcdError>
    where
        Q: prost::Message + Clone + 'static,
        A: Answer,
    {
        let endpoint = &self.inner.url;
        let exchange = async {
            let mut grpc = self.ready(call).await?;
            let mut request = tonic::Request::new(request);
            request.set_timeout(deadline);
            if let Some(token) = token {
                request.metadata_mut().insert("token", token);
            }
            let codec = tonic_prost::ProstCodec::<Q, A>::default();
            let answer = grpc.unary(request, PathAndQuery::from_static(call.path), codec).await;
            answer
                .map(tonic::Response::into_inner)
                .map_err(|status| EtcdError::of_status(endpoint, call.name, status))
        };
        tokio::time::timeout(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(EtcdError::timeout(endpoint, call.name, deadline)))
    }

    async fn ready(&self, call: &Call) -> Result<tonic::client::Grpc<Channel>, EtcdError> {
        let mut grpc = tonic::client::Grpc::new(self.connection().await?.channel);
        grpc.ready().await.map_err(|e| {
            let status = tonic::Status::from_error(Box::new(e));
            EtcdError::of_status(&self.inner.url, call.name, status)
        })?;
        Ok(grpc)
    }

    /// The open connection, made anew when a certificate file changed.
    async fn connection(&self) -> Result<Connection, EtcdError> {
        let inner = &self.inner;
        let stamp = match &inner.tls {
            Some(tls) => tls::stamp(tls).await,
            None => tls::Stamp::new(),
        };
        let mut slot = inner.connection.lock().await;
        if let Some((_, connection)) = slot.as_ref().filter(|(there, _)| *there == stamp) {
            return Ok(connection.clone());
        }
        let material = match &inner.tls {
            Some(config) => tls::load(config).await?,
            None => tls::Material::system(),
        };
        let connection = inner.connect(&material).map_err(|message| EtcdError::Call {
            endpoint: inner.url.clone(),
            call: "connect",
            kind: ErrorKind::Tls,
            message,
            source: None,
        })?;
        *slot = Some((stamp, connection.clone()));
        Ok(connection)
    }
}

impl Inner {
    fn connect(&self, material: &tls::Material) -> Result<Connection, String> {
        let mut endpoint = Endpoint::from_shared(self.url.clone())
            .map_err(|e| e.to_string())?
            .connect_timeout(self.connect_timeout)
            .tcp_keepalive(Some(self.keepalive))
            .http2_keep_alive_interval(self.keepalive)
            .keep_alive_timeout(self.keepalive)
            .keep_alive_while_idle(true);
        if self.url.starts_with("https://") {
            endpoint = material.apply(endpoint).map_err(|e| crate::model::chain(&e))?;
        }
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect_timeout);
        let http = material.apply_http(builder)?.build().map_err(|e| crate::model::chain(&e))?;
        Ok(Connection { channel: endpoint.connect_lazy(), http })
    }
}

fn rejects_token(error: &EtcdError) -> bool {
    let text = error.to_string();
    error.kind() == ErrorKind::Auth
        && (text.contains("invalid auth token") || text.contains("auth store is old"))
}

/// The end of the range of all keys that begin with `prefix`: the next text of its length. `\0` where there is none,
/// which means every key from `prefix` on.
pub fn range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    vec![0]
}
