//! The store of the simulation: in memory, failing as the weather has it, by a seed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// xorshift: the same numbers for the same seed, everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        // Small seeds differ in few bits.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % end
    }
}

/// How often calls fail now.
#[derive(Debug, Default)]
pub struct Weather {
    percent: AtomicU64,
    out: AtomicBool,
    stale: AtomicBool,
    writes: Mutex<BTreeMap<String, usize>>,
}

impl Weather {
    /// `out`: nothing is reached at all.
    pub fn set(&self, percent: u64, out: bool) {
        self.percent.store(percent, Ordering::Relaxed);
        self.out.store(out, Ordering::Relaxed);
    }

    /// How often each object of the store was written.
    pub fn writes(&self) -> BTreeMap<String, usize> {
        self.writes.lock().expect("no panic").clone()
    }

    /// Listings may lack what was written last.
    pub fn set_stale(&self, stale: bool) {
        self.stale.store(stale, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub struct Faulty {
    inner: InMemory,
    weather: Arc<Weather>,
    rng: Mutex<Rng>,
    /// The newest objects, the newest last.
    recent: Mutex<VecDeque<Path>>,
}

/// How many of the newest objects a stale listing may lack.
const RECENT: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    FailsBefore,
    FailsAfter,
}

impl Faulty {
    pub fn new(seed: u64, weather: Arc<Weather>) -> Self {
        Self { inner: InMemory::new(), weather, rng: Mutex::new(Rng::new(seed)), recent: Mutex::default() }
    }

    fn below(&self, end: usize) -> usize {
        self.rng.lock().expect("no panic").below(end)
    }

    /// Lets others go first, then says what becomes of the call.
    async fn fate(&self) -> Fate {
        for _ in 0..self.below(3) {
            tokio::task::yield_now().await;
        }
        self.fate_now()
    }

    async fn put(&self, path: &Path, body: PutPayload, options: PutOptions) -> Result<PutResult> {
        let done = self.inner.put_opts(path, body, options).await?;
        *self.weather.writes.lock().expect("no panic").entry(path.to_string()).or_default() += 1;
        let mut recent = self.recent.lock().expect("no panic");
        recent.push_back(path.clone());
        if recent.len() > RECENT {
            recent.pop_front();
        }
        Ok(done)
    }

    /// What the next listing lacks.
    fn unseen(&self) -> Vec<Path> {
        if !self.weather.stale.load(Ordering::Relaxed) || self.below(4) > 0 {
            return Vec::new();
        }
        let lacks = 1 + self.below(RECENT);
        self.recent.lock().expect("no panic").iter().rev().take(lacks).cloned().collect()
    }

    fn fate_now(&self) -> Fate {
        let dice = u64::try_from(self.below(200)).expect("small");
        let percent = self.weather.percent.load(Ordering::Relaxed);
        match dice {
            _ if self.weather.out.load(Ordering::Relaxed) => Fate::FailsBefore,
            dice if dice < percent => Fate::FailsBefore,
            dice if dice < 2 * percent => Fate::FailsAfter,
            _ => Fate::Fine,
        }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

/// An error that the store does not try again by itself.
fn failure() -> Error {
    Error::NotSupported { source: "injected".into() }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, body: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.fate().await {
            Fate::Fine => self.put(path, body, options).await,
            Fate::FailsBefore => Err(failure()),
            Fate::FailsAfter => {
                self.put(path, body, options).await?;
                tokio::task::yield_now().await;
                Err(failure())
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.fate().await {
            Fate::Fine => self.inner.get_opts(path, options).await,
            Fate::FailsBefore | Fate::FailsAfter => Err(failure()),
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // Here and not in the stream, which cannot borrow.
        let fate = self.fate_now();
        let unseen = self.unseen();
        let listed = self.inner.list(prefix);
        let listed =
            listed.try_filter(move |entry| futures::future::ready(!unseen.contains(&entry.location)));
        futures::stream::once(async move {
            tokio::task::yield_now().await;
            if fate == Fate::Fine { Ok(listed) } else { Err(failure()) }
        })
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
