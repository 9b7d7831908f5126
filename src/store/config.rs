//! Where the store is and how long it keeps things.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::unit::{ByteSize, ConfigDuration};

/// The `[store]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StoreConfig {
    /// A folder (`file:///…` or a plain path), `s3://bucket/prefix`, `gs://…`, `az://container/prefix`, or
    /// `memory://` (lost at exit).
    pub url: String,
    /// When the sample files are larger than this, the oldest raw data goes first. Unlimited when absent.
    pub max_size: Option<ByteSize>,
    pub retention: RetentionConfig,
    pub s3: S3Config,
}

impl StoreConfig {
    /// The folder, when the store is one.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match self.url.split_once("://") {
            None => Some(self.url.as_str()),
            Some(("file", path)) => Some(path),
            Some(_) => None,
        }
        .map(std::path::Path::new)
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: "etcd-monitor-data".to_owned(),
            max_size: None,
            retention: RetentionConfig::default(),
            s3: S3Config::default(),
        }
    }
}

impl StoreConfig {
    /// What is wrong with the URL, as far as the text alone tells.
    pub fn url_problem(&self) -> Option<String> {
        match self.url.split_once("://") {
            None => self.url.is_empty().then(|| "it is empty".to_owned()),
            Some(("file" | "memory", _)) => None,
            Some(("s3" | "gs" | "az", rest)) => {
                let bucket = rest.split('/').next().unwrap_or_default();
                bucket.is_empty().then(|| "the bucket is missing".to_owned())
            }
            Some((scheme, _)) => {
                Some(format!("{scheme:?} is not one of file, s3, gs, az, memory; a path alone is a folder"))
            }
        }
    }
}

/// How long each kind of data is kept, counted from the day in its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Samples as scraped, at whatever level of merging.
    pub raw: ConfigDuration,
    /// Five-minute aggregates of the catalogue's series.
    pub rollup_5m: ConfigDuration,
    pub rollup_1h: ConfigDuration,
    pub readings: ConfigDuration,
    pub events: ConfigDuration,
    pub job_runs: ConfigDuration,
    /// What became of backups; not the backups.
    pub backups: ConfigDuration,
    /// What benchmarks measured.
    pub bench_runs: ConfigDuration,
    /// What disk checks measured.
    pub disk_runs: ConfigDuration,
    /// What was advised, and what became of it.
    pub advice: ConfigDuration,
    /// Superseded states, receipts, claims, ledger and heartbeat objects. The newest state of a sequence
    /// is never deleted.
    pub state: ConfigDuration,
}

const fn days(days: u64) -> ConfigDuration {
    ConfigDuration(Duration::from_secs(days * 86_400))
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            raw: days(15),
            rollup_5m: days(400),
            rollup_1h: days(1_830),
            readings: days(90),
            events: days(400),
            job_runs: days(90),
            backups: days(1_830),
            bench_runs: days(1_830),
            disk_runs: days(1_830),
            advice: days(400),
            state: days(7),
        }
    }
}

/// What an `s3://` URL cannot say. Credentials come from the environment (`AWS_*`), a web identity, the
/// container's or the instance's role, never from here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct S3Config {
    /// For S3-compatible servers: `https://minio.example:9000`.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Lets `endpoint` be plain `http://`.
    pub allow_http: bool,
    /// `https://bucket.host/key` instead of `https://host/bucket/key`.
    pub virtual_hosted_style: bool,
    /// Encrypts objects with this KMS key (SSE-KMS, with a bucket key).
    pub kms_key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_the_rest_has_defaults() {
        let config: StoreConfig =
            toml::from_str("url = 's3://b/p'\nmax-size = '2GiB'\n[retention]\nraw = '2d'").expect("valid");
        assert_eq!(config.max_size, Some(ByteSize(2 << 30)));
        assert_eq!(config.retention.raw, days(2));
        assert_eq!(config.retention.events, days(400));
        let error = toml::from_str::<StoreConfig>("retentoin = 1").expect_err("misspelt").to_string();
        assert!(error.contains("retentoin"), "{error}");
    }
}
