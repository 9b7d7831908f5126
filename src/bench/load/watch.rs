//! watch, watch-latency, watch-get: events on their way to those who wait for them.
//!
//! A put's value begins with its number, so that an event tells which put it is of: its latency is from when that put was
//! due until the event was here. (The official tool's `watch` measures how fast it empties its own channel, etcd#22225;
//! its `watch-latency` begins at the put's answer and counts what came before as nothing.)

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::path;
use crate::bench::BenchError;
use crate::bench::engine::{Client, Load, Seat};
use crate::bench::keys::{Keys, scatter, value};
use crate::bench::recorder::{Recorder, Times};
use crate::etcd::wire::RangeRequest;
use crate::etcd::wire::kv::{PutRequest, WatchCreate, WatchRequest, WatchResponse};
use crate::etcd::{Inflow, Member, Method, Outbox, Pipe, frame};

/// Events that are not here so long after the last put are lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a put's number at the start of its value.
const NUMBER: usize = 8;

/// Puts, and watchers of what is put.
#[derive(Clone)]
pub(in crate::bench) struct WatchedPuts {
    pub(in crate::bench) keys: Keys,
    /// Numbers of the keys that are watched and put, in turn.
    pub(in crate::bench) watched: Arc<Vec<u64>>,
    pub(in crate::bench) streams: u64,
    pub(in crate::bench) watches_per_stream: u64,
    pub(in crate::bench) prev_kv: bool,
    pub(in crate::bench) val_size: usize,
    pub(in crate::bench) seed: u64,
    pub(in crate::bench) clients: u64,
    pub(in crate::bench) shared: Arc<Shared>,
}

/// Where [`Shared::recorder`] keeps what: places of its parts.
const CREATION: usize = 0;
const EVENTS: usize = 1;

/// What the watchers of all threads know together.
pub(in crate::bench) struct Shared {
    /// How long watches took to be there, and events to come.
    recorder: Mutex<Recorder>,
    /// When put `n` was due.
    puts: Mutex<Vec<Option<Instant>>>,
    expected: AtomicU64,
    received: AtomicU64,
    arrived: Notify,
}

impl Shared {
    pub(in crate::bench) fn new() -> Result<Arc<Self>, BenchError> {
        Ok(Arc::new(Self {
            recorder: Mutex::new(Recorder::new(None, 2, false)?),
            puts: Mutex::new(Vec::new()),
            expected: AtomicU64::new(0),
            received: AtomicU64::new(0),
            arrived: Notify::new(),
        }))
    }

    /// What was measured beside the puts.
    pub(in crate::bench) fn take(&self) -> Result<Recorder, BenchError> {
        let fresh = Recorder::new(None, 2, false)?;
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *recorder, fresh))
    }

    fn record(&self, part: usize, outcome: Result<(), Status>, begun: Instant, over: Instant) {
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = outcome.map(|()| part).map_err(|status| (part, status));
        recorder.record(outcome, Times { intended: begun, sent: begun, over });
    }

    fn due(&self, n: u64, due: Instant) {
        let mut puts = self.puts.lock().unwrap_or_else(PoisonError::into_inner);
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        if puts.len() <= n {
            puts.resize(n + 1, None);
        }
        if let Some(slot) = puts.get_mut(n) {
            *slot = Some(due);
        }
    }

    fn due_of(&self, n: u64) -> Option<Instant> {
        let puts = self.puts.lock().unwrap_or_else(PoisonError::into_inner);
        puts.get(usize::try_from(n).ok()?).copied().flatten()
    }

    /// Waits until everybody has every event, or for too long.
    async fn settle(&self) {
        let begun = Instant::now();
        let left =
            || self.expected.load(Ordering::SeqCst).saturating_sub(self.received.load(Ordering::SeqCst));
        while left() > 0 && begun.elapsed() < PATIENCE {
            // Looked at again in any case: a permit may have been taken by another client.
            let _ = tokio::time::timeout(Duration::from_millis(20), self.arrived.notified()).await;
        }
        let lost = left();
        self.expected.fetch_sub(lost, Ordering::SeqCst);
        for _ in 0..lost {
            let now = Instant::now();
            self.record(EVENTS, Err(Status::deadline_exceeded("the event did not come")), now, now);
        }
    }
}

impl WatchedPuts {
    /// How many watch the key that put `n` goes to.
    fn watchers_of(&self, n: u64) -> u64 {
        let (all, kinds) = (self.streams * self.watches_per_stream, self.watched.len() as u64);
        let key = self.key_number(n);
        // Watch i is of the key at place i mod kinds; the same key may be at several places.
        let at_place = |place: u64| all / kinds + u64::from(place < all % kinds);
        let places = (0_u64..).zip(self.watched.iter()).filter(|(_, number)| **number == key);
        places.map(|(place, _)| at_place(place)).sum()
    }

