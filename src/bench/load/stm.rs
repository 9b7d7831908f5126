//! stm: transactions in memory over several keys, retried when others were there first; or under a lock.
//!
//! The four levels are those of etcd's client: what a commit compares is what tells them apart
//! (<https://pkg.go.dev/go.etcd.io/etcd/client/v3/concurrency>).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use tonic::Status;

use super::path;
use crate::bench::engine::{Client, Load, Seat};
use crate::bench::keys::{Keys, scatter, value};
use crate::bench::options::{Isolation, Locker};
use crate::etcd::wire::RangeRequest;
use crate::etcd::wire::kv::{
    Compare, DeleteRequest, DeleteResponse, HeaderOnly, LeaseGrantRequest, LeaseId, LeaseResponse,
    LockRequest, LockResponse, Op, PutRequest, RequestOp, StoredKey, StoredKeys, TxnRequest, TxnResponse,
    UnlockRequest, WatchCreate, WatchRequest, WatchResponse,
};
use crate::etcd::{Method, Pipe, frame};

/// Seconds that a lock's lease lives: longer than a run may take.
const TTL: i64 = 600;

#[derive(Debug, Clone)]
pub(in crate::bench) struct Stm {
    pub(in crate::bench) keys: Keys,
    pub(in crate::bench) keys_per_txn: u64,
    /// Of the keys of one transaction so many are put.
    pub(in crate::bench) writes: u64,
    pub(in crate::bench) val_size: usize,
    pub(in crate::bench) isolation: Isolation,
    pub(in crate::bench) locker: Locker,
    /// What the lock is called; below our prefix.
    pub(in crate::bench) lock: Bytes,
    pub(in crate::bench) seed: u64,
}

impl Load for Stm {
    type Client = Actor;
    const PARTS: &'static [&'static str] = &["transactions"];

    async fn client(&self, seat: Seat) -> Result<Actor, Status> {
        let pipe = seat.pipe;
        let lease = match self.locker {
            Locker::Stm => 0,
            Locker::LockClient | Locker::LockRpc => {
                let granted: LeaseResponse = pipe.ask(path::GRANT, &LeaseGrantRequest { ttl: TTL }).await?;
                granted.id
            }
        };
        let (range, txn) = (pipe.method(path::RANGE), pipe.method(path::TXN));
        Ok(Actor { load: self.clone(), pipe, range, txn, lease })
    }
}

pub(in crate::bench) struct Actor {
    load: Stm,
    pipe: Rc<Pipe>,
    range: Method,
    txn: Method,
    lease: i64,
}

impl Client for Actor {
    async fn act(&mut self, n: u64, _: Instant) -> Result<usize, (usize, Status)> {
        self.one(n).await.map(|()| 0).map_err(|status| (0, status))
    }

    async fn leave(&mut self) {
        if self.lease != 0 {
            // Who cannot be told forgets it by itself, later.
            let _: Result<HeaderOnly, Status> =
                self.pipe.ask(path::REVOKE, &LeaseId { id: self.lease }).await;
        }
    }
}

/// What a transaction read: the key's last change, 0 where it is not there.
type Reads = BTreeMap<Bytes, i64>;

impl Actor {
    async fn one(&self, n: u64) -> Result<(), Status> {
        let held = self.lock().await?;
        let outcome = self.transact(n).await;
        self.unlock(held).await?;
        outcome
    }

    /// The keys of transaction `n`: different ones.
    fn chosen(&self, n: u64) -> Vec<Bytes> {
        let mut chosen: Vec<Bytes> = Vec::new();
        for attempt in 0.. {
            if chosen.len() as u64 >= self.load.keys_per_txn.min(self.load.keys.space()) {
                break;
            }
            let key = self.load.keys.key(scatter(self.load.seed ^ n.rotate_left(32), attempt));
            if !chosen.contains(&key) {
                chosen.push(key);
            }
        }
        chosen
    }

    async fn transact(&self, n: u64) -> Result<(), Status> {
        let keys = self.chosen(n);
        loop {
            let (reads, revision) = self.read(&keys).await?;
            let writes = keys.iter().zip(0..self.load.writes);
            let puts: Vec<RequestOp> = writes
                .map(|(key, i)| {
                    let value = value(self.load.seed ^ (n * 31 + i), self.load.val_size);
                    Op::Put(PutRequest { key: key.clone(), value, lease: 0 }).into()
                })
                .collect();
            let compare = self.compares(&reads, revision);
            if compare.is_empty() && puts.is_empty() {
                return Ok(());
            }
            let request = TxnRequest { compare, success: puts, failure: Vec::new() };
            let answer = self.pipe.call(&self.txn, frame(&request)).await?;
            let answer = <TxnResponse as prost::Message>::decode(answer);
            if answer.map_err(|error| Status::internal(error.to_string()))?.succeeded {
                return Ok(());
            }
        }
    }

