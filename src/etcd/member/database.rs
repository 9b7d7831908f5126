//! The copy of a member's database, as it streams it.

use std::time::Duration;

use bytes::Bytes;
use tonic::codegen::http::uri::PathAndQuery;

use super::{Call, Member, rejects_token};
use crate::etcd::login::Token;
use crate::etcd::wire::{SnapshotRequest, SnapshotResponse};
use crate::etcd::{EtcdError, Login};
use crate::model::ErrorKind;

const SNAPSHOT: Call =
    Call { name: "snapshot", path: "/etcdserverpb.Maintenance/Snapshot", silence_is_death: false };

/// What `Maintenance.Snapshot` streams: the pages of the database, then 32 bytes of SHA-256 over them. While it is open the
/// member keeps the state of its beginning: what is deleted meanwhile is freed later, so the file may grow.
pub struct DatabaseStream {
    endpoint: String,
    messages: tonic::Streaming<SnapshotResponse>,
    /// A message that does not come for so long ends it.
    patience: Duration,
    remaining_bytes: Option<u64>,
}

impl Member {
    /// Asks for a copy of the database. Needs the root role where authentication is on.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn database(&self, patience: Duration) -> Result<DatabaseStream, EtcdError> {
        self.pace(SNAPSHOT.name).await?;
        for last in [false, true] {
            let token = match &self.inner.session {
                None => None,
                Some(session) => match session.token(async |login: &Login| self.login(login).await).await {
                    Token::Send(token) => Some(token),
                    Token::Without(Some((kind, message))) => {
                        return Err(self.failure(&SNAPSHOT, kind, message));
                    }
                    Token::Without(None) => None,
                },
            };
            let had_token = token.is_some();
            match tokio::time::timeout(patience, self.begin(token, patience)).await {
                Err(_) => return Err(EtcdError::timeout(&self.inner.url, SNAPSHOT.name, patience)),
                Ok(Err(error)) if had_token && !last && rejects_token(&error) => {
                    if let Some(session) = &self.inner.session {
                        session.forget().await;
                    }
                }
                Ok(begun) => return begun,
            }
        }
        Err(self.failure(&SNAPSHOT, ErrorKind::Auth, "every new login token is rejected".to_owned()))
    }

    async fn begin(
        &self,
        token: Option<tonic::metadata::AsciiMetadataValue>,
        patience: Duration,
    ) -> Result<DatabaseStream, EtcdError> {
        let endpoint = self.inner.url.clone();
        let mut grpc = self.ready(&SNAPSHOT).await?;
        // No deadline for the whole: how long it takes depends on its size.
        let mut request = tonic::Request::new(SnapshotRequest {});
        if let Some(token) = token {
            request.metadata_mut().insert("token", token);
        }
        let codec = tonic_prost::ProstCodec::<SnapshotRequest, SnapshotResponse>::default();
        let path = PathAndQuery::from_static(SNAPSHOT.path);
        let answer = grpc.server_streaming(request, path, codec).await;
        let messages = answer.map_err(|status| EtcdError::of_status(&endpoint, SNAPSHOT.name, status))?;
        Ok(DatabaseStream { endpoint, messages: messages.into_inner(), patience, remaining_bytes: None })
    }
}

impl DatabaseStream {
    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// [`EtcdError`], also when the member ends the stream before it said that nothing remains.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EtcdError> {
        let Ok(message) = tokio::time::timeout(self.patience, self.messages.message()).await else {
            return Err(EtcdError::timeout(&self.endpoint, SNAPSHOT.name, self.patience));
        };
        match message.map_err(|status| EtcdError::of_status(&self.endpoint, SNAPSHOT.name, status))? {
            Some(piece) => {
                self.remaining_bytes = Some(piece.remaining_bytes);
                Ok(Some(piece.blob))
            }
            None if self.remaining_bytes == Some(0) => Ok(None),
            None => Err(EtcdError::Call {
                endpoint: self.endpoint.clone(),
                call: SNAPSHOT.name,
                kind: ErrorKind::Malformed,
                message: "the stream ended before the database did".to_owned(),
                source: None,
            }),
        }
    }

    /// How much comes yet, bytes, without the checksum; `None` before the first piece.
    pub fn remaining_bytes(&self) -> Option<u64> {
        self.remaining_bytes
    }
}
