//! Sends requests and takes down how long the answers took.
//!
//! Each thread has a runtime of its own with its share of the connections and the clients: what is ready at one moment goes
//! out in one write, and nobody wakes another processor. With a rate requests have a time at which they are due,
//! whatever the answers before them do; without one a client sends the next when it has its answer.

mod feed;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::feed::Feed;
use super::BenchError;
use super::recorder::{Recorder, Times};
use crate::etcd::{Member, Pipe};

/// What one client of a load does, again and again.
pub(super) trait Client {
    /// Sends request number `n`, which is due at `due`, and waits for its answer: of which kind it was, or with what it failed.
    async fn act(&mut self, n: u64, due: Instant) -> Result<usize, (usize, Status)>;

    /// After the last request.
    async fn leave(&mut self) {}
}

/// What all clients of a load have in common.
pub(super) trait Load: Clone + Send + 'static {
    type Client: Client + 'static;

    /// The kinds of requests, by name.
    const PARTS: &'static [&'static str];

    /// The client of `seat`.
    async fn client(&self, seat: Seat) -> Result<Self::Client, Status>;

    /// Cancelled when the load has nothing more to do, where that is not told by how many requests there are.
    fn finished(&self) -> CancellationToken {
        CancellationToken::new()
    }
}

/// Where a client sits: its number, and the connection that it shares with others.
pub(super) struct Seat {
    pub(super) index: u64,
    pub(super) pipe: Rc<Pipe>,
}

/// How much is sent, how fast, by how many.
#[derive(Debug, Clone)]
pub struct Plan {
    pub conns: usize,
    pub clients: usize,
    pub threads: usize,
    /// Requests per second; none when every client goes as fast as it can.
    pub rate: Option<f64>,
    /// Requests; no end but `duration` when absent.
    pub total: Option<u64>,
    /// The longest time.
    pub duration: Duration,
    /// Sent before, and not counted.
    pub warm_up: Duration,
    /// An answer that takes longer counts as failed.
    pub request_timeout: Duration,
}

/// What is seen of a run from outside, and how it is stopped.
#[derive(Debug, Default)]
pub struct Dial {
    pub ok: AtomicU64,
    pub failed: AtomicU64,
    stage: Mutex<Stage>,
    /// Ends the sending; what is under way is waited for.
    pub stop: CancellationToken,
}

/// What a run is at.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Stage {
    #[default]
    Looking,
    /// So many of so many keys are there.
    Filling { done: u64, of: u64 },
    /// Since then the load is sent: so many requests, or for so long.
    Sending { since: Instant, total: Option<u64>, limit: Duration },
}

impl Dial {
    /// One that is stopped by `stop`.
    pub fn stopped_by(stop: &CancellationToken) -> Self {
        Self { stop: stop.clone(), ..Self::default() }
    }

    pub fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    pub(super) fn filling(&self, of: u64) {
        self.set(Stage::Filling { done: 0, of });
    }

    pub(super) fn filled(&self, done: u64) {
        let Stage::Filling { of, .. } = self.stage() else { return };
        self.set(Stage::Filling { done, of });
    }

    pub(super) fn sending(&self, total: Option<u64>, limit: Duration) {
        self.set(Stage::Sending { since: Instant::now(), total, limit });
    }
}

/// What the threads brought home.
pub(super) struct Driven {
    pub(super) recorder: Recorder,
    /// When the first measured request was due, on the clock of [`Instant`].
    pub(super) start: Instant,
    /// Of the sending threads, in the measured time.
    pub(super) cpu: Option<Duration>,
}

/// Drives `load` against `members`, in turn by connection.
///
/// # Errors
/// When there is no connection, or a client does not get ready.
pub(super) async fn drive<L: Load>(
    load: L,
    members: &[Member],
    plan: &Plan,
    dial: &Arc<Dial>,
) -> Result<Driven, BenchError> {
    let threads = plan.threads.clamp(1, plan.conns.max(1));
    let crew = Arc::new(Crew {
        plan: plan.clone(),
        threads,
        members: members.to_vec(),
        dial: Arc::clone(dial),
        finished: load.finished(),
        meeting: Barrier::new(threads),
        closed: AtomicU64::new(0),
    });
    let mut hands = Vec::new();
    for thread in 0..threads {
        let (crew, load) = (Arc::clone(&crew), load.clone());
        let (done, result) = tokio::sync::oneshot::channel();
        let spawned = std::thread::Builder::new().name(format!("load-{thread}")).spawn(move || {
            // Nobody listens any more when the run was given up.
            let _ = done.send(crew.work(thread, &load));
        });
        spawned.map_err(BenchError::Thread)?;
        hands.push(result);
    }
    let mut all: Option<Driven> = None;
    for hand in hands {
        let share = hand.await.map_err(|_| BenchError::Bug("a sending thread panicked"))??;
        match &mut all {
            None => all = Some(share),
            Some(all) => {
                all.recorder.add(&share.recorder);
                all.start = all.start.min(share.start);
                all.cpu = all.cpu.zip(share.cpu).map(|(one, other)| one + other);
            }
        }
    }
    all.ok_or(BenchError::Bug("no sending thread"))
}

