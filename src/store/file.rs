//! One table file as bytes: how it is encoded, what its footer says, how it is decoded.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use ring::digest;

use super::key::Key;
use super::table::Table;
use super::{StoreError, samples};

/// The version this program writes. Files of every earlier version stay readable.
pub const FORMAT: u32 = 1;

const FORMAT_KEY: &str = "etcd_monitor.format";
const TABLE_KEY: &str = "etcd_monitor.table";
const SOURCES_KEY: &str = "etcd_monitor.sources";
const MERGED_KEY: &str = "etcd_monitor.merged_ms";
const DATA_KEY: &str = "etcd_monitor.data_sha256";

/// What makes a file a merge of others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// Keys of the objects whose rows are in this file: readers ignore those. Empty for segments.
    pub sources: Vec<Key>,
    /// When it was merged, ms since the epoch; sources are deleted an hour later.
    pub merged_ms: Option<i64>,
}

/// Encodes sorted batches of one table into one file.
pub(super) struct Encoder {
    key: Key,
    table: Table,
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl Encoder {
    pub(super) fn new(key: &Key, table: Table, provenance: &Provenance) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Parquet { key: key.to_string(), source };
        let properties = properties(table, provenance).map_err(failed)?;
        let writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties)).map_err(failed)?;
        Ok(Self { key: key.clone(), table, writer, rows: 0 })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        if self.table != Table::Samples {
            return self.write_settled(batch);
        }
        let settled = samples::settle_values(batch)
            .map_err(|source| StoreError::Arrow { key: self.key.to_string(), source })?;
        self.write_settled(&settled)
    }

    /// As [`Encoder::write`], for samples whose values stand in the right column already.
    pub(super) fn write_settled(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|source| StoreError::Parquet { key: self.key.to_string(), source })
    }

    /// The footer gets the hash of all that comes before it: Parquet's own checksums of pages are optional, and
    /// the crate that writes here has none.
    pub(super) fn finish(mut self) -> Result<(Bytes, u64), StoreError> {
        let key = self.key.to_string();
        let failed = |source| StoreError::Parquet { key: key.clone(), source };
        self.writer.flush().map_err(failed)?;
        self.writer.sync().map_err(|error| failed(error.into()))?;
        let data = self.writer.inner();
        let text = format!("{}:{}", data.len(), sha256(data));
        self.writer.append_key_value_metadata(KeyValue::new(DATA_KEY.to_owned(), text));
        Ok((self.writer.into_inner().map_err(failed)?.into(), self.rows))
    }
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the pages of `body` are those that were written; `None` for a file without the hash, as those of
/// earlier versions are.
pub(super) fn is_intact(footer: &Footer, body: &[u8]) -> Option<bool> {
    let pairs = footer.arrow.metadata().file_metadata().key_value_metadata()?;
    let text = pairs.iter().find(|pair| pair.key == DATA_KEY)?.value.as_deref()?;
    let promised = text.split_once(':').and_then(|(bytes, hash)| Some((bytes.parse::<usize>().ok()?, hash)));
    let data = promised.and_then(|(bytes, hash)| Some((body.get(..bytes)?, hash)));
    Some(data.is_some_and(|(data, hash)| sha256(data) == hash))
}

fn properties(table: Table, provenance: &Provenance) -> Result<WriterProperties, ParquetError> {
    let schema = table.schema();
    let mut metadata = vec![
        KeyValue::new(FORMAT_KEY.to_owned(), FORMAT.to_string()),
        KeyValue::new(TABLE_KEY.to_owned(), table.as_str().to_owned()),
    ];
    if let Some(merged_ms) = provenance.merged_ms {
        let sources = serde_json::to_string(&provenance.sources)
            .map_err(|error| ParquetError::General(error.to_string()))?;
        metadata.push(KeyValue::new(SOURCES_KEY.to_owned(), sources));
        metadata.push(KeyValue::new(MERGED_KEY.to_owned(), merged_ms.to_string()));
    }
    let sorting = table
        .group_columns()
        .iter()
        .chain([&table.time_column()])
        .filter_map(|name| i32::try_from(schema.index_of(name).ok()?).ok())
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false })
        .collect();
    let mut builder = WriterProperties::builder()
        .set_created_by("etcd-monitor".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_key_value_metadata(Some(metadata))
        .set_sorting_columns(Some(sorting))
        // A page of 20,000 rows is a few kilobytes here and the unit that a reader of one series fetches.
        .set_data_page_row_count_limit(20_000)
        .set_max_row_group_row_count(Some(1 << 20))
        .set_dictionary_page_size_limit(8 << 20);
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let encoding = match field.data_type() {
            DataType::Int64 | DataType::Timestamp(..) => Encoding::DELTA_BINARY_PACKED,
            DataType::Float64 => Encoding::BYTE_STREAM_SPLIT,
            DataType::Dictionary(..)
                if matches!(field.name().as_str(), "cluster" | "metric" | "instance") =>
            {
                // A few names and runs of them: a decompressor takes longer to set up than it saves.
                builder = builder.set_column_compression(column, Compression::UNCOMPRESSED);
                continue;
            }
            _ => continue,
        };
        builder = builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column.clone(), encoding);
        if field.name() != table.time_column() {
            // Bounds of values prune nothing: no reader asks for them.
            builder = builder.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    Ok(builder.build())
}

/// A file's footer with its page index, parsed.
#[derive(Debug, Clone)]
pub(super) struct Footer {
    pub(super) arrow: ArrowReaderMetadata,
    pub(super) provenance: Arc<Provenance>,
}

impl Footer {
    /// # Errors
    /// When the file is of a newer format, or none of ours.
    pub(super) fn new(key: &Key, metadata: Arc<ParquetMetaData>) -> Result<Self, StoreError> {
        let provenance = provenance(key, &metadata)?;
        let arrow = ArrowReaderMetadata::try_new(metadata, reader_options())
            .map_err(|source| StoreError::Parquet { key: key.to_string(), source })?;
        Ok(Self { arrow, provenance: Arc::new(provenance) })
    }
}

pub(super) fn reader_options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional)
}

fn provenance(key: &Key, metadata: &ParquetMetaData) -> Result<Provenance, StoreError> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let value = |name: &str| {
        pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == name)).and_then(|pair| pair.value.clone())
    };
    let found = value(FORMAT_KEY);
    if !found.as_deref().and_then(|text| text.parse::<u32>().ok()).is_some_and(|v| (1..=FORMAT).contains(&v))
    {
        return Err(StoreError::Format { key: key.to_string(), found, newest: FORMAT });
    }
    let malformed = |reason: String| StoreError::Body { key: key.to_string(), reason };
    let sources = match value(SOURCES_KEY) {
        Some(text) => serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?,
        None => Vec::new(),
    };
    let merged_ms = value(MERGED_KEY).and_then(|text| text.parse().ok());
    Ok(Provenance { sources, merged_ms })
}

/// A whole file in memory, batch by batch.
pub(super) fn decode(key: &Key, body: Bytes) -> Result<(Footer, ParquetRecordBatchReader), StoreError> {
    let failed = |source| StoreError::Parquet { key: key.to_string(), source };
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(body, reader_options()).map_err(failed)?;
    let footer = Footer::new(key, Arc::clone(builder.metadata()))?;
    let reader = builder.with_batch_size(8192).build().map_err(failed)?;
    Ok((footer, reader))
}
