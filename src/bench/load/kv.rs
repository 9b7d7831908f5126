//! Loads of single requests and transactions: put, get, range, delete, mixed, txn-put, txn-mixed.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use tonic::Status;

use super::path;
use crate::bench::engine::{Client, Load, Seat};
use crate::bench::keys::{Keys, scatter};
use crate::etcd::wire::kv::{DeleteRequest, Op, PutRequest, RequestOp, StoredKeys, TxnRequest};
use crate::etcd::wire::{RangeRequest, RangeResponse};
use crate::etcd::{Method, Pipe, frame};

/// In which order keys are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Choice {
    Sequential,
    Random { seed: u64 },
}

impl Choice {
    fn of(self, n: u64) -> u64 {
        match self {
            Self::Sequential => n,
            Self::Random { seed } => scatter(seed, n),
        }
    }
}

/// One request after the other, each of one call, made from its number.
#[derive(Debug, Clone)]
pub(in crate::bench) enum Single {
    Put { keys: Keys, value: Bytes, choice: Choice },
    Get { keys: Keys, choice: Choice, serializable: bool },
    Range(RangeRequest),
    Delete { keys: Keys },
    TxnPut { keys: Keys, value: Bytes, ops: u64 },
}

impl Single {
    fn path(&self) -> &'static str {
        match self {
            Self::Put { .. } => path::PUT,
            Self::Get { .. } | Self::Range(_) => path::RANGE,
            Self::Delete { .. } => path::DELETE,
            Self::TxnPut { .. } => path::TXN,
        }
    }

    fn request(&self, n: u64) -> Bytes {
        match self {
            Self::Put { keys, value, choice } => frame(&put(keys.key(choice.of(n)), value.clone())),
            Self::Get { keys, choice, serializable } => frame(&read(&keys.key(choice.of(n)), *serializable)),
            Self::Range(range) => frame(range),
            Self::Delete { keys } => frame(&DeleteRequest { key: keys.key(n), range_end: Bytes::new() }),
            Self::TxnPut { keys, value, ops } => {
                let first = n * ops;
                let put = |i| RequestOp::from(Op::Put(put(keys.key(first + i), value.clone())));
                frame(&TxnRequest { success: (0..*ops).map(put).collect(), ..TxnRequest::default() })
            }
        }
    }

    /// A read of a key that was put must find it: an empty answer is no proof of speed.
    fn judge(&self, answer: Bytes) -> Result<(), Status> {
        let Self::Get { .. } = self else { return Ok(()) };
        let answer = RangeResponse::decode(answer).map_err(|error| Status::internal(error.to_string()))?;
        if answer.count == 1 { Ok(()) } else { Err(Status::not_found("a key that was put is not there")) }
    }
}

fn put(key: Bytes, value: Bytes) -> PutRequest {
    PutRequest { key, value, lease: 0 }
}

fn read(key: &Bytes, serializable: bool) -> RangeRequest {
    RangeRequest { key: key.to_vec(), serializable, ..RangeRequest::default() }
}

impl Load for Single {
    type Client = SingleClient;
    const PARTS: &'static [&'static str] = &["requests"];

    async fn client(&self, seat: Seat) -> Result<SingleClient, Status> {
        Ok(SingleClient { method: seat.pipe.method(self.path()), load: self.clone(), pipe: seat.pipe })
    }
}

pub(in crate::bench) struct SingleClient {
    load: Single,
    pipe: Rc<Pipe>,
    method: Method,
}

impl Client for SingleClient {
    async fn act(&mut self, n: u64, _: Instant) -> Result<usize, (usize, Status)> {
        let answer = self.pipe.call(&self.method, self.load.request(n)).await;
        answer.and_then(|answer| self.load.judge(answer)).map(|()| 0).map_err(|status| (0, status))
    }
}

/// Reads and writes in a ratio; which a request is, its number and the seed decide.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Mix {
    pub(in crate::bench) keys: Keys,
    pub(in crate::bench) value: Bytes,
    pub(in crate::bench) seed: u64,
    /// Of all requests, 0 to 1.
    pub(in crate::bench) reads: f64,
    pub(in crate::bench) read: Reading,
    /// Each in a transaction of its own.
    pub(in crate::bench) is_txn: bool,
}

