//! Reading parts of a table file over any backend, with the footers kept.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, MetadataSuffixFetch};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::file::Footer;
use super::key::Key;
use super::object::path_of;
use super::tally::Tally;
use super::{Store, StoreError};

/// Files up to this size are fetched whole: one request instead of three.
const WHOLE_BYTES_MAX: u64 = 256 << 10;

/// What a first request for a footer asks for; footers with their page index are mostly smaller.
const FOOTER_BYTES_HINT: usize = 64 << 10;

/// Footers of write-once files, dropped oldest first above [`FooterCache::BYTES_MAX`].
#[derive(Default)]
pub(super) struct FooterCache(Mutex<Footers>);

#[derive(Default)]
struct Footers {
    by_key: HashMap<Key, (Footer, usize)>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl FooterCache {
    const BYTES_MAX: usize = 64 << 20;

    fn get(&self, key: &Key) -> Option<Footer> {
        let footers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        footers.by_key.get(key).map(|(footer, _)| footer.clone())
    }

    fn insert(&self, key: &Key, footer: &Footer) {
        let bytes = footer.arrow.metadata().memory_size();
        let mut footers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if footers.by_key.insert(key.clone(), (footer.clone(), bytes)).is_none() {
            footers.order.push_back(key.clone());
            footers.bytes += bytes;
        }
        while footers.bytes > Self::BYTES_MAX {
            let Some(oldest) = footers.order.pop_front() else { break };
            if let Some((_, bytes)) = footers.by_key.remove(&oldest) {
                footers.bytes -= bytes;
            }
        }
    }
}

/// One file's bytes, by range.
pub(super) struct FileReader {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    size_bytes: u64,
    whole: Option<Bytes>,
    tally: Arc<Tally>,
}

impl FileReader {
    async fn fetch(&mut self, range: Range<u64>) -> ParquetResult<Bytes> {
        if self.size_bytes <= WHOLE_BYTES_MAX {
            let whole = self.whole().await?;
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            if range.end > whole.len() || range.start > range.end {
                return Err(ParquetError::EOF(format!("{} is shorter than its footer says", self.path)));
            }
            return Ok(whole.slice(range));
        }
        let part = self.objects.get_range(&self.path, range).await.map_err(external)?;
        self.tally.count(part.len());
        Ok(part)
    }

    async fn whole(&mut self) -> ParquetResult<Bytes> {
        if let Some(whole) = &self.whole {
            return Ok(whole.clone());
        }
        let whole = self.objects.get(&self.path).await.map_err(external)?.bytes().await.map_err(external)?;
        self.tally.count(whole.len());
        self.whole = Some(whole.clone());
        Ok(whole)
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl MetadataSuffixFetch for &mut FileReader {
    fn fetch_suffix(&mut self, suffix: usize) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            if self.size_bytes <= WHOLE_BYTES_MAX {
                let whole = self.whole().await?;
                return Ok(whole.slice(whole.len().saturating_sub(suffix)..));
            }
            let options = GetOptions::new().with_range(Some(GetRange::Suffix(suffix as u64)));
            let found = self.objects.get_opts(&self.path, options).await.map_err(external)?;
            let footer = found.bytes().await.map_err(external)?;
            self.tally.count(footer.len());
            Ok(footer)
        }
        .boxed()
    }
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.fetch(range).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            if self.size_bytes <= WHOLE_BYTES_MAX {
                let mut parts = Vec::with_capacity(ranges.len());
                for range in ranges {
                    parts.push(self.fetch(range).await?);
                }
                return Ok(parts);
            }
            let parts = self.objects.get_ranges(&self.path, &ranges).await.map_err(external)?;
            parts.iter().for_each(|part| self.tally.count(part.len()));
            Ok(parts)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let metadata = ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_page_index_policy(PageIndexPolicy::Optional)
                .with_prefetch_hint(Some(FOOTER_BYTES_HINT))
                .load_via_suffix_and_finish(self)
                .await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}

impl Store {
    pub(super) fn file_reader(&self, key: &Key, size_bytes: u64) -> Result<FileReader, StoreError> {
        let path = path_of(key.as_str())?;
        let (objects, tally) = (Arc::clone(&self.0.objects), Arc::clone(&self.0.tally));
        Ok(FileReader { objects, path, size_bytes, whole: None, tally })
    }

    /// The file's footer, from memory when it was read before. The reader keeps what it fetched.
    pub(super) async fn footer(&self, key: &Key, reader: &mut FileReader) -> Result<Footer, StoreError> {
        if let Some(footer) = self.0.footers.get(key) {
            return Ok(footer);
        }
        let metadata = reader
            .get_metadata(None)
            .await
            .map_err(|source| StoreError::Parquet { key: key.to_string(), source })?;
        let footer = Footer::new(key, metadata)?;
        self.0.footers.insert(key, &footer);
        Ok(footer)
    }
}
