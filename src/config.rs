//! TOML → typed values, with environment overrides; secrets resolved at the last moment.
//!
//! Owns: the order (defaults, file, environment, command line), the composition of the modules' own config
//! structs, and the checks that need more than one of them. Refuses: knowing what a value does.
//! Only `run`, `cli` and `jobs` read it.

mod document;
mod environment;
mod secrets;
mod sections;

use std::path::Path;

pub use document::{ConfigError, ConfigErrors, Document};
pub use environment::{Environment, process_environment};
pub use secrets::{SecretError, resolve};
pub use sections::{JobConfig, JobsConfig, LogConfig, LogFormat, QueryConfig};

use crate::store::StoreConfig;
use crate::watch::WatchConfig;

/// Everything configured, checked.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub store: StoreConfig,
    pub watch: WatchConfig,
    pub query: QueryConfig,
    pub jobs: JobsConfig,
    pub log: LogConfig,
}

/// What the command line says; it wins over file and environment.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub store_url: Option<String>,
    pub log: Option<String>,
    /// The command works without any cluster.
    pub clusters_optional: bool,
}

const SECTIONS: [&str; 5] = ["store", "watch", "query", "jobs", "log"];

impl Config {
    /// Reads `path` (defaults without one), then the `ETCD_MONITOR__*` variables, then `overrides`.
    ///
    /// # Errors
    /// All that is wrong, with file and line.
    pub fn load(
        path: Option<&Path>,
        environment: &Environment,
        overrides: Overrides,
    ) -> Result<Self, ConfigErrors> {
        let (source, text) = read(path)?;
        let mut document = Document::parse(&source, &text);
        for (key, value) in environment::overrides(environment) {
            document.set(&key, value);
        }
        let mut config = Self::from_document(&mut document);
        if let Some(url) = overrides.store_url {
            config.store.url = url;
        }
        if let Some(filter) = overrides.log {
            config.log.filter = filter;
        }
        if document.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(document.errors)) }
    }

    fn from_document(document: &mut Document<'_>) -> Self {
        let config = Self {
            store: document.section("store"),
            watch: document.section("watch"),
            query: document.section("query"),
            jobs: jobs(document),
            log: document.section("log"),
        };
        for (key, message) in config.watch.problems() {
            document.error_at(None, &format!("watch.{key}"), message);
        }
        document.finish(&SECTIONS);
        config
    }
}

fn read(path: Option<&Path>) -> Result<(String, String), ConfigErrors> {
    let Some(path) = path else { return Ok(("defaults".to_owned(), String::new())) };
    let source = path.display().to_string();
    std::fs::read_to_string(path).map(|text| (source.clone(), text)).map_err(|error| {
        let message = format!("cannot be read: {error}");
        ConfigErrors(vec![ConfigError { source, line: None, key: String::new(), message }])
    })
}

fn jobs(document: &mut Document<'_>) -> JobsConfig {
    let mut jobs = JobsConfig::default();
    for (name, line, job) in document.named::<JobConfig>("jobs") {
        if let Some(expression) = &job.schedule
            && let Err(error) = crate::model::CronSchedule::parse(expression)
        {
            document.error_at(line, &format!("jobs.{name}.schedule"), error.to_string());
        }
        jobs.0.insert(name, job);
    }
    jobs
}
