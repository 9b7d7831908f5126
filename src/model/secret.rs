//! A reference to a secret. Configuration holds references; only `config` resolves them.

use serde::{Deserialize, Serialize};

/// Where a secret is: `{ env = "NAME" }` or `{ file = "/path" }`. Printing it shows the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SecretRef {
    /// The value of an environment variable.
    Env(String),
    /// The content of a file, without the newline at its end.
    File(std::path::PathBuf),
}
