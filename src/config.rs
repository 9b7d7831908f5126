//! TOML → typed values, with environment overrides; secrets resolved late.

mod document;
pub use document::{ConfigError, ConfigErrors, Document};
