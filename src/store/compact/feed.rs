//! Files read batch by batch for a merge that runs on a thread of its own.
//!
//! Owns: the bound. Of a file that feeds a merge there are in memory the column chunks of one row group, as
//! they are stored, and at most three decoded batches. Refuses: what the merge makes of them.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use futures::StreamExt;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::store::key::Key;
use crate::store::merge::Batches;
use crate::store::reader::FileReader;
use crate::store::visible::TableFile;
use crate::store::{Store, StoreError};

/// Rows per decoded batch.
const BATCH_ROWS: usize = 8192;

/// Reads of several files under way. Dropping it ends them.
pub(super) struct Feed {
    tasks: JoinSet<()>,
}

/// Begins to read `files`; the batches are for one thread that may block.
pub(super) async fn feed(
    store: &Store,
    files: &[&TableFile],
) -> Result<(Feed, Vec<(Key, Batches)>), StoreError> {
    let mut feed = Feed { tasks: JoinSet::new() };
    let mut inputs = Vec::with_capacity(files.len());
    for file in files {
        let key = file.entry.key.clone();
        let mut reader = store.file_reader(&key, file.entry.size_bytes)?;
        let footer = store.footer(&key, &mut reader).await?;
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, footer.arrow)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|source| StoreError::Parquet { key: key.to_string(), source })?;
        let (sender, mut receiver) = mpsc::channel(1);
        feed.tasks.spawn(pump(stream, sender));
        let batches: Batches = Box::new(std::iter::from_fn(move || receiver.blocking_recv()));
        inputs.push((key, batches));
    }
    Ok((feed, inputs))
}

impl Feed {
    /// Waits for the end of every read. A read that broke off without an error would look like the end of
    /// its file, so the merge counts only after this.
    pub(super) async fn finish(mut self, key: &Key) -> Result<(), StoreError> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|source| StoreError::object("merge", key.as_str(), source.into()))?;
        }
        Ok(())
    }
}

async fn pump(
    mut stream: ParquetRecordBatchStream<FileReader>,
    sender: mpsc::Sender<Result<RecordBatch, ArrowError>>,
) {
    while let Some(batch) = stream.next().await {
        let failed = batch.is_err();
        // Without a receiver the merge has failed, and says why itself.
        if sender.send(batch.map_err(ArrowError::from)).await.is_err() || failed {
            return;
        }
    }
}
