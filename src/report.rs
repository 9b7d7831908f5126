//! The report site: what the store says of the fleet, as files that a browser opens.
//!
//! Owns: the verdict, the view models of every page and JSON twin, the SVG charts, the templates and the
//! plan of what to upload. Equal input gives equal bytes, so an upload can skip what did not change.
//! Refuses: I/O, the clock, the network. What "now" is comes with the input.

mod api;
mod assets;
mod bench_page;
mod chart;
mod cluster_input;
mod days;
pub mod example;
mod facts;
mod happened;
mod layers;
mod pages;
mod panels;
mod preflight;
pub mod publish_plan;
pub mod refresh;
mod site;
mod templates;
mod text;
mod verdict;

pub use api::{LIVE_PATH, live};
pub use bench_page::bench_page;
pub use cluster_input::{CareLine, ClusterInput, Input, ReportConfig};
pub use days::{DayState, DayWord, day_states};
pub(crate) use facts::STALE_INTERVALS;
pub use layers::{Condition, Figure, LayerView, layers};
pub use pages::fleet::FLEET_PANELS;
pub use panels::{Panel, figures, panels};
pub use preflight::preflight_page;
pub use site::{ReportError, Site, render, render_due};
pub use verdict::{Reason, State, Step, Verdict, verdict};
