//! The rule files that come with the program.

use super::file::{self, RuleFileError};
use super::rule::RuleGroup;

const DEFAULT: &str = include_str!("packs/default.yaml");
const MIXIN: &str = include_str!("packs/mixin.yaml");

/// The pack that is on unless it is turned off: one rule per cause, thresholds from etcd's documentation and
/// operating practice.
///
/// # Errors
/// Never in a released program: a test reads the same text.
pub fn default_pack() -> Result<Vec<RuleGroup>, Vec<RuleFileError>> {
    file::parse("default.yaml", DEFAULT)
}

/// The pack that is off unless it is turned on: the rules of etcd's own Prometheus mixin, with its names,
/// expressions and severities.
///
/// # Errors
/// Never in a released program: a test reads the same text.
pub fn mixin_pack() -> Result<Vec<RuleGroup>, Vec<RuleFileError>> {
    file::parse("mixin.yaml", MIXIN)
}

#[cfg(test)]
mod tests;