    fn key_number(&self, n: u64) -> u64 {
        let place = usize::try_from(n % self.watched.len() as u64).unwrap_or(0);
        self.watched.get(place).copied().unwrap_or(0)
    }

    /// Opens stream `stream` with its watches, and follows it in a task.
    async fn open(&self, pipe: &Pipe, stream: u64) -> Result<Outbox, Status> {
        let (mut outbox, mut inflow) = pipe.stream(&pipe.method(path::WATCH)).await?;
        for i in 0..self.watches_per_stream {
            let key = self.keys.key(self.key_number(stream * self.watches_per_stream + i));
            let begun = Instant::now();
            let outcome = create(&mut outbox, &mut inflow, key, 0, self.prev_kv).await;
            self.shared.record(CREATION, outcome.clone().map(|_| ()), begun, Instant::now());
            outcome?;
        }
        tokio::task::spawn_local(follow(inflow, Arc::clone(&self.shared)));
        Ok(outbox)
    }
}

/// Asks for a watch and waits until it is there; events of others that come meanwhile are handed back.
async fn create(
    outbox: &mut Outbox,
    inflow: &mut Inflow,
    key: Bytes,
    start_revision: i64,
    prev_kv: bool,
) -> Result<Vec<WatchResponse>, Status> {
    let create = WatchCreate { key, start_revision, prev_kv };
    outbox.send(frame(&WatchRequest { create: Some(create) }))?;
    let mut others = Vec::new();
    loop {
        let answer = inflow.next().await?.ok_or_else(|| Status::internal("the watch ended"))?;
        let answer = WatchResponse::decode(answer).map_err(|error| Status::internal(error.to_string()))?;
        match answer {
            answer if answer.canceled => return Err(Status::aborted(answer.cancel_reason)),
            answer if answer.created => return Ok(others),
            answer => others.push(answer),
        }
    }
}

async fn follow(mut inflow: Inflow, shared: Arc<Shared>) {
    // A stream that breaks loses its events, which are counted in the end.
    while let Ok(Some(answer)) = inflow.next().await {
        let now = Instant::now();
        let Ok(answer) = WatchResponse::decode(answer) else { return };
        for event in answer.events {
            let number = event.kv.and_then(|kv| kv.value.first_chunk::<NUMBER>().copied());
            if let Some(due) = number.and_then(|number| shared.due_of(u64::from_be_bytes(number))) {
                shared.record(EVENTS, Ok(()), due, now);
            }
            shared.received.fetch_add(1, Ordering::SeqCst);
            shared.arrived.notify_one();
        }
    }
}

impl Load for WatchedPuts {
    type Client = Putter;
    const PARTS: &'static [&'static str] = &["puts"];

    async fn client(&self, seat: Seat) -> Result<Putter, Status> {
        let mut streams = Vec::new();
        for stream in (seat.index..self.streams).step_by(usize::try_from(self.clients).unwrap_or(1)) {
            streams.push(self.open(&seat.pipe, stream).await?);
        }
        let method = seat.pipe.method(path::PUT);
        Ok(Putter { load: self.clone(), pipe: seat.pipe, method, streams })
    }
}

/// Puts, and holds its share of the watches open.
pub(in crate::bench) struct Putter {
    load: WatchedPuts,
    pipe: Rc<Pipe>,
    method: Method,
    streams: Vec<Outbox>,
}

impl Client for Putter {
    async fn act(&mut self, n: u64, due: Instant) -> Result<usize, (usize, Status)> {
        let load = &self.load;
        load.shared.due(n, due);
        let mut text = BytesMut::with_capacity(load.val_size.max(NUMBER));
        text.put_u64(n);
        text.put_slice(&value(load.seed, load.val_size.saturating_sub(NUMBER)));
        let put = PutRequest { key: load.keys.key(load.key_number(n)), value: text.freeze(), lease: 0 };
        let answer = self.pipe.call(&self.method, frame(&put)).await;
        answer.map_err(|status| (0, status))?;
        load.shared.expected.fetch_add(load.watchers_of(n), Ordering::SeqCst);
        Ok(0)
    }

    async fn leave(&mut self) {
        self.load.shared.settle().await;
        self.streams.clear();
    }
}

