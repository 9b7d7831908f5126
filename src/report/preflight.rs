//! The page of a machine before it has an etcd: one file, that can be sent as it is.

use serde::Serialize;

use super::ReportError;
use super::pages::Badge;
use super::text::visible;
use super::{assets, templates};
use crate::model::unit::rfc3339;
use crate::model::{Level, Preflight};

#[derive(Serialize)]
struct View {
    title: String,
    host: String,
    made: String,
    headline: &'static str,
    class: &'static str,
    counts: String,
    /// A `data:` URL: nothing beside the file is needed.
    css: String,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    badge: Badge,
    found: String,
    rule: String,
    source: String,
    advice: String,
}

/// The page of `preflight`.
///
/// # Errors
/// When the template cannot be rendered: a bug.
pub fn preflight_page(preflight: &Preflight) -> Result<Vec<u8>, ReportError> {
    let level = preflight.level();
    let count = |level: Level| preflight.checks.iter().filter(|check| check.level == level).count();
    let view = View {
        host: visible(&preflight.host),
        made: rfc3339(preflight.started_ms),
        headline: match level {
            Level::Pass => "Fit for etcd",
            Level::Unknown => "Nobody can say whether it is fit for etcd",
            Level::Warning => "Fit for etcd with reservations",
            Level::Critical => "Not fit for etcd",
        },
        class: class(level),
        counts: format!(
            "{} passed, {} warnings, {} critical, {} unknown",
            count(Level::Pass),
            count(Level::Warning),
            count(Level::Critical),
            count(Level::Unknown)
        ),
        css: assets::inline_css(),
        title: format!("{} · preflight", visible(&preflight.host)),
        rows: preflight
            .checks
            .iter()
            .map(|check| Row {
                id: visible(&check.id),
                badge: Badge::new(class(check.level), word(check.level)),
                found: visible(&check.found),
                rule: check.rule.clone(),
                source: check.source.clone(),
                advice: visible(&check.advice),
            })
            .collect(),
    };
    templates::page("pages/preflight.html", &view)
}

fn class(level: Level) -> &'static str {
    match level {
        Level::Pass => "ok",
        Level::Unknown => "unknown",
        Level::Warning => "warn",
        Level::Critical => "crit",
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Pass => "Pass",
        Level::Unknown => "Unknown",
        Level::Warning => "Warning",
        Level::Critical => "Critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Check;

    #[test]
    fn the_page_needs_nothing_else_and_hostile_text_stays_text() {
        let check =
            Check::new("disk", Level::Critical, "<script>alert(1)</script>".to_owned(), "r", "s", "do");
        let preflight = Preflight {
            host: "<b>h".to_owned(),
            started_ms: 0,
            checks: vec![check],
            disk: None,
            peers: Vec::new(),
        };
        let html = String::from_utf8(preflight_page(&preflight).expect("renders")).expect("UTF-8");
        assert!(html.contains("Not fit for etcd") && html.contains("&lt;script&gt;"));
        for banned in ["<script", "<b>h", "src=", "href=\"assets", "http://"] {
            assert!(!html.contains(banned), "{banned}");
        }
    }
}
