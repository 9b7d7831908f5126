//! Reading everything to see that it is whole, and counting what there is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampMillisecondType;
use arrow::error::ArrowError;
use futures::{StreamExt, TryStreamExt, stream};

use super::compact::blocking;
use super::file::{self, Provenance};
use super::key::{Key, Prefix};
use super::merge;
use super::table::{FileKey, Level, Table};
use super::{Store, StoreError};
use crate::model::chain;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    pub files: u64,
    pub rows: u64,
    pub problems: Vec<Problem>,
}

/// A file that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub key: Key,
    pub what: String,
}

/// Reads every table file: the hash of its pages, its footer, every page, its order, the number of its rows,
/// that they belong under its key, and that no source is named by two files of one level. What is not as it
/// must be is a problem, not an error.
///
/// # Errors
/// When the store cannot be listed or read.
pub async fn verify(store: &Store) -> Result<Verified, StoreError> {
    verify_with(store, &|_, _| {}).await
}

/// As [`verify`]; `seen` is told after each file how many of how many there were.
///
/// # Errors
/// As [`verify`].
pub async fn verify_with(store: &Store, seen: &(dyn Fn(u64, u64) + Sync)) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    let mut named: HashMap<(Level, Key), Key> = HashMap::new();
    let entries = store.list(&Prefix::data()).await?;
    let total = entries.len() as u64;
    let mut reads = stream::iter(entries)
        .map(|entry| async move {
            let Some(body) = store.get(&entry.key).await? else { return Ok(None) };
            let Some(parsed) = FileKey::parse(&entry.key) else {
                return Ok(Some((entry.key, None, Err("its name is not one of a table file".to_owned()))));
            };
            let (key, level) = (entry.key.clone(), parsed.level);
            let checked =
                blocking(&entry.key, move || Ok(check(&key, &parsed, &body).map_err(|error| chain(&error))))
                    .await?;
            Ok::<_, StoreError>(Some((entry.key, Some(level), checked)))
        })
        .buffered(4);
    while let Some(read) = reads.try_next().await? {
        let Some((key, level, checked)) = read else { continue };
        verified.files += 1;
        seen(verified.files, total);
        match (level, checked) {
            (Some(level), Ok((rows, provenance))) => {
                verified.rows += rows;
                for source in provenance.sources {
                    if let Some(other) = named.insert((level, source.clone()), key.clone()) {
                        let what = format!("{source} is a source of {other} too");
                        verified.problems.push(Problem { key: key.clone(), what });
                    }
                }
            }
            (_, Err(what)) => verified.problems.push(Problem { key, what }),
            (None, Ok(_)) => {}
        }
    }
    Ok(verified)
}

fn check(key: &Key, parsed: &FileKey, body: &bytes::Bytes) -> Result<(u64, Provenance), StoreError> {
    let arrow = |source| StoreError::Arrow { key: key.to_string(), source };
    let malformed = |reason: String| StoreError::Body { key: key.to_string(), reason };
    let converter = merge::converter(parsed.table).map_err(arrow)?;
    let (footer, batches) = file::decode(key, body.clone())?;
    if file::is_intact(&footer, body) == Some(false) {
        return Err(malformed("its pages are not those that were written: the hash differs".to_owned()));
    }
    let (start_ms, end_ms) = parsed.span_ms();
    let mut last: Option<(Arc<[u8]>, i64)> = None;
    let mut rows = 0;
    for batch in batches {
        let batch = batch.map_err(arrow)?;
        let (groups, times) = sort_columns(parsed.table, &batch).map_err(arrow)?;
        let groups = converter.convert_columns(&groups).map_err(arrow)?;
        for (group, ts_ms) in groups.iter().zip(times) {
            if !(start_ms..=end_ms).contains(&ts_ms) {
                return Err(malformed(format!("row {rows} is of {ts_ms}, another day or hour")));
            }
            let ordered =
                last.as_ref().is_none_or(|(last, last_ms)| (&**last, *last_ms) < (group.as_ref(), ts_ms));
            if !ordered {
                return Err(malformed(format!("row {rows} is out of order or there twice")));
            }
            match &mut last {
                Some((last, last_ms)) if **last == *group.as_ref() => *last_ms = ts_ms,
                last => *last = Some((group.as_ref().into(), ts_ms)),
            }
            rows += 1;
        }
    }
    let promised = footer.arrow.metadata().file_metadata().num_rows();
    if u64::try_from(promised) != Ok(rows) {
        return Err(malformed(format!("the footer promises {promised} rows, {rows} are there")));
    }
    Ok((rows, (*footer.provenance).clone()))
}

