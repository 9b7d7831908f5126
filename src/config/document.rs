//! A TOML file read section by section, so that one check reports every error with its line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or what else the value came from (`environment`, `command line`).
    pub source: String,
    /// Line in the file, from 1, where known.
    pub line: Option<usize>,
    /// The key, dotted: `cluster[1].endpoints`. Empty when the file as a whole is wrong.
    pub key: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything wrong with the configuration, in file order. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// The parsed file. Sections are taken out one by one; what is left at the end is unknown.
pub struct Document<'i> {
    source: String,
    text: &'i str,
    table: DeTable<'i>,
    /// The dotted keys that the environment set, with their variables' names.
    from_environment: Vec<(String, String)>,
    pub errors: Vec<ConfigError>,
    /// What else was read on the way.
    pub files: Vec<PathBuf>,
}

impl<'i> Document<'i> {
    /// Parses `text`; syntax errors go to `errors` and leave what could be read.
    pub fn parse(source: &str, text: &'i str) -> Self {
        let (table, syntax) = DeTable::parse_recoverable(text);
        let table = table.into_inner();
        let mut document = Self {
            source: source.to_owned(),
            text,
            table,
            from_environment: Vec::new(),
            errors: Vec::new(),
            files: Vec::new(),
        };
        for error in syntax {
            document.report(error.span().map(|span| span.start), "", error.message());
        }
        document
    }

    /// Sets `path` to the value that the environment `variable` spells: a TOML value where it parses as one,
    /// else a string.
    pub fn set(&mut self, variable: &str, path: &[String], text: &'i str) {
        let parsed = DeValue::parse(text).map(Spanned::into_inner).ok();
        let value = match parsed {
            Some(value) if !matches!(value, DeValue::Datetime(_)) => value,
            _ => DeValue::String(text.into()),
        };
        let Some((last, parents)) = path.split_last() else { return };
        self.from_environment.push((path.join("."), variable.to_owned()));
        let mut table = &mut self.table;
        for name in parents {
            let slot = table
                .entry(Spanned::new(0..0, DeString::from(name.clone())))
                .or_insert_with(|| Spanned::new(0..0, DeValue::Table(DeTable::new())));
            let DeValue::Table(inner) = slot.get_mut() else {
                let message = format!("{name} is not a table, so nothing can be set inside it");
                self.environment_error(variable, path.join("."), message);
                return;
            };
            table = inner;
        }
        // Removing first drops the file's span, which would name a wrong line in an error.
        let key = DeString::from(last.clone());
        table.remove(key.as_ref());
        table.insert(Spanned::new(0..0, key), Spanned::new(0..0, value));
    }

    /// Takes the section `key`; absent means the default. An error is recorded and gives the default.
    pub fn section<T: DeserializeOwned + Default>(&mut self, key: &str) -> T {
        match self.table.remove(key) {
            None => T::default(),
            Some(value) => self.typed(key, value).unwrap_or_default(),
        }
    }

    /// The line of the section `key`, and those of the elements of its arrays of tables, before it is taken.
    pub fn lines_of(&self, key: &str) -> (Option<usize>, BTreeMap<(String, usize), usize>) {
        let mut elements = BTreeMap::new();
        let Some((name, value)) = self.table.get_key_value(key) else { return (None, elements) };
        for (array, value) in value.get_ref().as_table().into_iter().flatten() {
            for (at, element) in value.get_ref().as_array().into_iter().flatten().enumerate() {
                let line = self.line(element.span().start);
                elements.extend(line.map(|line| ((array.get_ref().to_string(), at), line)));
            }
        }
        (self.line(name.span().start), elements)
    }

