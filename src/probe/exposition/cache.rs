//! Series texts seen before, with their labels.

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;

use super::pool::{SeriesPool, Written};
use super::{ExpositionError, Line, line, series_len, value};
use crate::model::{Samples, SeriesList};

/// Which series are kept.
#[derive(Debug, Clone)]
pub struct Keep {
    pub max_series: usize,
    /// Whole metric names to drop.
    pub drop: Vec<Regex>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { max_series: usize::MAX, drop: Vec::new() }
    }
}

/// What one scrape gave.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Of the same list as the scrape before if the member exposed the same series.
    pub samples: Samples,
    /// Series left out by a drop rule or the cap.
    pub dropped: u64,
    /// Kept series that the scrape before did not have.
    pub added: u64,
}

/// One member's series texts of its last scrape. Every read of a cache is given the same [`Keep`].
#[derive(Debug, Default)]
pub struct SeriesCache {
    pool: Arc<SeriesPool>,
    /// In the order of the last scrape.
    entries: Vec<Entry>,
    /// The kept ones of `entries`, while these stay as they are.
    list: Option<Arc<SeriesList>>,
    scrape: u32,
}

#[derive(Debug, Clone)]
struct Entry {
    written: Arc<Written>,
    /// The scrape that had it last; 0 for none.
    seen: u32,
    keep: bool,
}

/// A body being read.
struct Read<'a> {
    keep: &'a Keep,
    /// Positions of the entries by text; made when a series is not where it was last time.
    index: Option<HashMap<Arc<str>, u32>>,
    /// Entries in the order of the body.
    order: Vec<u32>,
    /// The kept ones of them.
    kept: Vec<u32>,
    values: Vec<f64>,
    dropped: u64,
    added: u64,
}

impl SeriesCache {
    /// A cache that holds what it knows in `pool`.
    pub fn new(pool: Arc<SeriesPool>) -> Self {
        Self { pool, ..Self::default() }
    }

    /// Reads one body. A series that stands twice keeps its first value, as in Prometheus.
    ///
    /// # Errors
    /// With the first line that does not follow the format; nothing of the body counts then.
    pub fn read(&mut self, body: &[u8], keep: &Keep) -> Result<Taken, ExpositionError> {
        let text = std::str::from_utf8(body)
            .map_err(|e| at(body.get(..e.valid_up_to()).unwrap_or_default(), "not UTF-8"))?;
        self.scrape = self.scrape.wrapping_add(1).max(1);
        let known = self.entries.len();
        let mut read = Read {
            keep,
            index: None,
            order: Vec::with_capacity(known),
            kept: Vec::with_capacity(known),
            values: Vec::with_capacity(known),
            dropped: 0,
            added: 0,
        };
        if let Err(error) = self.read_text(text, &mut read) {
            // A body that fails each time in another way must not fill the memory.
            self.entries.truncate(known);
            return Err(error);
        }
        let reordered = read.order.len() != self.entries.len() || !read.order.is_sorted();
        if reordered || known != self.entries.len() {
            self.list = None;
        }
        let list = match self.list.take() {
            Some(list) if list.len() == read.values.len() => list,
            _ => {
                let entries = read.kept.iter().filter_map(|at| self.entries.get(*at as usize));
                Arc::new(SeriesList::new(entries.map(|entry| Arc::clone(&entry.written.series)).collect()))
            }
        };
        if reordered {
            // What the scrape did not have is forgotten, and its order taken over.
            let entries = read.order.iter().filter_map(|at| self.entries.get(*at as usize).cloned());
            self.entries = entries.collect();
        }
        if known != self.entries.len() {
            self.entries.shrink_to_fit();
        }
        self.list = Some(Arc::clone(&list));
        Ok(Taken { samples: Samples::new(list, read.values), dropped: read.dropped, added: read.added })
    }

    /// Series texts held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn read_text(&mut self, text: &str, read: &mut Read<'_>) -> Result<(), ExpositionError> {
        let mut expected = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let before = rest;
            let failed =
                |problem| at(text.get(..text.len() - before.len()).unwrap_or("").as_bytes(), problem);
            let series = match line(rest).map_err(failed)? {
                Line::Skip(after) => {
                    rest = after;
                    continue;
                }
                Line::Series(series) => series,
            };
            let (index, length) = match self.expected(series, expected) {
                Some(length) => (expected, length),
                None => self.find(series, read).map_err(failed)?,
            };
            expected = index + 1;
            let (number, after) = value(series.get(length..).unwrap_or("")).map_err(failed)?;
            rest = after;
            let Some(entry) = self.entries.get_mut(index as usize) else { continue };
            let before_this = std::mem::replace(&mut entry.seen, self.scrape);
            if before_this == self.scrape {
                continue;
            }
            read.order.push(index);
            if !entry.keep || read.values.len() >= read.keep.max_series {
                read.dropped += 1;
                continue;
            }
            read.added += u64::from(before_this == 0);
            read.kept.push(index);
            read.values.push(number);
        }
        Ok(())
    }

    /// Whether `series` begins with the text of the entry at `position`, and that text's length.
    fn expected(&self, series: &str, position: u32) -> Option<usize> {
        let entry = self.entries.get(position as usize)?;
        let tail = series.as_bytes().strip_prefix(entry.written.text.as_bytes())?;
        // A name could be the beginning of a longer name, or have braces after a blank.
        let ends = matches!(tail, [b' ', b'0'..=b'9' | b'+' | b'-' | b'N' | b'I', ..]);
        ends.then_some(entry.written.text.len())
    }

    fn find(&mut self, series: &str, read: &mut Read<'_>) -> Result<(u32, usize), &'static str> {
        let length = series_len(series)?;
        let text = series.get(..length).ok_or("no series")?;
        let index = read.index.get_or_insert_with(|| {
            self.entries.iter().zip(0..).map(|(entry, at)| (Arc::clone(&entry.written.text), at)).collect()
        });
        if let Some(index) = index.get(text) {
            return Ok((*index, length));
        }
        let written = self.pool.get(text)?;
        let dropped = read.keep.drop.iter().any(|rule| {
            let name = written.series.metric();
            rule.find(name).is_some_and(|found| found.len() == name.len())
        });
        let at = u32::try_from(self.entries.len()).map_err(|_| "too many series")?;
        index.insert(Arc::clone(&written.text), at);
        self.entries.push(Entry { written, seen: 0, keep: !dropped });
        Ok((at, length))
    }
}

fn at(before: &[u8], problem: &'static str) -> ExpositionError {
    ExpositionError { line: 1 + before.iter().filter(|b| **b == b'\n').count(), problem }
}
