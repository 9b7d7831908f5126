//! From an order to a load, and from what the load recorded to its parts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::bench::BenchError;
use crate::bench::engine::{Dial, Driven, Load, Plan, drive};
use crate::bench::ground::Ground;
use crate::bench::keys::{Keys, value};
use crate::bench::load::kv::{Choice, Mix, Reading, Single};
use crate::bench::load::lease::KeepAlive;
use crate::bench::load::stm::Stm;
use crate::bench::load::watch::{GetWhileWatching, Shared, WatchedPuts, watched};
use crate::bench::options::{self, Operation, Order};
use crate::etcd::wire::RangeRequest;
use crate::etcd::{Member, range_end};
use crate::model::{BenchKeys, BenchPart};

/// One load to be measured.
pub(super) struct Task<'a> {
    pub(super) order: &'a Order,
    /// Absent where nothing is written.
    pub(super) ground: Option<&'a Ground>,
    pub(super) targets: &'a [Member],
    pub(super) seed: u64,
    pub(super) dial: &'a Arc<Dial>,
}

/// What the load recorded.
pub(super) struct Measured {
    pub(super) parts: Vec<BenchPart>,
    pub(super) keys: Option<BenchKeys>,
    pub(super) start: Instant,
    pub(super) cpu: Option<Duration>,
    pub(super) revisions: (Option<i64>, Option<i64>),
    /// Of watch-get: whether everybody had everything.
    pub(super) caught_up: bool,
}

/// What is to be sent, with its keys there.
pub(super) struct Prepared {
    load: Shape,
    keys: Option<BenchKeys>,
}

