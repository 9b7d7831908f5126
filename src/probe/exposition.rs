//! The Prometheus text format 0.0.4, as `/metrics` of etcd speaks it.
//!
//! A line that does not fit fails the whole scrape with its number, as in Prometheus: half a scrape would
//! look like series that ended. Comments, HELP and TYPE are skipped; timestamps are read and ignored, as all
//! samples of a scrape carry the scrape's start.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Label, Labels, METRIC_NAME, ScrapedSample};

/// A body that is not the text format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the metrics is malformed: {reason}")]
pub struct ExpositionError {
    pub line: usize,
    pub reason: &'static str,
}

/// What a parse gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    pub samples: Vec<ScrapedSample>,
    /// Series beyond the cap, not in `samples`.
    pub dropped: u64,
}

/// Labels by the raw text of their series, kept per target from scrape to scrape: a scrape that brings the
/// series of the last one allocates no label at all.
#[derive(Debug, Default)]
pub struct SeriesCache {
    known: HashMap<Box<str>, (Labels, u64)>,
    texts: HashSet<Arc<str>>,
    generation: u64,
}

impl SeriesCache {
    /// Parses a body; at most `max_series` samples are kept.
    ///
    /// # Errors
    /// At the first line that does not fit.
    pub fn parse(&mut self, body: &str, max_series: usize) -> Result<Parsed, ExpositionError> {
        self.generation += 1;
        let mut parsed = Parsed { samples: Vec::with_capacity(self.known.len()), dropped: 0 };
        for (n, line) in body.split('\n').enumerate() {
            let fail = |reason| ExpositionError { line: n + 1, reason };
            let line = line.trim_start_matches([' ', '\t']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let series_end = series_end(line).map_err(fail)?;
            let (series, rest) = line.split_at(series_end);
            let value = value(rest).map_err(fail)?;
            if parsed.samples.len() >= max_series {
                parsed.dropped += 1;
                continue;
            }
            let labels = self.labels(series).map_err(fail)?;
            parsed.samples.push(ScrapedSample { labels, value });
        }
        self.forget_gone();
        Ok(parsed)
    }

    fn labels(&mut self, series: &str) -> Result<Labels, &'static str> {
        let generation = self.generation;
        if let Some((labels, seen)) = self.known.get_mut(series) {
            *seen = generation;
            return Ok(labels.clone());
        }
        let labels = self.parse_series(series)?;
        self.known.insert(series.into(), (labels.clone(), generation));
        Ok(labels)
    }

    /// `name`, `name{}`, or `name{a="b",c="d",}` with blanks between the parts.
    fn parse_series(&mut self, series: &str) -> Result<Labels, &'static str> {
        let name_end = series.find(['{', ' ', '\t']).unwrap_or(series.len());
        let (name, rest) = series.split_at(name_end);
        let mut labels = vec![Label { name: self.text(METRIC_NAME), value: self.text(name) }];
        let Some(mut rest) = rest.trim_matches([' ', '\t']).strip_prefix('{') else {
            return Ok(Labels::new(labels));
        };
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            if rest.starts_with('}') {
                break;
            }
            let (label, tail) = rest.split_once('=').ok_or("a label has no value")?;
            let label = label.trim_end_matches([' ', '\t']);
            if !is_label_name(label) {
                return Err("a label's name is not valid");
            }
            let tail = tail
                .trim_start_matches([' ', '\t'])
                .strip_prefix('"')
                .ok_or("a label's value is not quoted")?;
            let (value, tail) = unescape(tail)?;
            if labels.iter().any(|known| &*known.name == label) {
                return Err("a label is there twice");
            }
            labels.push(Label { name: self.text(label), value: self.text(&value) });
            rest = tail.trim_start_matches([' ', '\t']);
            match rest.strip_prefix(',') {
                Some(tail) => rest = tail,
                None if rest.starts_with('}') => {}
                None => return Err("labels are not separated by a comma"),
            }
        }
        Ok(Labels::new(labels))
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&shared));
        shared
    }

    /// Series that are gone for good must not stay in memory; a quarter of slack spares most scrapes the walk.
    fn forget_gone(&mut self) {
        let generation = self.generation;
        let current = self.known.values().filter(|(_, seen)| *seen == generation).count();
        if self.known.len() > current + current / 4 + 16 {
            self.known.retain(|_, (_, seen)| *seen == generation);
            self.texts.retain(|text| Arc::strong_count(text) > 1);
        }
    }
}

/// Where the series ends and the blank before the value begins.
fn series_end(line: &str) -> Result<usize, &'static str> {
    let bytes = line.as_bytes();
    let name_end = bytes.iter().position(|b| !is_name_byte(*b)).unwrap_or(bytes.len());
    if name_end == 0 || bytes.first().is_some_and(u8::is_ascii_digit) {
        return Err("a metric's name is expected");
    }
    let open = name_end + bytes.iter().skip(name_end).take_while(|b| matches!(b, b' ' | b'\t')).count();
    if bytes.get(open) != Some(&b'{') {
        return Ok(name_end);
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Ok(at + 1),
            _ => {}
        }
    }
    Err("the labels have no end")
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The value and, behind it, an optional timestamp in ms.
fn value(rest: &str) -> Result<f64, &'static str> {
    let mut parts = rest.split([' ', '\t']).filter(|part| !part.is_empty());
    let value = parts.next().ok_or("the value is missing")?;
    if let Some(timestamp) = parts.next()
        && timestamp.parse::<i64>().is_err()
    {
        return Err("what follows the value is no timestamp");
    }
    if parts.next().is_some() {
        return Err("the line goes on after the timestamp");
    }
    match value {
        "NaN" => Ok(f64::NAN),
        "+Inf" | "Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        // Rust reads "infinity" and "nan" in any case; Go, which wrote the format's rules, reads more than
        // digits too, but etcd writes only the three above.
        number if number.bytes().any(|b| b.is_ascii_digit()) => {
            number.parse().map_err(|_| "the value is no number")
        }
        _ => Err("the value is no number"),
    }
}

