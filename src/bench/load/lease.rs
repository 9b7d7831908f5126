//! lease-keepalive: each request opens a stream, keeps the client's lease alive once, and closes it, as the official
//! tool's client does.

use std::rc::Rc;
use std::time::Instant;

use prost::Message;
use tonic::Status;

use super::path;
use crate::bench::engine::{Client, Load, Seat};
use crate::etcd::wire::kv::{HeaderOnly, LeaseGrantRequest, LeaseId, LeaseResponse};
use crate::etcd::{Method, Pipe, frame};

/// Seconds; what a run that is killed leaves is gone after this.
const TTL: i64 = 100;

#[derive(Debug, Clone)]
pub(in crate::bench) struct KeepAlive;

impl Load for KeepAlive {
    type Client = Keeper;
    const PARTS: &'static [&'static str] = &["requests"];

    async fn client(&self, seat: Seat) -> Result<Keeper, Status> {
        let pipe = seat.pipe;
        let granted: LeaseResponse = pipe.ask(path::GRANT, &LeaseGrantRequest { ttl: TTL }).await?;
        Ok(Keeper { method: pipe.method(path::KEEP_ALIVE), lease: granted.id, pipe })
    }
}

pub(in crate::bench) struct Keeper {
    pipe: Rc<Pipe>,
    method: Method,
    lease: i64,
}

impl Keeper {
    async fn keep(&self) -> Result<(), Status> {
        let (mut outbox, mut inflow) = self.pipe.stream(&self.method).await?;
        outbox.send(frame(&LeaseId { id: self.lease }))?;
        let answer = inflow.next().await?.ok_or_else(|| Status::internal("no answer"))?;
        let answer = LeaseResponse::decode(answer).map_err(|error| Status::internal(error.to_string()))?;
        if answer.ttl > 0 { Ok(()) } else { Err(Status::not_found("the lease is gone")) }
    }
}

impl Client for Keeper {
    async fn act(&mut self, _: u64, _: Instant) -> Result<usize, (usize, Status)> {
        self.keep().await.map(|()| 0).map_err(|status| (0, status))
    }

    async fn leave(&mut self) {
        // Who cannot be told forgets it by itself, later.
        let _: Result<HeaderOnly, Status> = self.pipe.ask(path::REVOKE, &LeaseId { id: self.lease }).await;
    }
}
