//! Matchers as configuration writes them: `severity = "critical"`, `cluster =~ "prod-.*"`.

use crate::model::{MatchOp, Matcher, MatcherError};

/// Text that is no matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchersError {
    #[error("{text:?} is not a matcher; write it like severity=\"critical\" or cluster=~\"prod-.*\"")]
    Syntax { text: String },
    #[error(transparent)]
    Regex(#[from] MatcherError),
}

/// Reads one matcher; the quotes around the value may be left out.
///
/// # Errors
/// When the text has no operator or label name, or its regular expression does not compile.
pub fn parse_matcher(text: &str) -> Result<Matcher, MatchersError> {
    let syntax = || MatchersError::Syntax { text: text.to_owned() };
    let at = text.find(['=', '!']).ok_or_else(syntax)?;
    let (name, rest) = text.split_at(at);
    // Two-character operators first: `=` is a prefix of `=~`.
    let operators =
        [("=~", MatchOp::Regex), ("!~", MatchOp::NotRegex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)];
    let (op, value) = operators
        .iter()
        .find_map(|(sign, op)| rest.strip_prefix(sign).map(|value| (*op, value)))
        .ok_or_else(syntax)?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() || !is_name || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(syntax());
    }
    let value = match value.strip_prefix('"') {
        Some(quoted) => unescaped(quoted).ok_or_else(syntax)?,
        None => value.to_owned(),
    };
    Ok(Matcher::new(name, op, &value)?)
}

/// The text up to the closing quote, which must be its end. As Alertmanager reads it: `\n`, `\"` and
/// `\\` are escapes, any other backslash is itself, so that regular expressions need no second one.
fn unescaped(quoted: &str) -> Option<String> {
    let (mut text, mut rest) = (String::new(), quoted.chars());
    while let Some(next) = rest.next() {
        match next {
            '"' => return rest.next().is_none().then_some(text),
            '\\' => match rest.next()? {
                'n' => text.push('\n'),
                same @ ('"' | '\\') => text.push(same),
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_four_operators() {
        for (text, name, op, value) in [
            ("severity=critical", "severity", MatchOp::Equal, "critical"),
            ("severity = \"critical\"", "severity", MatchOp::Equal, "critical"),
            ("a!=b", "a", MatchOp::NotEqual, "b"),
            ("a=~\"x|y\"", "a", MatchOp::Regex, "x|y"),
            ("a!~x", "a", MatchOp::NotRegex, "x"),
            ("a=", "a", MatchOp::Equal, ""),
            (r#"a="say \"hi\" \\""#, "a", MatchOp::Equal, r#"say "hi" \"#),
            (r#"a=~"\d+\.x""#, "a", MatchOp::Regex, r"\d+\.x"),
        ] {
            let matcher = parse_matcher(text).expect(text);
            assert_eq!(
                (matcher.name.as_str(), matcher.op, matcher.value.as_str()),
                (name, op, value),
                "{text}"
            );
        }
        for bad in ["", "critical", "=x", "a!b", "1a=b", "a-b=c", "a=\"b", "a=\"b\"c\"", "a=~("] {
            assert!(parse_matcher(bad).is_err(), "{bad}");
        }
    }
}
