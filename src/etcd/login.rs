//! The login token of one member's connection: fetched once, renewed when etcd rejects it.
//!
//! A login is a raft proposal and costs the member a bcrypt hash, so failures are remembered for a while.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{EtcdError, Login};
use crate::model::ErrorKind;

/// How long a wrong password or a disabled auth is believed.
const REMEMBER: Duration = Duration::from_secs(30);
/// How long a failure to reach a quorum is believed.
const REMEMBER_OUTAGE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Session {
    pub(super) login: Login,
    state: Mutex<Option<(Instant, State)>>,
}

#[derive(Debug, Clone)]
enum State {
    Token(tonic::metadata::AsciiMetadataValue),
    /// The cluster has auth switched off.
    NotNeeded,
    Failed(ErrorKind, String),
}

/// What to send with a call.
pub(super) enum Token {
    Send(tonic::metadata::AsciiMetadataValue),
    /// Go without: not needed, or not to be had now (the failure says why).
    Without(Option<(ErrorKind, String)>),
}

impl Session {
    pub(super) fn new(login: Login) -> Self {
        Self { login, state: Mutex::new(None) }
    }

    /// The token, by `authenticate` where there is none yet.
    pub(super) async fn token<F>(&self, authenticate: F) -> Token
    where
        F: AsyncFnOnce(&Login) -> Result<String, EtcdError>,
    {
        let mut state = self.state.lock().await;
        let keep = |entry: &(Instant, State)| match &entry.1 {
            State::Token(_) => true,
            State::Failed(ErrorKind::Timeout | ErrorKind::Unreachable, _) => {
                entry.0.elapsed() < REMEMBER_OUTAGE
            }
            State::NotNeeded | State::Failed(..) => entry.0.elapsed() < REMEMBER,
        };
        let current = match state.as_ref().filter(|entry| keep(entry)) {
            Some((_, current)) => current.clone(),
            None => {
                let fresh = match authenticate(&self.login).await {
                    Ok(token) => match token.parse() {
                        Ok(token) => State::Token(token),
                        Err(_) => {
                            State::Failed(ErrorKind::Malformed, "the token is not printable".to_owned())
                        }
                    },
                    Err(e) if e.to_string().contains("authentication is not enabled") => State::NotNeeded,
                    Err(e) => State::Failed(e.kind(), e.to_string()),
                };
                *state = Some((Instant::now(), fresh.clone()));
                fresh
            }
        };
        match current {
            State::Token(token) => Token::Send(token),
            State::NotNeeded => Token::Without(None),
            State::Failed(kind, message) => Token::Without(Some((kind, message))),
        }
    }

    /// Forgets the token after etcd rejected it.
    pub(super) async fn forget(&self) {
        *self.state.lock().await = None;
    }
}
