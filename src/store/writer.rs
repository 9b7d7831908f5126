//! Who writes: a process' sortable id, and a nonce per body.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ulid::Ulid;

/// One writing process. Its id goes into every state body and segment name, so that a put that succeeded
/// although the store reported "exists" can be told from a lost race. Cloning keeps the identity.
#[derive(Debug, Clone)]
pub struct Writer {
    id: Ulid,
    nonces: Arc<AtomicU64>,
    process: Arc<str>,
}

impl Writer {
    /// `random` must differ between any two processes; its upper 48 bits are not used.
    pub fn new(now_ms: i64, random: u128) -> Self {
        let id = Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), random);
        Self { id, nonces: Arc::new(AtomicU64::new(1)), process: Arc::from("") }
    }

    /// The same writer, with the name by which others on its machine can tell whether it still runs.
    pub fn of_process(mut self, process: &str) -> Self {
        self.process = process.into();
        self
    }

    /// Empty when nobody can tell.
    pub fn process(&self) -> &str {
        &self.process
    }

    pub fn id(&self) -> Ulid {
        self.id
    }

    /// A number this writer has not used before.
    pub fn nonce(&self) -> u64 {
        self.nonces.fetch_add(1, Ordering::Relaxed)
    }
}
