//! The templates, embedded. Everything they print is escaped; no template may switch that off.

use std::sync::LazyLock;

use serde::Serialize;
use tera::{Context, Tera};

use super::ReportError;

const TEMPLATES: [(&str, &str); 12] = [
    ("parts/badge.html", include_str!("../../report-templates/parts/badge.html")),
    ("parts/chart.html", include_str!("../../report-templates/parts/chart.html")),
    ("parts/topology.html", include_str!("../../report-templates/parts/topology.html")),
    ("parts/events.html", include_str!("../../report-templates/parts/events.html")),
    ("parts/audit.html", include_str!("../../report-templates/parts/audit.html")),
    ("base.html", include_str!("../../report-templates/base.html")),
    ("pages/fleet.html", include_str!("../../report-templates/pages/fleet.html")),
    ("pages/events.html", include_str!("../../report-templates/pages/events.html")),
    ("pages/cluster.html", include_str!("../../report-templates/pages/cluster.html")),
    ("alone.html", include_str!("../../report-templates/alone.html")),
    ("pages/bench.html", include_str!("../../report-templates/pages/bench.html")),
    ("pages/preflight.html", include_str!("../../report-templates/pages/preflight.html")),
];

/// The page that `template` makes of `view`.
pub(crate) fn page(template: &'static str, view: &impl Serialize) -> Result<Vec<u8>, ReportError> {
    static TERA: LazyLock<Result<Tera, tera::Error>> = LazyLock::new(|| {
        let mut tera = Tera::new();
        tera.add_raw_templates(TEMPLATES)?;
        Ok(tera)
    });
    let failed = |message: String| ReportError::Template { template, message };
    let tera = TERA.as_ref().map_err(|error| failed(error.to_string()))?;
    let context = Context::from_serialize(view).map_err(|error| failed(error.to_string()))?;
    let html = tera.render(template, &context).map_err(|error| failed(error.to_string()))?;
    Ok(html.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_template_switches_escaping_off() {
        for (name, text) in TEMPLATES {
            for banned in ["safe", "style=", "onclick", "<style", "javascript:"] {
                assert!(!text.contains(banned), "{name} holds {banned:?}");
            }
            assert!(name.ends_with(".html"), "{name}: only .html is escaped");
        }
    }
}
