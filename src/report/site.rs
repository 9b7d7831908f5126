//! The whole site as files in memory.

use std::collections::BTreeMap;

use super::pages::cluster::ClusterPage;
use super::pages::events;
use super::pages::fleet::FleetPage;
use super::refresh::{Due, fleet_next_ms};
use super::{Input, ReportConfig, api, assets, templates};

/// Path below the site's top (`c/prod/index.html`) and content.
pub type Site = BTreeMap<String, Vec<u8>>;

/// Why a site could not be made; both cases are bugs of this program, not of its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("template {template}: {message}")]
    Template { template: &'static str, message: String },
    #[error("encode {path}: {message}")]
    Encode { path: String, message: String },
}

/// Every file of the site. Equal input gives equal bytes.
///
/// # Errors
/// [`ReportError`], when a template or a JSON twin cannot be made.
pub fn render(config: &ReportConfig, input: &Input) -> Result<Site, ReportError> {
    let mut site = render_due(config, input, &Due::all(input))?;
    let lifetime_ms = super::pages::stale_after_ms(input, fleet_next_ms(input)) - input.data_through_ms;
    site.insert(api::LIVE_PATH.to_owned(), api::live(config, input, lifetime_ms)?);
    Ok(site)
}

/// The files of the pages that are due, and the assets. Not [`super::LIVE_PATH`], which is never kept back.
///
/// # Errors
/// [`ReportError`], when a template or a JSON twin cannot be made.
pub fn render_due(config: &ReportConfig, input: &Input, due: &Due) -> Result<Site, ReportError> {
    let mut site = Site::new();
    for (_, path, text) in assets::all() {
        site.insert(path.clone(), text.as_bytes().to_vec());
    }
    if due.fleet {
        let fleet = FleetPage::new(config, input);
        site.insert("index.html".to_owned(), templates::page("pages/fleet.html", &fleet)?);
        api::fleet(input, &fleet, &mut site)?;
        let history = events::history(config, input);
        let page = events::EventsPage::new(config, input, &history);
        site.insert("events.html".to_owned(), templates::page("pages/events.html", &page)?);
        api::events(input, &history, &mut site)?;
    }
    for cluster in input.clusters.iter().filter(|cluster| due.clusters.contains(&cluster.name)) {
        let page = ClusterPage::new(config, input, cluster);
        let html = templates::page("pages/cluster.html", &page)?;
        site.insert(format!("c/{}/index.html", cluster.name), html);
        api::cluster(config, input, cluster, &page, &mut site)?;
    }
    Ok(site)
}