fn sort_columns(table: Table, batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Vec<i64>), ArrowError> {
    let column = |name: &&str| {
        batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))
    };
    let groups = table.group_columns().iter().map(|name| column(name).cloned()).collect::<Result<_, _>>()?;
    let times = column(&table.time_column())?
        .as_primitive_opt::<TimestampMillisecondType>()
        .ok_or_else(|| ArrowError::SchemaError("the time column holds no times".to_owned()))?;
    Ok((groups, times.values().to_vec()))
}

/// One line of [`listing`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    pub files: u64,
    pub bytes: u64,
    pub rows: u64,
    /// Dates of the first and last day, `YYYY-MM-DD`.
    pub first_day: Option<String>,
    pub last_day: Option<String>,
}

/// What each table has at each level. Rows come from the footers; sources that a merged file hides are
/// counted until they are deleted.
///
/// # Errors
/// When the store cannot be listed or a footer cannot be read.
pub async fn listing(store: &Store) -> Result<BTreeMap<(Table, Level), Listed>, StoreError> {
    let mut lines: BTreeMap<(Table, Level), Listed> = BTreeMap::new();
    let entries = store.list(&Prefix::data()).await?;
    let mut footers = stream::iter(entries)
        .map(|entry| async move {
            let Some(parsed) = FileKey::parse(&entry.key) else { return Ok(None) };
            let mut reader = store.file_reader(&entry.key, entry.size_bytes)?;
            match store.footer(&entry.key, &mut reader).await {
                Ok(footer) => Ok(Some((entry, parsed, footer))),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            }
        })
        .buffered(16);
    while let Some(read) = footers.try_next().await? {
        let Some((entry, parsed, footer)) = read else { continue };
        let line = lines.entry((parsed.table, parsed.level)).or_default();
        let rows = footer.arrow.metadata().file_metadata().num_rows();
        line.files += 1;
        line.bytes += entry.size_bytes;
        line.rows += u64::try_from(rows).unwrap_or(0);
        let day = parsed.day.to_string();
        if line.first_day.as_ref().is_none_or(|first| day < *first) {
            line.first_day = Some(day.clone());
        }
        if line.last_day.as_ref().is_none_or(|last| day > *last) {
            line.last_day = Some(day);
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use crate::store::Writer;
    use crate::store::samples::{Row, write_segment};

    #[tokio::test]
    async fn no_bit_of_a_page_can_change_unseen() {
        let store = Store::in_memory();
        let labels = Labels::from_pairs([("__name__", "m")]);
        let row =
            |i: i64| Row { cluster: "c", instance: "h:1", labels: &labels, ts_ms: i, value: i as f64 / 7.0 };
        let rows: Vec<Row<'_>> = (0..500).map(row).collect();
        let keys = write_segment(&store, &Writer::new(1, 1), 500, 1, &rows).await.expect("writes");
        assert_eq!(verify(&store).await.expect("reads").problems, []);
        let key = &keys[0];
        let body = store.get(key).await.expect("reads").expect("is there");
        let parsed = FileKey::parse(key).expect("is a table file");
        let (footer, _) = file::decode(key, body.clone()).expect("decodes");
        assert_eq!(file::is_intact(&footer, &body), Some(true));
        let groups = footer.arrow.metadata().row_groups().iter();
        let data: i64 = groups.map(|group| group.compressed_size()).sum();
        assert!(data > 500, "{data}");
        for at in (4..usize::try_from(data).expect("small")).step_by(7) {
            let mut damaged = body.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let checked = check(key, &parsed, &damaged.into());
            assert!(checked.is_err(), "byte {at}");
        }
    }
}