/// Serializable reads by one client while watchers catch up with what happened before.
#[derive(Clone)]
pub(in crate::bench) struct GetWhileWatching {
    pub(in crate::bench) members: Vec<Member>,
    pub(in crate::bench) conns: usize,
    pub(in crate::bench) watchers: u64,
    pub(in crate::bench) streams: u64,
    pub(in crate::bench) events: u64,
    pub(in crate::bench) key: Bytes,
    /// That of the first event.
    pub(in crate::bench) revision: i64,
    /// What is read; it is not there.
    pub(in crate::bench) other: Bytes,
    pub(in crate::bench) caught_up: CancellationToken,
}

impl Load for GetWhileWatching {
    type Client = Reader;
    const PARTS: &'static [&'static str] = &["reads"];

    async fn client(&self, seat: Seat) -> Result<Reader, Status> {
        let mut pipes = Vec::new();
        for member in self.members.iter().cycle().take(self.conns.max(1)) {
            let pipe = member.pipe().await;
            pipes.push(Rc::new(pipe.map_err(|error| Status::unavailable(error.to_string()))?));
        }
        let left = Rc::new(std::cell::Cell::new(self.watchers * self.events));
        for (stream, pipe) in (0..self.streams).zip(pipes.iter().cycle()) {
            let (load, left, pipe) = (self.clone(), Rc::clone(&left), Rc::clone(pipe));
            tokio::task::spawn_local(async move {
                // One that breaks keeps the run from its natural end: then the time ends it, and the report says so.
                let _ = load.catch_up(&pipe, stream, &left).await;
            });
        }
        let method = seat.pipe.method(path::RANGE);
        let request =
            RangeRequest { key: self.other.to_vec(), serializable: true, ..RangeRequest::default() };
        Ok(Reader { pipe: seat.pipe, method, request: frame(&request), _watched: pipes })
    }

    fn finished(&self) -> CancellationToken {
        self.caught_up.clone()
    }
}

impl GetWhileWatching {
    async fn catch_up(&self, pipe: &Pipe, stream: u64, left: &std::cell::Cell<u64>) -> Result<(), Status> {
        let count = |events: usize| {
            left.set(left.get().saturating_sub(events as u64));
            if left.get() == 0 {
                self.caught_up.cancel();
            }
        };
        let (mut outbox, mut inflow) = pipe.stream(&pipe.method(path::WATCH)).await?;
        for _ in (stream..self.watchers).step_by(usize::try_from(self.streams).unwrap_or(1)) {
            let others = create(&mut outbox, &mut inflow, self.key.clone(), self.revision, false).await?;
            count(others.iter().map(|answer| answer.events.len()).sum());
        }
        while !self.caught_up.is_cancelled() {
            let Some(answer) = inflow.next().await? else { break };
            let answer =
                WatchResponse::decode(answer).map_err(|error| Status::internal(error.to_string()))?;
            count(answer.events.len());
        }
        Ok(())
    }
}

pub(in crate::bench) struct Reader {
    pipe: Rc<Pipe>,
    method: Method,
    request: Bytes,
    /// Held open.
    _watched: Vec<Rc<Pipe>>,
}

impl Client for Reader {
    async fn act(&mut self, _: u64, _: Instant) -> Result<usize, (usize, Status)> {
        let answer = self.pipe.call(&self.method, self.request.clone()).await;
        answer.map(|_| 0).map_err(|status| (0, status))
    }
}

/// The numbers of the keys that are watched: `watched` of `space`, in turn or by chance.
pub(in crate::bench) fn watched(total: u64, space: u64, is_sequential: bool, seed: u64) -> Vec<u64> {
    (0..total).map(|n| if is_sequential { n % space } else { scatter(seed, n) % space }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_watch_is_expected_to_tell_of_every_put_to_its_key() {
        for (watched, streams, per_stream) in
            [(vec![0], 10, 100), (vec![3, 1, 2], 2, 5), (vec![1, 1, 4], 1, 7)]
        {
            let kinds = watched.len() as u64;
            let load = WatchedPuts {
                keys: Keys::new("/p/", 8, 10).expect("they fit"),
                watched: Arc::new(watched),
                streams,
                watches_per_stream: per_stream,
                prev_kv: false,
                val_size: 8,
                seed: 1,
                clients: 1,
                shared: Shared::new().expect("a recorder"),
            };
            // Counted the long way: each watch, by its number, as it is opened.
            let watches: Vec<u64> = (0..streams * per_stream).map(|i| load.key_number(i)).collect();
            for n in 0..2 * kinds {
                let expected = watches.iter().filter(|key| **key == load.key_number(n)).count();
                assert_eq!(load.watchers_of(n), expected as u64, "put {n} of {:?}", load.watched);
            }
        }
    }
}