enum Shape {
    Single(Single, &'static str),
    Mix(Mix),
    Stm(Stm),
    KeepAlive,
    Watched(WatchedPuts, [&'static str; 3]),
    WatchGet(GetWhileWatching),
}

impl Operation {
    /// Whether it puts keys of its own. What does not asks etcd for nothing but an answer.
    pub(super) fn writes(&self) -> bool {
        match self {
            Self::Range(range) => range.key.is_none(),
            Self::LeaseKeepalive(_) => false,
            _ => true,
        }
    }
}

impl Task<'_> {
    /// Puts what is to be read or deleted.
    pub(super) async fn prepare(&self) -> Result<Prepared, BenchError> {
        let random = Choice::Random { seed: self.seed };
        let choice = |is_sequential: bool| if is_sequential { Choice::Sequential } else { random };
        let value = |size: usize| value(self.seed, size);
        let (load, keys) = match &self.order.operation {
            Operation::Put(o) => {
                let keys = self.keys(o.key_size, o.key_space_size)?;
                let choice = choice(o.sequential_keys);
                (
                    Shape::Single(
                        Single::Put { keys: keys.clone(), value: value(o.val_size), choice },
                        "put",
                    ),
                    keys,
                )
            }
            Operation::Get(o) => {
                let keys = self.filled(o.key_size, o.key_space_size, &value(o.val_size)).await?;
                let (choice, serializable) = (choice(o.sequential_keys), o.consistency.is_serializable());
                (Shape::Single(Single::Get { keys: keys.clone(), choice, serializable }, "get"), keys)
            }
            Operation::Range(o) => match &o.key {
                Some(key) => {
                    let load = Shape::Single(Single::Range(literal(key, o)), "range");
                    return Ok(Prepared { load, keys: None });
                }
                None => {
                    let keys = self.filled(o.key_size, o.key_space_size, &value(o.val_size)).await?;
                    let serializable = o.consistency.is_serializable();
                    let load = Single::Get { keys: keys.clone(), choice: random, serializable };
                    (Shape::Single(load, "range"), keys)
                }
            },
            Operation::Delete(o) => {
                let keys = self.filled(o.key_size, o.total.max(1), &value(o.val_size)).await?;
                (Shape::Single(Single::Delete { keys: keys.clone() }, "delete"), keys)
            }
            Operation::TxnPut(o) => {
                let keys = self.keys(o.key_size, o.key_space_size.unwrap_or(o.txn_ops))?;
                let load = Single::TxnPut { keys: keys.clone(), value: value(o.val_size), ops: o.txn_ops };
                (Shape::Single(load, "txn-put"), keys)
            }
            Operation::Mixed(o) => {
                let keys = self.filled(o.key_size, o.key_space_size, &value(o.val_size)).await?;
                let read = Reading::Own { serializable: o.consistency.is_serializable(), limit: 0 };
                (Shape::Mix(self.mix(&keys, value(o.val_size), o.rw_ratio, read, false)), keys)
            }
            Operation::TxnMixed(o) => {
                let keys = self.keys(o.key_size, o.key_space_size)?;
                let read = reading(o);
                (Shape::Mix(self.mix(&keys, value(o.val_size), o.rw_ratio, read, true)), keys)
            }
            Operation::Stm(o) => {
                let keys = self.keys(16, o.keys)?;
                (Shape::Stm(self.stm(&keys, o)), keys)
            }
            Operation::LeaseKeepalive(_) => return Ok(Prepared { load: Shape::KeepAlive, keys: None }),
            Operation::Watch(_) | Operation::WatchGet(_) | Operation::WatchLatency(_) => {
                return self.prepare_watch().await;
            }
        };
        Ok(Prepared { load, keys: Some(self.told(&keys)) })
    }

    async fn prepare_watch(&self) -> Result<Prepared, BenchError> {
        let clients = self.order.driving.clients as u64;
        let shared = Shared::new()?;
        let puts = |keys: &Keys, watched: Vec<u64>| WatchedPuts {
            keys: keys.clone(),
            watched: Arc::new(watched),
            streams: 1,
            watches_per_stream: 1,
            prev_kv: false,
            val_size: 8,
            seed: self.seed,
            clients,
            shared: Arc::clone(&shared),
        };
        let (load, keys) = match &self.order.operation {
            Operation::Watch(o) => {
                let keys = self.keys(o.key_size, o.key_space_size)?;
                let numbers = watched(o.watched_key_total, o.key_space_size, o.sequential_keys, self.seed);
                let (streams, watches_per_stream) = (o.streams, o.watch_per_stream);
                let load = WatchedPuts { streams, watches_per_stream, ..puts(&keys, numbers) };
                (Shape::Watched(load, ["creation", "puts", "events"]), keys)
            }
            Operation::WatchLatency(o) => {
                let keys = self.keys(o.key_size, 1)?;
                let load = WatchedPuts {
                    streams: o.streams,
                    watches_per_stream: o.watchers_per_stream,
                    prev_kv: o.prevkv,
                    val_size: o.val_size,
                    ..puts(&keys, vec![0])
                };
                (Shape::Watched(load, ["creation", "puts", "events"]), keys)
            }
            Operation::WatchGet(o) => {
                let keys = self.keys(8, 2)?;
                let ground = self.ground.ok_or(BenchError::Bug("no ground for watched keys"))?;
                let mut revision = 0;
                for n in 0..o.events {
                    let at = ground.put(keys.key(0), Bytes::from(n.to_string())).await?;
                    revision = if n == 0 { at } else { revision };
                }
                let load = GetWhileWatching {
                    members: self.targets.to_vec(),
                    conns: self.order.driving.conns,
                    watchers: o.watchers,
                    streams: o.streams,
                    events: o.events,
                    key: keys.key(0),
                    revision,
                    other: keys.key(1),
                    caught_up: CancellationToken::new(),
                };
                (Shape::WatchGet(load), keys)
            }
            _ => return Err(BenchError::Bug("it does not watch")),
        };
        Ok(Prepared { load, keys: Some(self.told(&keys)) })
    }

    fn mix(&self, keys: &Keys, value: Bytes, rw_ratio: f64, read: Reading, is_txn: bool) -> Mix {
        let reads = rw_ratio / (rw_ratio + 1.0);
        Mix { keys: keys.clone(), value, seed: self.seed, reads, read, is_txn }
    }

    fn stm(&self, keys: &Keys, o: &options::Stm) -> Stm {
        Stm {
            keys: keys.clone(),
            keys_per_txn: o.keys_per_txn,
            writes: o.keys_per_txn * o.txn_wr_percent / 100,
            val_size: o.val_size,
            isolation: o.isolation,
            locker: o.stm_locker,
            lock: Bytes::from(format!("{}lock", self.prefix())),
            seed: self.seed,
        }
    }

    fn prefix(&self) -> &str {
        self.ground.map_or("", Ground::prefix)
    }

    /// Keys of this run: a folder in its folder, apart from its mark and its lock.
    fn keys(&self, size: usize, space: u64) -> Result<Keys, BenchError> {
        Keys::new(&format!("{}k/", self.prefix()), size, space)
    }

    /// As [`Self::keys`], each with a value.
    async fn filled(&self, size: usize, space: u64, value: &Bytes) -> Result<Keys, BenchError> {
        let keys = self.keys(size, space)?;
        let ground = self.ground.ok_or(BenchError::Bug("no ground for keys"))?;
        self.dial.filling(space);
        ground.fill(&keys, value, |far| self.dial.filled(far), &self.dial.stop).await?;
        Ok(keys)
    }

    fn told(&self, keys: &Keys) -> BenchKeys {
        let prefix = format!("{}k/", self.prefix());
        let total = keys.total_size() as u64;
        BenchKeys {
            key_size: total - prefix.len() as u64,
            prefix,
            total_key_size: total,
            space: keys.space(),
        }
    }

    fn plan(&self) -> Plan {
        let driving = &self.order.driving;
        let (rate, total) = self.order.operation.amount();
        // The other half is for an etcd on the same machine, and for the system.
        let half = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() / 2);
        Plan {
            conns: driving.conns.min(driving.clients),
            clients: driving.clients,
            threads: driving.threads.unwrap_or(half.max(1)),
            rate,
            total: driving.duration.is_none().then_some(total),
            duration: driving.duration.map_or(driving.max_time.0, |d| d.0.min(driving.max_time.0)),
            warm_up: driving.warm_up.0,
            request_timeout: driving.request_timeout.0,
        }
    }

    /// Sends it.
    pub(super) async fn measure(&self, prepared: Prepared) -> Result<Measured, BenchError> {
        let Prepared { load, keys } = prepared;
        let before = self.revision().await;
        let plan = self.plan();
        self.dial.sending(plan.total, plan.duration);
        let stop = CancellationToken::new();
        let compacting = self.compact_again_and_again(&stop);
        let measuring = async {
            let measured = self.shape(load, plan).await;
            stop.cancel();
            measured
        };
        let (measured, ()) = tokio::join!(measuring, compacting);
        let mut measured = measured?;
        measured.keys = keys;
        measured.revisions = (before, self.revision().await);
        Ok(measured)
    }

    async fn revision(&self) -> Option<i64> {
        self.ground?.revision().await.ok()
    }

    async fn shape(&self, load: Shape, plan: Plan) -> Result<Measured, BenchError> {
        match load {
            Shape::Single(load, name) => self.plain(load, &plan, &[name]).await,
            Shape::Mix(load) => self.plain(load, &plan, Mix::PARTS).await,
            Shape::Stm(load) => self.plain(load, &plan, &["stm"]).await,
            Shape::KeepAlive => self.plain(KeepAlive, &plan, &["lease-keepalive"]).await,
            Shape::Watched(load, [creation, puts, events]) => {
                // Who is done first must not close streams that others' events are on.
                let plan = Plan { threads: 1, warm_up: Duration::ZERO, ..plan };
                let shared = Arc::clone(&load.shared);
                let mut measured = self.plain(load, &plan, &[puts]).await?;
                let mut beside = shared.take()?.finish(&[creation, events])?.into_iter();
                measured.parts.splice(0..0, beside.next());
                measured.parts.extend(beside);
                Ok(measured)
            }
            Shape::WatchGet(load) => {
                let plan =
                    Plan { conns: 1, clients: 1, threads: 1, total: None, warm_up: Duration::ZERO, ..plan };
                let caught_up = load.caught_up.clone();
                let measured = self.plain(load, &plan, &["gets"]).await?;
                Ok(Measured { caught_up: caught_up.is_cancelled(), ..measured })
            }
        }
    }

    async fn plain<L: Load>(&self, load: L, plan: &Plan, names: &[&str]) -> Result<Measured, BenchError> {
        let Driven { recorder, start, cpu } = drive(load, self.targets, plan, self.dial).await?;
        let parts = recorder.finish(names)?;
        Ok(Measured { parts, keys: None, start, cpu, revisions: (None, None), caught_up: true })
    }

    /// As `put --compact-interval` asks.
    async fn compact_again_and_again(&self, stop: &CancellationToken) {
        let (Operation::Put(put), Some(ground)) = (&self.order.operation, self.ground) else { return };
        if put.compact_interval.0.is_zero() {
            return;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(put.compact_interval.0) => {}
            }
            let Ok(revision) = ground.revision().await else { continue };
            let revision = revision - put.compact_index_delta;
            if revision > 0 {
                // One that somebody else has compacted already is no loss.
                let _ = ground.compact(revision).await;
            }
        }
    }
}

fn literal(key: &str, o: &options::Range) -> RangeRequest {
    let range_end = match &o.end {
        Some(end) => end.clone().into_bytes(),
        None if o.prefix => range_end(key.as_bytes()),
        None => Vec::new(),
    };
    RangeRequest {
        key: key.as_bytes().to_vec(),
        range_end,
        limit: o.limit,
        serializable: o.consistency.is_serializable(),
        count_only: o.count_only,
        keys_only: o.keys_only,
        ..RangeRequest::default()
    }
}

fn reading(o: &options::TxnMixed) -> Reading {
    let (serializable, limit) = (o.consistency.is_serializable(), o.limit);
    match &o.key {
        None => Reading::Own { serializable, limit },
        Some(key) => Reading::Literal(RangeRequest {
            key: key.clone().into_bytes(),
            range_end: o.end.as_ref().or(o.end_key.as_ref()).cloned().unwrap_or_default().into_bytes(),
            limit,
            serializable,
            ..RangeRequest::default()
        }),
    }
}