    /// Takes the array of tables `[[key]]`; elements that do not fit are recorded and left out. Each comes
    /// with its line.
    pub fn elements<T: DeserializeOwned>(&mut self, key: &str) -> Vec<(Option<usize>, T)> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let start = value.span().start;
        let DeValue::Array(array) = value.into_inner() else {
            self.report(Some(start), key, &format!("write it as [[{key}]]"));
            return Vec::new();
        };
        let mut elements = Vec::new();
        for (n, value) in array.into_iter().enumerate() {
            let line = self.line(value.span().start);
            if let Some(element) = self.typed(&format!("{key}[{n}]"), value) {
                elements.push((line, element));
            }
        }
        elements
    }

    /// Takes the table of tables `[key.<name>]`.
    pub fn named<T: DeserializeOwned>(&mut self, key: &str) -> Vec<(String, Option<usize>, T)> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let start = value.span().start;
        let DeValue::Table(table) = value.into_inner() else {
            self.report(Some(start), key, &format!("write it as [{key}.<name>]"));
            return Vec::new();
        };
        let mut named = Vec::new();
        for (name, value) in table {
            let (line, name) = (self.line(name.span().start), name.into_inner().into_owned());
            if let Some(element) = self.typed(&format!("{key}.{name}"), value) {
                named.push((name, line, element));
            }
        }
        named
    }

    /// Records every section nobody took.
    pub fn finish(&mut self, known: &[&str]) {
        let left: Vec<(usize, String)> =
            self.table.keys().map(|key| (key.span().start, key.get_ref().to_string())).collect();
        for (start, key) in left {
            self.report(Some(start), &key, &format!("unknown key; known are {}", known.join(", ")));
        }
        self.errors.sort_by_key(|error| error.line.unwrap_or(usize::MAX));
    }

    /// Records an error at `line`.
    pub fn error_at(&mut self, line: Option<usize>, key: &str, message: impl Into<String>) {
        self.errors.push(ConfigError {
            source: self.source.clone(),
            line,
            key: key.to_owned(),
            message: message.into(),
        });
    }

    fn typed<T: DeserializeOwned>(&mut self, key: &str, value: Spanned<DeValue<'i>>) -> Option<T> {
        let start = value.span().start;
        let mut places = Vec::new();
        nested(key, &value, &mut places);
        let error = match T::deserialize(value.into_deserializer()) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        // What the environment set has no place in the file.
        let at = error.span().filter(|span| span.end > 0).map(|span| span.start);
        let prefix = format!("{key}.");
        let set = self.from_environment.iter().find(|(set, _)| at.is_none() && set.starts_with(&prefix));
        if let Some((set, variable)) = set.cloned() {
            self.environment_error(&variable, set, error.message().replace('\n', " "));
            return None;
        }
        let at = at.unwrap_or(start);
        // Containers come before what they hold.
        let innermost = places.into_iter().rev().find(|(span, _)| span.contains(&at));
        let key = innermost.map_or_else(|| key.to_owned(), |(_, key)| key);
        self.report(Some(at), &key, error.message());
        None
    }

    fn environment_error(&mut self, variable: &str, key: String, message: String) {
        let source = format!("environment variable {variable}");
        self.errors.push(ConfigError { source, line: None, key, message });
    }

    fn report(&mut self, at: Option<usize>, key: &str, message: &str) {
        let line = at.and_then(|at| self.line(at));
        self.error_at(line, key, message.replace('\n', " "));
    }

    /// The line of a byte offset; offset 0 with no text before it is a value from the environment.
    fn line(&self, at: usize) -> Option<usize> {
        (!self.text.is_empty()).then(|| self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1)
    }
}

/// Where the values inside `value` are in the text, with their dotted keys.
fn nested(key: &str, value: &Spanned<DeValue<'_>>, places: &mut Vec<(std::ops::Range<usize>, String)>) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (name, value) in table {
                let key = format!("{key}.{}", name.get_ref());
                // A table's own span is its header line, which names it already.
                if !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
                    places.push((value.span(), key.clone()));
                }
                nested(&key, value, places);
            }
        }
        DeValue::Array(array) => {
            for (n, value) in array.iter().enumerate() {
                let key = format!("{key}[{n}]");
                places.push((value.span(), key.clone()));
                nested(&key, value, places);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
    struct Section {
        max_size: u64,
        name: String,
    }

    #[test]
    fn every_error_is_reported_with_its_line() {
        let text = "[a]\nmax-size = 'x'\n[b]\nmax-sice = 1\n[[c]]\nname = 'ok'\n[[c]]\nname = 3\n[d]\n";
        let mut document = Document::parse("etcd-monitor.toml", text);
        let _: Section = document.section("a");
        let _: Section = document.section("b");
        let c: Vec<(Option<usize>, Section)> = document.elements("c");
        document.finish(&["a", "b", "c"]);
        assert_eq!(c.len(), 1);
        let lines: Vec<(Option<usize>, &str)> =
            document.errors.iter().map(|e| (e.line, e.key.as_str())).collect();
        assert_eq!(lines, [(Some(2), "a.max-size"), (Some(4), "b"), (Some(8), "c[1].name"), (Some(9), "d")]);
        assert!(document.errors[1].to_string().contains("etcd-monitor.toml:4: b: unknown field `max-sice`"));
    }

    #[test]
    fn the_environment_sets_typed_values() {
        let mut document = Document::parse("f.toml", "[a]\nmax-size = 1\n");
        document.set("V", &["a".into(), "max-size".into()], "7");
        document.set("W", &["a".into(), "name".into()], "plain text: not TOML");
        let a: Section = document.section("a");
        assert_eq!(a, Section { max_size: 7, name: "plain text: not TOML".into() });
        assert!(document.errors.is_empty());
    }

    #[test]
    fn a_wrong_value_of_the_environment_names_its_variable() {
        let mut document = Document::parse("f.toml", "[a]\nname = 'n'\n");
        document.set("ETCD_MONITOR__A__MAX_SIZE", &["a".into(), "max-size".into()], "much");
        let _: Section = document.section("a");
        let said = document.errors[0].to_string();
        assert!(said.starts_with("environment variable ETCD_MONITOR__A__MAX_SIZE: a.max-size: "), "{said}");
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let document = Document::parse("f.toml", "[a]\nmax-size = \n");
        assert_eq!(document.errors[0].line, Some(2));
    }
}
