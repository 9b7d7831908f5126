//! Sequences over a backend that fails before or after a put took effect: whatever fails and however the
//! writers interleave, the states are those of some serial order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use etcd_monitor::store::key::SequenceKey;
use etcd_monitor::store::sequence::{self, Appended};
use etcd_monitor::store::{Store, Writer};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use proptest::prelude::*;

/// What happens to one put.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Fine,
    /// Nothing is written, and the caller hears of it.
    FailsBefore,
    /// It is written, but the caller hears of a failure.
    FailsAfter,
    /// It is written, but the answer is lost inside, and the retry inside finds the key taken.
    ExistsAfter,
}

/// An object store in memory whose puts meet their fates in turn, and whose every call lets others go first
/// as often as the script says.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fates: Vec<Fate>,
    turns: Vec<u8>,
    puts: AtomicUsize,
    calls: AtomicUsize,
}

impl Faulty {
    async fn wait_a_turn(&self) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        for _ in 0..self.turns[call % self.turns.len()] {
            tokio::task::yield_now().await;
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
        self.wait_a_turn().await;
        let put = self.puts.fetch_add(1, Ordering::Relaxed);
        match self.fates.get(put).copied().unwrap_or(Fate::Fine) {
            Fate::Fine => self.inner.put_opts(path, body, options).await,
            Fate::FailsBefore => Err(failure()),
            Fate::FailsAfter => {
                self.inner.put_opts(path, body, options).await?;
                self.wait_a_turn().await;
                Err(failure())
            }
            Fate::ExistsAfter => {
                self.inner.put_opts(path, body, options).await?;
                self.wait_a_turn().await;
                Err(Error::AlreadyExists { path: path.to_string(), source: "injected".into() })
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
        self.wait_a_turn().await;
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    /// In reverse: no order is promised.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(prefix);
        futures::stream::once(async move {
            let mut entries: Vec<_> = listed.collect().await;
            entries.reverse();
            futures::stream::iter(entries)
        })
        .flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

type State = Vec<(u8, u8)>;

/// Adds `ops` items to the sequence, each exactly once, whatever fails: a transition that reads the newest
/// state first and finds its own item there has nothing to do.
async fn add_items(store: &Store, sequence: &SequenceKey, writer_number: u8, ops: u8) {
    let writer = Writer::new(1, u128::from(writer_number));
    for op in 0..ops {
        loop {
            let newest = sequence::latest::<State>(store, sequence).await.expect("reads do not fail here");
            let (number, mut state) = newest.unwrap_or_default();
            if state.contains(&(writer_number, op)) {
                break;
            }
            state.push((writer_number, op));
            match sequence::append(store, sequence, number + 1, &state, &writer).await {
                Ok(Appended::Won) => break,
                Ok(Appended::Lost(_)) | Err(_) => {}
            }
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Fine),
        1 => Just(Fate::FailsBefore),
        2 => Just(Fate::FailsAfter),
        1 => Just(Fate::ExistsAfter),
    ]
}

proptest! {
    // 256 cases, or as many as PROPTEST_CASES says.
    #![proptest_config(ProptestConfig::default())]
    #[test]
    fn any_interleaving_with_any_failures_equals_a_serial_order(
        fates in prop::collection::vec(fate(), 0..30),
        turns in prop::collection::vec(0..5_u8, 1..40),
    ) {
        let faulty = Faulty {
            inner: InMemory::new(), fates, turns, puts: AtomicUsize::new(0), calls: AtomicUsize::new(0),
        };
        let store = Store::over(Arc::new(faulty), "memory://faulty");
        let sequence = SequenceKey::group("g");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            tokio::join!(
                add_items(&store, &sequence, 0, 4),
                add_items(&store, &sequence, 1, 4),
                add_items(&store, &sequence, 2, 4),
            );
            let mut before = State::new();
            for number in 1..=12 {
                let body: Bytes =
                    store.get(&sequence.number(number)).await.expect("reads").expect("no hole in the numbers");
                let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                let state: State = serde_json::from_value(body["state"].clone()).expect("a state");
                let (last, rest) = state.split_last().expect("not empty");
                assert_eq!(rest, before, "state {number} follows its predecessor");
                assert!(!before.contains(last), "{last:?} was added twice");
                before = state;
            }
            assert_eq!(store.get(&sequence.number(13)).await.expect("reads"), None);
        });
    }
}
