//! A connection for load. HTTP/2 is spoken without a gRPC client in between, because what the client costs is
//! taken from what can be measured (`docs/decisions/0007-load-generator.md` has the figures).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::codegen::http::header::{CONTENT_TYPE, HeaderName, TE};
use tonic::codegen::http::{HeaderMap, HeaderValue, Method as Verb, Request, StatusCode, Uri, Version};
use tonic::{Code, Status};

use super::{Member, tls};
use crate::etcd::login::Token;
use crate::etcd::{EtcdError, Login};
use crate::model::{ErrorKind, chain};

/// What the errors call it.
const CALL: &str = "connect";

/// What may be under way before the other side must say that it took it: large answers to many requests at once.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// gRPC puts before each message whether it is compressed, and its length.
const FRAME_HEADER: usize = 5;

/// One HTTP/2 connection to a member. Its requests share it; a request is sent with what others have ready at that moment.
pub struct Pipe {
    send: SendRequest<Bytes>,
    base: String,
    headers: HeaderMap,
    driver: tokio::task::JoinHandle<()>,
}

/// A call of etcd, prepared for one connection.
#[derive(Clone, Debug)]
pub struct Method(Uri);

impl Member {
    /// Opens a connection of its own for load, on the runtime that asks for it. Not paced: the load is the caller's to bound.
    ///
    /// # Errors
    /// [`EtcdError`] when there is no connection within the timeout, or the login fails.
    pub async fn pipe(&self) -> Result<Pipe, EtcdError> {
        let token = match &self.inner.session {
            None => None,
            Some(session) => match session.token(async |login: &Login| self.login(login).await).await {
                Token::Send(token) => Some(token),
                Token::Without(None) => None,
                Token::Without(Some((kind, message))) => {
                    return Err(self.failed(kind, message));
                }
            },
        };
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(token) = token {
            let value = HeaderValue::from_bytes(token.as_bytes());
            let value =
                value.map_err(|_| self.failed(ErrorKind::Auth, "the token is no header".to_owned()))?;
            headers.insert(HeaderName::from_static("token"), value);
        }
        let patience = self.inner.connect_timeout;
        let opened = tokio::time::timeout(patience, self.open()).await;
        let (send, driver) = opened.unwrap_or_else(|_| Err(self.too_late(patience)))?;
        Ok(Pipe { send, base: self.inner.url.clone(), headers, driver })
    }

    fn failed(&self, kind: ErrorKind, message: String) -> EtcdError {
        EtcdError::Call { endpoint: self.inner.url.clone(), call: CALL, kind, message, source: None }
    }

    fn too_late(&self, patience: Duration) -> EtcdError {
        EtcdError::timeout(&self.inner.url, CALL, patience)
    }

    async fn open(&self) -> Result<(SendRequest<Bytes>, tokio::task::JoinHandle<()>), EtcdError> {
        let stream = TcpStream::connect(self.inner.instance.as_str()).await;
        let stream = stream.map_err(|error| self.failed(ErrorKind::Unreachable, error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| self.failed(ErrorKind::Unreachable, error.to_string()))?;
        if !self.inner.url.starts_with("https://") {
            return self.shake(stream).await;
        }
        let material = match &self.inner.tls {
            Some(config) => tls::load(config).await?,
            None => tls::Material::system(),
        };
        let config = material.http2().map_err(|problem| self.failed(ErrorKind::Tls, problem))?;
        let host = self.inner.instance.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|e| self.failed(ErrorKind::Tls, e.to_string()))?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        self.shake(stream.map_err(|error| self.failed(ErrorKind::Tls, chain(&error)))?).await
    }

    async fn shake<S>(
        &self,
        stream: S,
    ) -> Result<(SendRequest<Bytes>, tokio::task::JoinHandle<()>), EtcdError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let opened = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(stream)
            .await;
        let (send, connection) =
            opened.map_err(|error| self.failed(ErrorKind::Unreachable, chain(&error)))?;
        let driver = tokio::spawn(async move {
            // What it ended with, its requests say.
            let _ = connection.await;
        });
        Ok((send, driver))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A message as gRPC sends it.
pub fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(FRAME_HEADER + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // There is room: the buffer was made for it.
    let _ = message.encode(&mut framed);
    framed.freeze()
}

impl Pipe {
    /// Prepares calls of `path`, such as `/etcdserverpb.KV/Put`.
    pub fn method(&self, path: &'static str) -> Method {
        // A URL and a constant that both were used before make a URL.
        Method(format!("{}{path}", self.base).parse().unwrap_or_else(|_| Uri::from_static(path)))
    }

    fn request(&self, method: &Method) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Verb::POST;
        *request.uri_mut() = method.0.clone();
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().clone_from(&self.headers);
        request
    }