/// What the reads of a mix read.
#[derive(Debug, Clone)]
pub(in crate::bench) enum Reading {
    /// One of the keys that are put.
    Own {
        serializable: bool,
        limit: i64,
    },
    Literal(RangeRequest),
}

impl Mix {
    /// Whether request `n` reads, and what it sends.
    fn request(&self, n: u64) -> (bool, Bytes) {
        // 53 bits are what a float holds.
        let dice = (scatter(!self.seed, n) >> 11) as f64 / (1_u64 << 53) as f64;
        let key = self.keys.key(scatter(self.seed, n));
        let is_read = dice < self.reads;
        let op = if is_read {
            Op::Range(match &self.read {
                Reading::Own { serializable, limit } => {
                    RangeRequest { limit: *limit, ..read(&key, *serializable) }
                }
                Reading::Literal(range) => range.clone(),
            })
        } else {
            Op::Put(put(key, self.value.clone()))
        };
        let framed = match (self.is_txn, &op) {
            (true, _) => frame(&TxnRequest { success: vec![op.into()], ..TxnRequest::default() }),
            (false, Op::Range(range)) => frame(range),
            (false, Op::Put(put)) => frame(put),
            (false, Op::Delete(delete)) => frame(delete),
        };
        (is_read, framed)
    }
}

/// Places in [`Mix::PARTS`].
const READS: usize = 0;
const WRITES: usize = 1;

impl Load for Mix {
    type Client = MixClient;
    const PARTS: &'static [&'static str] = &["reads", "writes"];

    async fn client(&self, seat: Seat) -> Result<MixClient, Status> {
        let pipe = seat.pipe;
        let (reads, writes) = if self.is_txn { (path::TXN, path::TXN) } else { (path::RANGE, path::PUT) };
        Ok(MixClient { load: self.clone(), reads: pipe.method(reads), writes: pipe.method(writes), pipe })
    }
}

pub(in crate::bench) struct MixClient {
    load: Mix,
    pipe: Rc<Pipe>,
    reads: Method,
    writes: Method,
}

impl Client for MixClient {
    async fn act(&mut self, n: u64, _: Instant) -> Result<usize, (usize, Status)> {
        let (is_read, framed) = self.load.request(n);
        let (part, method) = if is_read { (READS, &self.reads) } else { (WRITES, &self.writes) };
        let answer = self.pipe.call(method, framed).await;
        let is_own = is_read && !self.load.is_txn && matches!(self.load.read, Reading::Own { .. });
        match answer {
            Err(status) => Err((part, status)),
            Ok(answer) if is_own => match StoredKeys::decode(answer) {
                Ok(found) if found.count == 1 => Ok(part),
                Ok(_) => Err((part, Status::not_found("a key that was put is not there"))),
                Err(error) => Err((part, Status::internal(error.to_string()))),
            },
            Ok(_) => Ok(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::keys::value;

    #[test]
    fn a_mix_is_in_its_ratio_whoever_sends_it() {
        let mix = Mix {
            keys: Keys::new("/p/", 8, 100).expect("they fit"),
            value: value(1, 16),
            seed: 42,
            reads: 0.75,
            read: Reading::Own { serializable: false, limit: 0 },
            is_txn: false,
        };
        let requests: Vec<_> = (0..10_000).map(|n| mix.request(n)).collect();
        let reads = requests.iter().filter(|(is_read, _)| *is_read).count();
        assert!((7_300..7_700).contains(&reads), "{reads}");
        assert_eq!(requests, (0..10_000).map(|n| mix.request(n)).collect::<Vec<_>>());
    }

    #[test]
    fn the_puts_of_a_transaction_are_to_different_keys() {
        let keys = Keys::new("/p/", 8, 10).expect("they fit");
        let load = Single::TxnPut { keys, value: Bytes::new(), ops: 4 };
        let request = TxnRequest::decode(load.request(3).slice(5..)).expect("a transaction");
        let keys: Vec<Bytes> = request
            .success
            .into_iter()
            .filter_map(|op| match op.op {
                Some(Op::Put(put)) => Some(put.key),
                _ => None,
            })
            .collect();
        assert_eq!(keys, ["/p/00000002", "/p/00000003", "/p/00000004", "/p/00000005"]);
    }
}
