//! Logs: text for people, JSON in Lambda or on request. Data goes to stdout, logs to stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging for this process. `filter` follows the `tracing` directives (`info`, `etcd_monitor=debug`);
/// one that does not parse falls back to `info` and says so. A second call does nothing.
pub fn start(filter: &str, format: LogFormat) {
    let (directives, bad) = match EnvFilter::try_new(filter) {
        Ok(directives) => (directives, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let base = tracing_subscriber::fmt()
        .with_env_filter(directives)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    // A second subscriber is refused: in tests several daemons share a process.
    let started = match format {
        LogFormat::Text => base.try_init(),
        LogFormat::Json => base.json().flatten_event(true).with_current_span(false).try_init(),
    };
    if let (Ok(()), Some(error)) = (started, bad) {
        tracing::warn!(filter, %error, "log filter is not valid, using info");
    }
}