/// Text up to the closing quote, with `\\`, `\"` and `\n` undone; any other escape stays as it is.
fn unescape(text: &str) -> Result<(std::borrow::Cow<'_, str>, &str), &'static str> {
    let plain_end = text.find(['"', '\\']).ok_or("a label's value has no end")?;
    let (plain, rest) = text.split_at(plain_end);
    if let Some(tail) = rest.strip_prefix('"') {
        return Ok((plain.into(), tail));
    }
    let mut value = plain.to_owned();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value.into(), rest.get(at + 1..).unwrap_or_default())),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some(c @ ('\\' | '"')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("a label's value has no end")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &str) -> Result<Vec<(String, f64)>, ExpositionError> {
        let parsed = SeriesCache::default().parse(body, 10_000)?;
        Ok(parsed.samples.into_iter().map(|s| (s.labels.to_string(), s.value)).collect())
    }

    #[test]
    fn reads_what_etcd_writes() {
        let body = "# HELP x text with \"quotes\" and } signs\n# TYPE x counter\nx 1\n\
            x{a=\"b\",c=\"}\"} 2.5e3 1700000000000\n  y:z { a = \"q\\\"\\\\\\n\" , } +Inf\nn NaN\nm{} -Inf\n\n";
        let read = parse(body).expect("well formed");
        assert_eq!(read.len(), 5);
        assert_eq!(read[0], ("x".to_owned(), 1.0));
        assert_eq!(read[1], ("x{a=\"b\", c=\"}\"}".to_owned(), 2500.0));
        assert_eq!(read[2], ("y:z{a=\"q\\\"\\\\\\n\"}".to_owned(), f64::INFINITY));
        assert!(read[3].1.is_nan());
        assert_eq!(read[4], ("m".to_owned(), f64::NEG_INFINITY));
    }

    #[test]
    fn a_malformed_line_is_named_and_fails_the_scrape() {
        let cases = [
            ("x 1\n<html>\n", 2),
            ("x", 1),
            ("x{a=\"b\" 1", 1),
            ("x{a=b} 1", 1),
            ("x{a=\"b\" c=\"d\"} 1", 1),
            ("x{1a=\"b\"} 1", 1),
            ("x{a=\"1\",a=\"2\"} 1", 1),
            ("1x 1", 1),
            ("x one", 1),
            ("x 1 2 3", 1),
            ("x 1 soon", 1),
            ("x infinity", 1),
            ("{a=\"b\"} 1", 1),
        ];
        for (body, line) in cases {
            assert_eq!(parse(body).map_err(|error| error.line), Err(line), "{body}");
        }
    }

    #[test]
    fn the_cap_counts_what_it_drops() {
        let body = "a 1\nb 2\nc 3\n";
        let parsed = SeriesCache::default().parse(body, 2).expect("well formed");
        assert_eq!((parsed.samples.len(), parsed.dropped), (2, 1));
    }

    #[test]
    fn a_second_scrape_shares_the_labels_of_the_first_and_forgets_what_is_gone() {
        let mut cache = SeriesCache::default();
        let many: String = (0..100).map(|n| format!("m{{n=\"{n}\"}} {n}\n")).collect();
        let first = cache.parse(&many, 1000).expect("well formed");
        let second = cache.parse(&many, 1000).expect("well formed");
        assert_eq!(first, second);
        cache.parse("m{n=\"1\"} 1\n", 1000).expect("well formed");
        assert_eq!(cache.known.len(), 1);
    }

    proptest! {
        #[test]
        fn never_panics(body in "\\PC{0,80}|[a-z{}=\", \\\\\n0-9]{0,80}") {
            let _ = parse(&body);
        }

        #[test]
        fn written_series_read_back(name in "[a-z_:][a-z0-9_:]{0,8}", labels in prop::collection::btree_map("[a-z_][a-z0-9_]{0,5}", "[^\u{0}]{1,8}", 0..4), value in any::<f64>()) {
            let expected = Labels::from_pairs(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([(METRIC_NAME, name.as_str())]));
            let text = format!("{name}{{{}}} {}\n", expected.without(&[METRIC_NAME]).canonical(), match value {
                v if v == f64::INFINITY => "+Inf".to_owned(),
                v if v == f64::NEG_INFINITY => "-Inf".to_owned(),
                v if v.is_nan() => "NaN".to_owned(),
                v => v.to_string(),
            });
            let read = SeriesCache::default().parse(&text, 10).expect("well formed");
            prop_assert_eq!(&read.samples[0].labels, &expected);
            prop_assert!(read.samples[0].value == value || value.is_nan());
        }
    }
}
