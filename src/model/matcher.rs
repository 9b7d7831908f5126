//! Label matchers: `=`, `!=`, `=~`, `!~`. Regular expressions are anchored at both ends, as in Prometheus.

use std::fmt;

use regex::Regex;

use super::{Labels, pattern};

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

/// A regular expression that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("regular expression {pattern:?} of label {name:?} is not valid: {reason}")]
pub struct MatcherError {
    name: String,
    pattern: String,
    reason: String,
}

/// A condition on one label. An absent label has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// # Errors
    /// When `op` is a regular expression and `value` does not compile.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, MatcherError> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(pattern::anchored(value).map_err(|reason| {
                MatcherError { name: name.to_owned(), pattern: value.to_owned(), reason }
            })?),
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), op: MatchOp::Equal, value: value.to_owned(), regex: None }
    }

    /// Whether a label of this value (empty when absent) fits.
    pub fn matches_value(&self, value: &str) -> bool {
        let hit = self.regex.as_ref().map_or_else(|| self.value == value, |regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal | MatchOp::Regex => hit,
            MatchOp::NotEqual | MatchOp::NotRegex => !hit,
        }
    }

    /// Whether the label set fits.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.name).unwrap_or(""))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        write!(f, "{}{op}{:?}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_label_is_an_empty_one() {
        let labels = Labels::from_pairs([("a", "x")]);
        let fits = |name, op, value| Matcher::new(name, op, value).expect("compiles").matches(&labels);
        assert!(fits("b", MatchOp::Equal, ""));
        assert!(fits("b", MatchOp::NotEqual, "x"));
        assert!(fits("b", MatchOp::Regex, ".*"));
        assert!(!fits("b", MatchOp::Regex, ".+"));
        assert!(fits("a", MatchOp::NotRegex, "y|z"));
    }

    #[test]
    fn regular_expressions_are_anchored() {
        let matcher = Matcher::new("a", MatchOp::Regex, "et|cd").expect("compiles");
        assert!(matcher.matches_value("et") && matcher.matches_value("cd"));
        assert!(!matcher.matches_value("etcd"));
    }

    #[test]
    fn a_bad_regular_expression_names_label_and_pattern() {
        let error = Matcher::new("le", MatchOp::Regex, "(").expect_err("does not compile").to_string();
        assert!(error.contains("\"(\"") && error.contains("\"le\""), "{error}");
    }
}
