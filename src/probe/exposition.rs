//! Prometheus' text format 0.0.4, read as Prometheus 2.42 reads it: one malformed line fails the scrape.
//!
//! The text of a series (name and labels) is parsed once. After that [`SeriesCache`] recognises it: etcd
//! writes its series in the same order at each scrape, so the next expected text is compared first and in
//! the steady state nothing is searched or allocated.

mod cache;
mod pool;

use crate::model::{Label, Labels, METRIC_NAME};

pub use cache::{Keep, SeriesCache, Taken};
pub use pool::SeriesPool;

/// What does not follow the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ExpositionError {
    /// From 1.
    pub line: usize,
    pub problem: &'static str,
}

/// Labels that the monitor sets itself; a scraped one of that name becomes `exported_…`, as in Prometheus.
const OWN_LABELS: [(&str, &str); 3] =
    [("cluster", "exported_cluster"), ("instance", "exported_instance"), ("job", "exported_job")];

/// What a line holds.
enum Line<'a> {
    /// Empty or a comment; the text after it.
    Skip(&'a str),
    /// A sample: the text begins with its series.
    Series(&'a str),
}

/// Looks at the beginning of the line that `text` starts with.
fn line(text: &str) -> Result<Line<'_>, &'static str> {
    let text = text.trim_start_matches([' ', '\t']);
    match text.as_bytes().first() {
        None => Ok(Line::Skip("")),
        Some(b'\n' | b'#') => {
            let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
            comment(line)?;
            Ok(Line::Skip(rest))
        }
        Some(_) => Ok(Line::Series(text)),
    }
}

/// `# TYPE` and `# HELP` must be well formed; any other comment may say anything.
fn comment(line: &str) -> Result<(), &'static str> {
    let mut words = line.trim_start_matches('#').split([' ', '\t']).filter(|word| !word.is_empty());
    let spaced = line.starts_with("# ") || line.starts_with("#\t");
    match words.next().filter(|_| spaced) {
        Some("TYPE") => {
            let named = words.next().is_some_and(is_metric_name);
            let known = ["counter", "gauge", "histogram", "summary", "untyped"];
            let typed = words.next().is_some_and(|word| known.contains(&word)) && words.next().is_none();
            if named && typed { Ok(()) } else { Err("malformed # TYPE") }
        }
        Some("HELP") if !words.next().is_some_and(is_metric_name) => Err("malformed # HELP"),
        _ => Ok(()),
    }
}

fn is_metric_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// The length of the series text at the start of `text`: a name, and labels in braces if there are any.
fn series_len(text: &str) -> Result<usize, &'static str> {
    let bytes = text.as_bytes();
    let name = bytes.iter().position(|b| matches!(b, b' ' | b'\t' | b'{' | b'\n')).ok_or("no value")?;
    // Blanks may stand between the name and its brace.
    let gap = bytes.iter().skip(name).position(|b| !matches!(b, b' ' | b'\t')).ok_or("no value")?;
    if bytes.get(name + gap) != Some(&b'{') {
        return Ok(name);
    }
    let mut at = name + gap;
    let mut quoted = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Ok(at + 1),
            b'\n' if !quoted => return Err("the label list does not end"),
            _ => {}
        }
        at += 1;
    }
    Err("the label list does not end")
}

/// Value (and timestamp, which is checked and not used) after a series, and the text of the next line.
fn value(text: &str) -> Result<(f64, &str), &'static str> {
    if let Some(whole) = whole_number(text) {
        return Ok(whole);
    }
    let (line, rest) = match text.as_bytes().iter().position(|b| *b == b'\n') {
        Some(end) => (text.get(..end).unwrap_or(""), text.get(end + 1..).unwrap_or("")),
        None => (text, ""),
    };
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let number = words.next().ok_or("no value")?;
    let value = number.parse().map_err(|_| "the value is no number")?;
    if let Some(timestamp) = words.next() {
        timestamp.parse::<i64>().map_err(|_| "the timestamp is no whole number")?;
    }
    if words.next().is_some() {
        return Err("text after the timestamp");
    }
    Ok((value, rest))
}

/// The form that most values have: a blank, up to 15 digits (exact in an f64), the end of the line.
fn whole_number(text: &str) -> Option<(f64, &str)> {
    let digits = text.as_bytes().strip_prefix(b" ")?;
    let mut number = 0_u64;
    for (at, byte) in digits.iter().enumerate().take(16) {
        match byte {
            b'0'..=b'9' if at < 15 => number = number * 10 + u64::from(byte - b'0'),
            b'\n' if at > 0 => {
                #[expect(clippy::cast_precision_loss, reason = "below 10^15")]
                let value = number as f64;
                return Some((value, text.get(at + 2..)?));
            }
            _ => return None,
        }
    }
    None
}

/// The labels of a series text.
fn labels(series: &str) -> Result<Labels, &'static str> {
    let (name, list) = match series.split_once('{') {
        Some((name, list)) => (name.trim_end_matches([' ', '\t']), list.strip_suffix('}').ok_or("no }")?),
        None => (series, ""),
    };
    if !is_metric_name(name) {
        return Err("malformed metric name");
    }
    let mut labels = vec![Label::new(METRIC_NAME, name)];
    let mut rest = blank(list);
    while !rest.is_empty() {
        let (label, tail) = rest.split_once('=').ok_or("a label without =")?;
        let label = label.trim_end_matches([' ', '\t']);
        if !is_metric_name(label) || label.contains(':') {
            return Err("malformed label name");
        }
        let (text, tail) = quoted(blank(tail)).ok_or("malformed label value")?;
        let label = OWN_LABELS.iter().find(|(own, _)| *own == label).map_or(label, |(_, exported)| exported);
        if labels.iter().any(|there| &*there.name == label) {
            return Err("a label stands twice");
        }
        labels.push(Label::new(label, text));
        let tail = blank(tail);
        rest = match tail.strip_prefix(',') {
            Some(tail) => blank(tail),
            None if tail.is_empty() => tail,
            None => return Err("no comma between labels"),
        };
    }
    Ok(Labels::new(labels))
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// A quoted value with its escapes resolved (an unknown escape stays as it is), and the text after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests;
