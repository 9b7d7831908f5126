//! What a configuration was made from, to make it again for another set of clusters.

use std::path::PathBuf;

use super::{Config, ConfigErrors, Document, Effective, Environment, Overrides, check, environment};
use crate::etcd::ClusterConfig;

/// File, environment and command line, as they were read.
#[derive(Clone, Default)]
pub(super) struct Recipe {
    pub(super) path: Option<PathBuf>,
    pub(super) source: String,
    pub(super) text: String,
    pub(super) environment: Environment,
    pub(super) overrides: Overrides,
}

impl Recipe {
    pub(super) fn make(&self, found: Vec<ClusterConfig>) -> Result<Config, ConfigErrors> {
        let mut document = Document::parse(&self.source, &self.text);
        // What a broken file seems to lack may be there once it is mended.
        if !document.errors.is_empty() {
            return Err(ConfigErrors(document.errors));
        }
        for (variable, key, value) in environment::overrides(&self.environment) {
            document.set(variable, &key, value);
        }
        document.files.extend(self.path.clone());
        let overrides = Overrides { found, ..self.overrides.clone() };
        let mut config =
            check::from_document(&mut document, self.path.as_deref(), &self.environment, overrides);
        config.files = std::mem::take(&mut document.files);
        // The file's own text is in it key by key.
        let named = config.files.get(usize::from(self.path.is_some())..).unwrap_or_default();
        config.effective = Effective::of(&self.text, named);
        if document.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(document.errors)) }
    }
}
