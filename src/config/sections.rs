//! The sections that belong to no module of their own: `[log]`, `[jobs.<name>]`, `[query]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::unit::ConfigDuration;
use crate::model::{CronSchedule, ScheduleError};

/// The `[log]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or tracing directives such as `etcd_monitor::probe=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        // The scheduler's own lines say nothing an operator can use.
        Self { filter: "info,tokio_cron_scheduler=warn".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines look. In Lambda they are always JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// One `[jobs.<name>]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct JobConfig {
    /// A cron expression with six fields, UTC; the job's own when absent.
    pub schedule: Option<String>,
    pub enabled: bool,
}

impl Default for JobConfig {
    fn default() -> Self {
        Self { schedule: None, enabled: true }
    }
}

/// All `[jobs.<name>]` sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobsConfig(pub BTreeMap<String, JobConfig>);

impl JobsConfig {
    pub fn is_enabled(&self, job: &str) -> bool {
        self.0.get(job).is_none_or(|job| job.enabled)
    }

    /// The configured schedule of `job`, or `default`.
    ///
    /// # Errors
    /// When the cron expression is wrong.
    pub fn schedule_of(&self, job: &str, default: &str) -> Result<CronSchedule, ScheduleError> {
        let configured = self.0.get(job).and_then(|job| job.schedule.as_deref());
        CronSchedule::parse(configured.unwrap_or(default))
    }
}

/// The `[query]` section: what bounds one PromQL evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Samples in memory at once; a query that needs more is refused.
    pub max_samples: usize,
    pub timeout: ConfigDuration,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self { max_samples: 50_000_000, timeout: ConfigDuration(std::time::Duration::from_secs(120)) }
    }
}

/// The `[rules]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Whether the shipped alerts are evaluated.
    pub default_pack: bool,
    /// Shipped alerts that are switched off, by name.
    pub disable: Vec<String>,
    /// Rule files in Prometheus' format; relative paths are relative to the configuration file.
    pub files: Vec<std::path::PathBuf>,
    /// `$externalLabels` of templates.
    pub external_labels: BTreeMap<String, String>,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { default_pack: true, disable: Vec::new(), files: Vec::new(), external_labels: BTreeMap::new() }
    }
}
