//! The layers of a cluster as the page shows them.

use serde::Serialize;

use super::Badge;
use crate::report::facts::Facts;
use crate::report::layers::{Condition, LayerView, layers};
use crate::report::text::plain;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LayerBlock {
    pub(crate) title: &'static str,
    pub(crate) badge: Badge,
    pub(crate) says: Vec<String>,
    /// Title, value, look.
    pub(crate) figures: Vec<(&'static str, String, &'static str)>,
    /// Title and reason.
    pub(crate) missing: Vec<(&'static str, String)>,
}

pub(crate) fn of(facts: &Facts<'_>) -> Vec<LayerView> {
    let name = |instance: &str| facts.name_of_instance(instance);
    layers(&facts.input.rows, &facts.input.figures, facts.is_stale(), &name)
}

pub(crate) fn blocks(views: &[LayerView]) -> Vec<LayerBlock> {
    views.iter().map(block).collect()
}

fn block(view: &LayerView) -> LayerBlock {
    let badge = match view.condition {
        Condition::Ok => Badge::new("ok", "Healthy"),
        Condition::Unknown => Badge::new("unknown", "Unknown"),
        Condition::Warning => Badge::new("warn", "Warning"),
        Condition::Critical => Badge::new("crit", "Critical"),
    };
    let look = |condition: Condition| match condition {
        Condition::Warning => "warn",
        Condition::Critical => "crit",
        Condition::Ok | Condition::Unknown => "",
    };
    let known = view.figures.iter().filter(|figure| figure.missing.is_none());
    let missing = view.figures.iter().filter_map(|figure| Some((figure.title, plain(figure.missing?))));
    LayerBlock {
        title: view.layer.title(),
        badge,
        says: view.says.clone(),
        figures: known.map(|figure| (figure.title, figure.text(), look(figure.condition))).collect(),
        missing: missing.collect(),
    }
}