    /// The keys as they are, and the revision of the first answer. From `s` on later reads are of that revision.
    async fn read(&self, keys: &[Bytes]) -> Result<(Reads, i64), Status> {
        let of_one_revision =
            matches!(self.load.isolation, Isolation::Serializable | Isolation::SerializableSnapshot);
        let (mut reads, mut revision) = (Reads::new(), 0);
        for key in keys {
            let request = RangeRequest {
                key: key.to_vec(),
                revision: if of_one_revision { revision } else { 0 },
                serializable: of_one_revision && revision > 0,
                ..RangeRequest::default()
            };
            let answer = self.pipe.call(&self.range, frame(&request)).await?;
            let found = <StoredKeys as prost::Message>::decode(answer);
            let found = found.map_err(|error| Status::internal(error.to_string()))?;
            if revision == 0 {
                revision = found.header.map_or(0, |header| header.revision);
            }
            reads.insert(key.clone(), found.kvs.first().map_or(0, |kv: &StoredKey| kv.mod_revision));
        }
        Ok((reads, revision))
    }

    /// What must still hold when it is committed.
    fn compares(&self, reads: &Reads, revision: i64) -> Vec<Compare> {
        match self.load.isolation {
            Isolation::ReadCommitted => Vec::new(),
            Isolation::RepeatableReads | Isolation::Serializable => {
                reads.iter().map(|(key, at)| Compare::modified_at(key.clone(), *at)).collect()
            }
            // Also what is written must not have been written since; here that is among what was read.
            Isolation::SerializableSnapshot => {
                let unchanged = reads.iter().map(|(key, at)| Compare::modified_at(key.clone(), *at));
                let is_new = reads.iter().filter(|(_, at)| **at == 0 && revision > 0);
                let made = is_new.map(|(key, _)| Compare::created_at(key.clone(), 0));
                unchanged.chain(made).collect()
            }
        }
    }

    async fn lock(&self) -> Result<Option<Bytes>, Status> {
        match self.load.locker {
            Locker::Stm => Ok(None),
            Locker::LockRpc => {
                let request = LockRequest { name: self.load.lock.clone(), lease: self.lease };
                let held: LockResponse = self.pipe.ask(path::LOCK, &request).await?;
                Ok(Some(held.key))
            }
            Locker::LockClient => self.lock_with_keys().await.map(Some),
        }
    }

    async fn unlock(&self, held: Option<Bytes>) -> Result<(), Status> {
        match (self.load.locker, held) {
            (Locker::LockRpc, Some(key)) => {
                let _: HeaderOnly = self.pipe.ask(path::UNLOCK, &UnlockRequest { key }).await?;
            }
            (Locker::LockClient, Some(key)) => {
                let request = DeleteRequest { key, range_end: Bytes::new() };
                let _: DeleteResponse = self.pipe.ask(path::DELETE, &request).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whoever's key was made first has the lock; each of the others waits for the one before it to go.
    async fn lock_with_keys(&self) -> Result<Bytes, Status> {
        let mut name = BytesMut::from(self.load.lock.as_ref());
        name.put_u8(b'/');
        let prefix = name.clone().freeze();
        name.put_slice(format!("{:x}", self.lease).as_bytes());
        let own = name.freeze();
        let request = TxnRequest {
            compare: vec![Compare::created_at(own.clone(), 0)],
            success: vec![
                Op::Put(PutRequest { key: own.clone(), value: Bytes::new(), lease: self.lease }).into(),
            ],
            failure: Vec::new(),
        };
        let _: TxnResponse = self.pipe.ask(path::TXN, &request).await?;
        // '0' comes after '/'.
        let mut end = prefix.to_vec();
        if let Some(last) = end.last_mut() {
            *last = b'0';
        }
        loop {
            let all =
                RangeRequest { key: prefix.to_vec(), range_end: end.clone(), ..RangeRequest::default() };
            let waiting: StoredKeys = self.pipe.ask(path::RANGE, &all).await?;
            let revision = waiting.header.map_or(0, |header| header.revision);
            let mine = waiting.kvs.iter().find(|kv| kv.key == own);
            let mine = mine.ok_or_else(|| Status::aborted("the lock's key is gone"))?.create_revision;
            let earlier = waiting.kvs.iter().filter(|kv| kv.create_revision < mine);
            match earlier.max_by_key(|kv| kv.create_revision) {
                None => return Ok(own),
                Some(before) => self.changed(before.key.clone(), revision + 1).await?,
            }
        }
    }

    /// Waits until something happens to `key`, from `start_revision` on.
    async fn changed(&self, key: Bytes, start_revision: i64) -> Result<(), Status> {
        let (mut outbox, mut inflow) = self.pipe.stream(&self.pipe.method(path::WATCH)).await?;
        let create = WatchCreate { key, start_revision, prev_kv: false };
        outbox.send(frame(&WatchRequest { create: Some(create) }))?;
        while let Some(answer) = inflow.next().await? {
            let answer = <WatchResponse as prost::Message>::decode(answer);
            let answer = answer.map_err(|error| Status::internal(error.to_string()))?;
            if answer.canceled {
                return Err(Status::aborted(answer.cancel_reason));
            }
            if !answer.events.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