    /// One request, one answer: the message, encoded.
    ///
    /// # Errors
    /// What etcd answered instead, or `Unavailable` when the connection failed.
    pub async fn call(&self, method: &Method, framed: Bytes) -> Result<Bytes, Status> {
        let mut send = self.send.clone().ready().await.map_err(lost)?;
        let (answer, mut body) = send.send_request(self.request(method), false).map_err(lost)?;
        body.send_data(framed, true).map_err(lost)?;
        let mut inbox = Inbox::Asked(answer);
        let message = inbox.next(&mut BytesMut::new()).await?;
        // The status comes after the message.
        if inbox.next(&mut BytesMut::new()).await?.is_some() {
            return Err(Status::internal("more than one answer to one request"));
        }
        message.ok_or_else(|| Status::internal("an answer without a message"))
    }

    /// As [`Self::call`], with the messages as they are.
    ///
    /// # Errors
    /// As [`Self::call`], and `Internal` for an answer that is none.
    pub async fn ask<A: prost::Message + Default>(
        &self,
        path: &'static str,
        message: &impl prost::Message,
    ) -> Result<A, Status> {
        let answer = self.call(&self.method(path), frame(message)).await?;
        A::decode(answer).map_err(|error| Status::internal(error.to_string()))
    }

    /// Opens a call that goes on in both directions.
    ///
    /// # Errors
    /// `Unavailable` when the connection failed.
    pub async fn stream(&self, method: &Method) -> Result<(Outbox, Inflow), Status> {
        let mut send = self.send.clone().ready().await.map_err(lost)?;
        let (answer, body) = send.send_request(self.request(method), false).map_err(lost)?;
        Ok((Outbox(body), Inflow { inbox: Inbox::Asked(answer), partial: BytesMut::new() }))
    }
}

/// What we send on a call that goes on. Dropping it resets the call.
pub struct Outbox(SendStream<Bytes>);

impl Outbox {
    /// Sends one message.
    ///
    /// # Errors
    /// `Unavailable` when the call has ended.
    pub fn send(&mut self, framed: Bytes) -> Result<(), Status> {
        self.0.send_data(framed, false).map_err(lost)
    }
}

/// What a call that goes on answers.
pub struct Inflow {
    inbox: Inbox,
    partial: BytesMut,
}

impl Inflow {
    /// The next message, encoded; `None` after the last one.
    ///
    /// # Errors
    /// What etcd ended the call with.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        self.inbox.next(&mut self.partial).await
    }
}

enum Inbox {
    Asked(ResponseFuture),
    Open(RecvStream),
    Over,
}

impl Inbox {
    /// `partial` holds what has come of messages that were not asked for yet.
    async fn next(&mut self, partial: &mut BytesMut) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = complete(partial)? {
                return Ok(Some(message));
            }
            match self {
                Self::Over => return Ok(None),
                Self::Asked(answer) => {
                    let (head, body) = answer.await.map_err(lost)?.into_parts();
                    if head.status != StatusCode::OK {
                        return Err(Status::unavailable(format!("HTTP {}", head.status)));
                    }
                    if body.is_end_stream() {
                        *self = Self::Over;
                        status(&head.headers)?;
                        continue;
                    }
                    *self = Self::Open(body);
                }
                Self::Open(body) => match body.data().await {
                    Some(data) => {
                        let data = data.map_err(lost)?;
                        body.flow_control().release_capacity(data.len()).map_err(lost)?;
                        // Nearly always the one message is the one piece.
                        if partial.is_empty()
                            && let Some(message) = whole(&data)?
                        {
                            return Ok(Some(message));
                        }
                        partial.extend_from_slice(&data);
                    }
                    None => {
                        let trailers = body.trailers().await.map_err(lost)?;
                        *self = Self::Over;
                        match trailers {
                            Some(trailers) => status(&trailers)?,
                            None => return Err(Status::unavailable("the answer ended without a status")),
                        }
                    }
                },
            }
        }
    }
}

/// The length of the message that begins here, where so much is there.
fn length(data: &[u8]) -> Result<Option<usize>, Status> {
    match data {
        [0, a, b, c, d, ..] => Ok(Some(u32::from_be_bytes([*a, *b, *c, *d]) as usize)),
        [flag, ..] if *flag != 0 => Err(Status::internal("the answer is compressed, which nobody asked for")),
        _ => Ok(None),
    }
}

/// `data` is exactly one message.
fn whole(data: &Bytes) -> Result<Option<Bytes>, Status> {
    let is_whole = length(data)?.is_some_and(|length| FRAME_HEADER + length == data.len());
    Ok(is_whole.then(|| data.slice(FRAME_HEADER..)))
}

/// The first message of `partial`, taken off it, if all of it is there.
fn complete(partial: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    match length(partial)? {
        Some(length) if partial.len() >= FRAME_HEADER + length => {
            let mut message = partial.split_to(FRAME_HEADER + length).freeze();
            Ok(Some(message.split_off(FRAME_HEADER)))
        }
        _ => Ok(None),
    }
}

fn status(trailers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(trailers) {
        Some(status) if status.code() == Code::Ok => Ok(()),
        Some(status) => Err(status),
        None => Err(Status::internal("the answer has no status")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err takes it")]
fn lost(error: h2::Error) -> Status {
    Status::unavailable(format!("connection: {}", chain(&error)))
}