/// All threads of a run.
struct Crew {
    plan: Plan,
    threads: usize,
    members: Vec<Member>,
    dial: Arc<Dial>,
    finished: CancellationToken,
    meeting: Barrier,
    /// The number of the next request, where there is no rate.
    closed: AtomicU64,
}

impl Crew {
    fn work<L: Load>(self: &Arc<Self>, thread: usize, load: &L) -> Result<Driven, BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(BenchError::Thread)?;
        tokio::task::LocalSet::new().block_on(&runtime, self.serve(thread, load))
    }

    async fn serve<L: Load>(self: &Arc<Self>, thread: usize, load: &L) -> Result<Driven, BenchError> {
        let ready = self.seat(thread, load).await;
        // Who has no connection must not keep the others waiting.
        self.meeting.wait().await;
        let mut clients = ready?;
        if !self.plan.warm_up.is_zero() {
            let feed = Feed::new(self, thread, None, self.plan.warm_up);
            clients = self.pass(clients, feed, L::PARTS.len(), false).await?.0;
            self.meeting.wait().await;
            self.closed.store(0, Ordering::Relaxed);
            self.meeting.wait().await;
        }
        let before = thread_cpu();
        let feed = Feed::new(self, thread, self.plan.total, self.plan.duration);
        let (mut clients, driven) = self.pass(clients, feed, L::PARTS.len(), true).await?;
        let cpu = thread_cpu().zip(before).map(|(after, before)| after.saturating_sub(before));
        for client in &mut clients {
            client.leave().await;
        }
        Ok(Driven { cpu, ..driven })
    }

    /// Opens this thread's connections and makes its clients. Connection `i` is of thread `i mod threads`, client `k` on
    /// connection `k mod conns`: so clients are spread over connections, and members, evenly.
    async fn seat<L: Load>(&self, thread: usize, load: &L) -> Result<Vec<L::Client>, BenchError> {
        let conns = self.plan.conns.max(1);
        let mut clients = Vec::new();
        for conn in (thread..conns).step_by(self.threads) {
            let member = self.members.iter().cycle().nth(conn).ok_or(BenchError::Bug("no member"))?;
            let pipe = Rc::new(member.pipe().await?);
            for index in (conn..self.plan.clients).step_by(conns) {
                let seat = Seat { index: index as u64, pipe: Rc::clone(&pipe) };
                let client = load.client(seat).await;
                clients.push(client.map_err(|status| BenchError::refused("prepare", member, &status))?);
            }
        }
        Ok(clients)
    }

    async fn pass<C: Client + 'static>(
        self: &Arc<Self>,
        clients: Vec<C>,
        feed: Feed,
        parts: usize,
        is_counted: bool,
    ) -> Result<(Vec<C>, Driven), BenchError> {
        let (feed, start) = (Rc::new(feed), Instant::now());
        let recorder = Rc::new(RefCell::new(Recorder::new(Some(start), parts, self.plan.rate.is_some())?));
        let pacing = tokio::task::spawn_local(Rc::clone(&feed).pace(start));
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|client| {
                let (crew, feed, recorder) = (Arc::clone(self), Rc::clone(&feed), Rc::clone(&recorder));
                tokio::task::spawn_local(crew.one(client, feed, recorder, is_counted))
            })
            .collect();
        let mut clients = Vec::new();
        for task in tasks {
            clients.push(task.await.map_err(|_| BenchError::Bug("a client panicked"))?);
        }
        pacing.abort();
        let recorder = Rc::try_unwrap(recorder).map_err(|_| BenchError::Bug("a client is still there"))?;
        Ok((clients, Driven { recorder: recorder.into_inner(), start, cpu: None }))
    }

    async fn one<C: Client>(
        self: Arc<Self>,
        mut client: C,
        feed: Rc<Feed>,
        recorder: Rc<RefCell<Recorder>>,
        is_counted: bool,
    ) -> C {
        let limit = self.plan.request_timeout;
        while let Some((n, due)) = feed.next().await {
            let sent = Instant::now();
            let answer = tokio::time::timeout(limit, client.act(n, due.unwrap_or(sent))).await;
            let outcome = answer.unwrap_or_else(|_| {
                let message = format!("no answer within {} s", limit.as_secs_f64());
                Err((0, Status::deadline_exceeded(message)))
            });
            let over = Instant::now();
            if is_counted {
                let counter = if outcome.is_ok() { &self.dial.ok } else { &self.dial.failed };
                counter.fetch_add(1, Ordering::Relaxed);
                let times = Times { intended: due.unwrap_or(sent), sent, over };
                recorder.borrow_mut().record(outcome, times);
            }
        }
        client
    }
}

/// Processor time of the calling thread.
fn thread_cpu() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}
