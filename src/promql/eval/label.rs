//! `label_replace` and `label_join`.

use regex::Captures;

use super::EvalError;
use super::rows::Row;
use crate::model::pattern;

/// Arguments after the vector: destination, replacement, source, regular expression.
pub(super) fn replace(mut rows: Vec<Row>, texts: &[&str]) -> Result<Vec<Row>, EvalError> {
    let function = "label_replace";
    let [destination, replacement, source, regex] = texts else {
        return Err(EvalError::internal("label_replace without its strings"));
    };
    let regex = pattern::anchored(regex).map_err(|reason| EvalError::BadArgument {
        function,
        reason: format!("invalid regular expression {regex:?}: {reason}"),
    })?;
    check_name(function, destination)?;
    for row in &mut rows {
        if let Some(captures) = regex.captures(row.labels.get(source).unwrap_or("")) {
            row.labels = row.labels.with(destination, &expand(&captures, replacement));
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

/// `template` with `$1`, `${1}`, `$name`, `${name}` and `$$` replaced. As in Prometheus, any letters and digits
/// make a name, unknown names are empty, and a `$` that begins none of these stays.
fn expand(captures: &Captures<'_>, template: &str) -> String {
    let mut value = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        value.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            value.push('$');
            rest = after;
            continue;
        }
        match reference(after) {
            Some((name, after)) => {
                let by_number = name.parse().ok().filter(|_| name == "0" || !name.starts_with('0'));
                let found = by_number.map_or_else(|| captures.name(name), |number| captures.get(number));
                value.push_str(found.map_or("", |found| found.as_str()));
                rest = after;
            }
            None => {
                value.push('$');
                rest = after;
            }
        }
    }
    value + rest
}

/// The name or number at the start of `text`, in braces or bare, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (name, in_braces) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let (name, after) =
        name.split_at(name.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(name.len()));
    let after = if in_braces { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

/// Label names are `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(super) fn check_name(function: &'static str, name: &str) -> Result<(), EvalError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    Err(EvalError::BadArgument { function, reason: format!("invalid label name {name:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_name_groups() {
        let regex = pattern::anchored("(?P<head>.)(.*)").expect("compiles");
        let captures = regex.captures("etcd").expect("matches");
        for (template, expected) in [
            ("$1-$2", "e-tcd"),
            ("${1}1$0", "e1etcd"),
            ("$head${head}", "ee"),
            ("$1x$3$é$none", ""),
            ("$$1 $- ${1 ${a b} $", "$1 $- ${1 ${a b} $"),
            ("$01", ""),
            ("plain", "plain"),
        ] {
            assert_eq!(expand(&captures, template), expected, "{template}");
        }
    }
}
