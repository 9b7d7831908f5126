//! Series texts seen before, with their labels.

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;

use super::{ExpositionError, Line, labels, line, series_len, value};
use crate::model::{Labels, ScrapedSample};

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
    pub samples: Vec<ScrapedSample>,
    /// Series left out by a drop rule or the cap.
    pub dropped: u64,
    /// Kept series that the scrape before did not have.
    pub added: u64,
}

/// One member's series texts of its last scrape.
#[derive(Debug, Default)]
pub struct SeriesCache {
    /// In the order of the last scrape.
    entries: Vec<Entry>,
    /// Positions in `entries`.
    by_text: HashMap<Arc<str>, usize>,
    scrape: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    text: Arc<str>,
    labels: Labels,
    keep: bool,
    /// The scrape that had it last.
    seen: u64,
}

impl SeriesCache {
    /// Reads one body. A series that stands twice keeps its first value, as in Prometheus.
    ///
    /// # Errors
    /// With the first line that does not follow the format; nothing of the body counts then.
    pub fn read(&mut self, body: &[u8], keep: &Keep) -> Result<Taken, ExpositionError> {
        let text = std::str::from_utf8(body)
            .map_err(|e| at(body.get(..e.valid_up_to()).unwrap_or_default(), "not UTF-8"))?;
        self.scrape += 1;
        let mut order = Vec::with_capacity(self.entries.len());
        let known = self.entries.len();
        let taken = self.read_text(text, keep, &mut order);
        if taken.is_err() {
            // A body that fails each time in another way must not fill the memory.
            self.entries.truncate(known);
            self.by_text.retain(|_, index| *index < known);
        } else if order.len() != self.entries.len() || !order.is_sorted() {
            self.reorder(&order);
        }
        taken
    }

    /// Series texts held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn read_text(
        &mut self,
        text: &str,
        keep: &Keep,
        order: &mut Vec<usize>,
    ) -> Result<Taken, ExpositionError> {
        let mut taken = Taken { samples: Vec::with_capacity(self.entries.len()), ..Taken::default() };
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
                None => self.find(series, keep).map_err(failed)?,
            };
            expected = index + 1;
            let (number, after) = value(series.get(length..).unwrap_or("")).map_err(failed)?;
            rest = after;
            let Some(entry) = self.entries.get_mut(index) else { continue };
            let before_this = std::mem::replace(&mut entry.seen, self.scrape);
            if before_this == self.scrape {
                continue;
            }
            order.push(index);
            if !entry.keep || taken.samples.len() >= keep.max_series {
                taken.dropped += 1;
                continue;
            }
            taken.added += u64::from(before_this == 0);
            taken.samples.push(ScrapedSample { labels: entry.labels.clone(), value: number });
        }
        Ok(taken)
    }

    /// Whether `series` begins with the text of the entry at `position`, and that text's length.
    fn expected(&self, series: &str, position: usize) -> Option<usize> {
        let entry = self.entries.get(position)?;
        let tail = series.as_bytes().strip_prefix(entry.text.as_bytes())?;
        // A name could be the beginning of a longer name, or have braces after a blank.
        let ends = matches!(tail, [b' ', b'0'..=b'9' | b'+' | b'-' | b'N' | b'I', ..]);
        ends.then_some(entry.text.len())
    }

    fn find(&mut self, series: &str, keep: &Keep) -> Result<(usize, usize), &'static str> {
        let length = series_len(series)?;
        let text = series.get(..length).ok_or("no series")?;
        if let Some(index) = self.by_text.get(text) {
            return Ok((*index, length));
        }
        let labels = labels(text)?;
        let dropped = keep.drop.iter().any(|rule| {
            let name = labels.metric_name();
            rule.find(name).is_some_and(|found| found.len() == name.len())
        });
        let text: Arc<str> = text.into();
        let index = self.entries.len();
        self.by_text.insert(Arc::clone(&text), index);
        self.entries.push(Entry { text, labels, keep: !dropped, seen: 0 });
        Ok((index, length))
    }

    /// Forgets what the scrape did not have and takes over its order.
    fn reorder(&mut self, order: &[usize]) {
        self.entries = order.iter().filter_map(|index| self.entries.get(*index).cloned()).collect();
        self.by_text = self.entries.iter().enumerate().map(|(at, e)| (Arc::clone(&e.text), at)).collect();
    }
}

fn at(before: &[u8], problem: &'static str) -> ExpositionError {
    ExpositionError { line: 1 + before.iter().filter(|b| **b == b'\n').count(), problem }
}
