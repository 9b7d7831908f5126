//! One thing that was looked at, what it is measured by, and what to do about it.

use serde::{Deserialize, Serialize};

/// How something came out; ordered, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Pass,
    /// Nobody can say; no worse than what is bad.
    Unknown,
    Warning,
    Critical,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A check with its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The name of the rule.
    pub id: String,
    pub level: Level,
    /// What was measured or read, with figures.
    pub found: String,
    /// What it is measured by.
    pub rule: String,
    /// Where the rule is from.
    pub source: String,
    /// What to do; empty where there is nothing to.
    pub advice: String,
}

impl Check {
    /// One with its outcome; what passes needs no advice.
    pub fn new(id: &str, level: Level, found: String, rule: &str, source: &str, advice: &str) -> Self {
        let advice = if level == Level::Pass { "" } else { advice };
        let [id, rule, source, advice] = [id, rule, source, advice].map(str::to_owned);
        Self { id, level, found, rule, source, advice }
    }
}
