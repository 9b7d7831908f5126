//! `label_replace` and `label_join`.

use regex::Regex;

use super::EvalError;
use super::rows::Row;

/// Arguments after the vector: destination, replacement, source, regular expression.
pub(super) fn replace(mut rows: Vec<Row>, texts: &[&str]) -> Result<Vec<Row>, EvalError> {
    let function = "label_replace";
    let [destination, replacement, source, pattern] = texts else {
        return Err(EvalError::internal("label_replace without its strings"));
    };
    let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| EvalError::BadArgument {
        function,
        reason: format!("invalid regular expression {pattern:?}"),
    })?;
    check_name(function, destination)?;
    for row in &mut rows {
        if let Some(captures) = regex.captures(row.labels.get(source).unwrap_or("")) {
            let mut value = String::new();
            captures.expand(replacement, &mut value);
            row.labels = row.labels.with(destination, &value);
        }
    }
    Ok(rows)
}

/// Arguments after the vector: destination, separator, sources.
pub(super) fn join(mut rows: Vec<Row>, texts: &[&str]) -> Result<Vec<Row>, EvalError> {
    let function = "label_join";
    let [destination, separator, sources @ ..] = texts else {
        return Err(EvalError::internal("label_join without its strings"));
    };
    for name in sources.iter().chain([destination]) {
        check_name(function, name)?;
    }
    for row in &mut rows {
        let values: Vec<&str> = sources.iter().map(|name| row.labels.get(name).unwrap_or("")).collect();
        row.labels = row.labels.with(destination, &values.join(separator));
    }
    Ok(rows)
}

/// Label names are `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(super) fn check_name(function: &'static str, name: &str) -> Result<(), EvalError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    Err(EvalError::BadArgument { function, reason: format!("invalid label name {name:?}") })
}
