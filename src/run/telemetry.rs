//! Logs: text for people, JSON in Lambda or on request. Data goes to stdout, logs to stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{LogConfig, LogFormat};

/// Starts logging for this process, in colour if `ansi`. A filter that does not parse falls back to `info` and
/// says so. A second call does nothing.
pub fn start(config: &LogConfig, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static, ansi: bool) {
    let (directives, bad) = match EnvFilter::try_new(&config.filter) {
        Ok(directives) => (directives, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let base = tracing_subscriber::fmt()
        .with_env_filter(directives)
        .with_writer(writer)
        .with_ansi(ansi)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    // A second subscriber is refused: in tests several daemons share a process.
    let started = match config.format {
        LogFormat::Text => base.try_init(),
        LogFormat::Json => base.json().flatten_event(true).with_current_span(false).try_init(),
    };
    if let (Ok(()), Some(error)) = (started, bad) {
        tracing::warn!(filter = config.filter, %error, "log filter is not valid, using info");
    }
}
