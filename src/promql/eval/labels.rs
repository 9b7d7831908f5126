//! `label_replace` and `label_join`.

use regex::Regex;

use super::{Column, Steps, unique};
use crate::promql::EvalError;

pub(super) fn replace(
    columns: Vec<Column>,
    [target, replacement, source, pattern]: [&str; 4],
) -> Result<Steps, EvalError> {
    let regex = Regex::new(&format!("^(?s:{pattern})$")).map_err(|error| {
        EvalError::Argument(format!("invalid regular expression in label_replace(): {error}"))
    })?;
    check_name("label_replace", target)?;
    let replaced = columns.into_iter().map(|mut column| {
        if let Some(found) = regex.captures(column.labels.get(source).unwrap_or("")) {
            let mut value = String::new();
            found.expand(replacement, &mut value);
            column.labels = column.labels.with(target, &value);
        }
        column
    });
    unique(replaced.collect()).map(Steps::Vector)
}

pub(super) fn join(
    columns: Vec<Column>,
    target: &str,
    separator: &str,
    sources: &[&str],
) -> Result<Steps, EvalError> {
    check_name("label_join", target)?;
    let joined = columns.into_iter().map(|mut column| {
        let values: Vec<&str> =
            sources.iter().map(|source| column.labels.get(source).unwrap_or("")).collect();
        let value = values.join(separator);
        column.labels = column.labels.with(target, &value);
        column
    });
    unique(joined.collect()).map(Steps::Vector)
}

fn check_name(function: &str, name: &str) -> Result<(), EvalError> {
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if valid {
        Ok(())
    } else {
        Err(EvalError::Argument(format!("invalid destination label name in {function}(): {name}")))
    }
}
