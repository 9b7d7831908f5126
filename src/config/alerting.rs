//! The `[alert]` section: routes, silences and links, checked against channels and clusters.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{ClusterSetup, Document, Environment, resolve};
use crate::alert::{AlertConfig, Maintenance, RouteConfig, Routes, silence_file};
use crate::deliver::{AckSource, Channel, StandingSilences, check_ack_secret};
use crate::model::unit::{ConfigDuration, format_duration};

/// Where the section and the elements of its arrays are in the file.
pub(super) struct AlertLines {
    pub(super) section: Option<usize>,
    elements: BTreeMap<(String, usize), usize>,
}

impl AlertLines {
    /// Before the section is taken.
    pub(super) fn of(document: &Document<'_>) -> Self {
        let (section, elements) = document.lines_of("alert");
        Self { section, elements }
    }

    fn element(&self, array: &str, at: usize) -> Option<usize> {
        self.elements.get(&(array.to_owned(), at)).copied().or(self.section)
    }
}

/// How long the other side takes an incident for firing that it does not hear of.
pub(super) struct Hold {
    pub(super) channel: String,
    pub(super) line: Option<usize>,
    pub(super) lasts: ConfigDuration,
}

/// What is repeated less often than it is held would be taken for resolved in between.
pub(super) fn check_holds(
    document: &mut Document<'_>,
    alert: &AlertConfig,
    names: &[String],
    holds: &[Hold],
) {
    let fallback = [RouteConfig::to(names.to_vec())];
    let routes = if alert.route.is_empty() { fallback.as_slice() } else { alert.route.as_slice() };
    for Hold { channel, line, lasts } in holds {
        let escalated = |route: &RouteConfig| route.escalation.iter().any(|l| l.channels.contains(channel));
        for (at, route) in routes.iter().enumerate() {
            let used =
                route.channels.contains(channel) || route.failover.contains(channel) || escalated(route);
            if used && lasts.0 <= route.repeat_interval.0 {
                let message = format!(
                    "{} is not longer than the repeat-interval {} of alert.route[{at}]: what still fires would be \
                     taken for resolved",
                    format_duration(lasts.0),
                    format_duration(route.repeat_interval.0)
                );
                document.error_at(*line, &format!("channel.{channel}.hold"), message);
            }
        }
    }
}

/// The silence files, which are read once to be checked, and the maintenance windows.
pub(super) fn silences(
    document: &mut Document<'_>,
    alert: &AlertConfig,
    lines: &AlertLines,
    clusters: &[ClusterSetup],
    path: Option<&Path>,
    absent: &mut Option<Vec<String>>,
) -> Arc<StandingSilences> {
    // Paths in a file are relative to it.
    let base = path.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    let files: Vec<_> = alert.silence_files.iter().map(|file| base.join(file)).collect();
    for file in &files {
        let name = file.display().to_string();
        let wrong = match std::fs::read_to_string(file) {
            Err(error) => vec![format!("{name} cannot be read: {error}")],
            Ok(text) => match silence_file::parse(&name, &text) {
                Ok(_) => Vec::new(),
                Err(errors) => errors.iter().map(ToString::to_string).collect(),
            },
        };
        for message in wrong {
            document.error_at(lines.section, "alert.silence-files", message);
        }
    }
    let mut windows = Vec::new();
    for (at, config) in alert.maintenance.iter().enumerate() {
        let known = clusters.iter().map(|cluster| (&cluster.config.name, &cluster.config.tags));
        match Maintenance::new(config, known) {
            Ok(window) => windows.push(window),
            Err(error) => {
                let key = format!("alert.maintenance[{at}]");
                if let Some(absent) = absent.as_mut().filter(|_| error.is_absence()) {
                    absent.push(format!("{key} waits: {error}"));
                    continue;
                }
                document.error_at(lines.element("maintenance", at), &key, error.to_string());
            }
        }
    }
    Arc::new(StandingSilences::new(files, windows))
}

/// Where links to acknowledge with lead, and their secret. The error comes with its key.
pub(super) fn ack_source(
    alert: &AlertConfig,
    public_url: Option<&str>,
    environment: &Environment,
    resolved: bool,
) -> Result<Option<AckSource>, (&'static str, String)> {
    let is_web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    if let Some(url) = alert.ack_url.as_deref().filter(|url| !is_web(url)) {
        return Err(("alert.ack-url", format!("{url:?} is not a URL; write it like https://host.example")));
    }
    let wrong = |message| ("alert.ack-secret", message);
    let secret = match &alert.ack_secret {
        Some(reference) if resolved => {
            let secret = resolve(reference, environment).map_err(|error| wrong(error.to_string()))?;
            check_ack_secret(&secret).map_err(wrong)?;
            Some(secret)
        }
        _ => None,
    };
    let base = alert.ack_url.as_deref().or(public_url).filter(is_web);
    if base.is_none() && alert.ack_secret.is_some() {
        let message = "signs links to nowhere; set report.public-url or alert.ack-url, too";
        return Err(wrong(message.to_owned()));
    }
    Ok(base.map(|base| AckSource { base: base.to_owned(), secret }))
}

pub(super) fn routes(
    document: &mut Document<'_>,
    names: &[String],
    lines: &AlertLines,
    channels: &BTreeMap<String, Arc<dyn Channel>>,
    warnings: &mut Vec<String>,
) -> (Routes, AlertConfig) {
    let alert: AlertConfig = document.section("alert");
    let ends = channels.iter().map(|(name, channel)| (name.clone(), channel.end()));
    let ends = ends.filter(|(_, end)| !end.is_empty()).collect();
    let routes = match Routes::new(&alert, names) {
        Ok(routes) => {
            if alert.production {
                for message in routes.warnings(&ends) {
                    document.error_at(lines.section, "alert.production", message);
                }
            } else if !names.is_empty() {
                warnings.extend(routes.warnings(&ends));
            }
            routes
        }
        Err(errors) => {
            for error in errors {
                let (array, at) = error.place();
                document.error_at(lines.element(array, at), "alert", error.to_string());
            }
            Routes::default()
        }
    };
    (routes, alert)
}
