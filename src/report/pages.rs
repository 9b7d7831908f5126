//! The pages' view models: everything a template prints, as text and positions.

pub(crate) mod advice;
pub(crate) mod backups;
pub(crate) mod benches;
pub(crate) mod cluster;
pub(crate) mod disks;
pub(crate) mod events;
pub(crate) mod fleet;
pub(crate) mod layers;
mod members;
mod strip;
mod tiles;
mod topology;

use serde::Serialize;

use super::text::visible;
use super::verdict::State;
use super::{Input, ReportConfig, assets, facts};
use crate::model::unit::{human_span, rfc3339};

/// State as a word, a shape and a colour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Badge {
    /// `ok`, `warn`, `crit`, `unknown` or `info`: colour and shape.
    pub(crate) class: &'static str,
    pub(crate) word: String,
}

impl Badge {
    pub(crate) fn new(class: &'static str, word: impl Into<String>) -> Self {
        Self { class, word: word.into() }
    }

    pub(crate) fn of_state(state: State) -> Self {
        Self::new(state.class(), state.word())
    }
}

/// What every page has around its content.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Shell {
    pub(crate) site: String,
    pub(crate) title: String,
    /// From this page to the site's top: empty or `../../`.
    pub(crate) root: &'static str,
    pub(crate) version: String,
    pub(crate) data_through: String,
    /// `14:05:12 UTC`.
    pub(crate) data_clock: String,
    pub(crate) data_through_ms: i64,
    /// `14:05:24 UTC`: when this page was made.
    pub(crate) made_clock: String,
    pub(crate) made: String,
    /// From then on this page should have been replaced.
    pub(crate) stale_after_ms: i64,
    /// When this page is made anew at the latest.
    pub(crate) next_clock: String,
    /// What to say at the top, with or without scripts, when the data were old already.
    pub(crate) stale_note: Option<String>,
    pub(crate) css: String,
    pub(crate) boot: String,
    pub(crate) app: String,
    pub(crate) public_url: Option<String>,
    /// Links to this page's JSON twins: text and path.
    pub(crate) twins: Vec<(&'static str, String)>,
}

impl Shell {
    pub(crate) fn new(
        config: &ReportConfig,
        input: &Input,
        title: String,
        root: &'static str,
        next_ms: i64,
    ) -> Self {
        let clock = |ts| {
            chrono::DateTime::from_timestamp_millis(ts)
                .map_or_else(String::new, |t| t.format("%H:%M:%S UTC").to_string())
        };
        Self {
            site: visible(&config.title),
            title,
            root,
            version: visible(&input.version),
            data_through: rfc3339(input.data_through_ms),
            data_clock: clock(input.data_through_ms),
            data_through_ms: input.data_through_ms,
            made_clock: clock(input.made_ms),
            made: rfc3339(input.made_ms),
            stale_after_ms: stale_after_ms(input, next_ms),
            next_clock: clock(next_ms),
            stale_note: stale_note(input),
            css: assets::path_of("site.css"),
            boot: assets::path_of("boot.js"),
            app: assets::path_of("app.js"),
            public_url: config.public_url.as_deref().and_then(super::text::web_link),
            twins: Vec::new(),
        }
    }
}

/// From when on a file that is made anew at `next_ms` must be called stale: then its successor, which covers
/// newer data, should have been there for a while. Old data were stale from the start.
pub(crate) fn stale_after_ms(input: &Input, next_ms: i64) -> i64 {
    let age_limit_ms = facts::STALE_INTERVALS * input.expected_interval_ms;
    if input.made_ms - input.data_through_ms > age_limit_ms {
        return input.data_through_ms + age_limit_ms;
    }
    next_ms.max(input.data_through_ms) + age_limit_ms.max(MAKING_MS)
}

/// How long making and publishing may take.
const MAKING_MS: i64 = 180_000;

/// Set when the data were old when the page was made: a page that is read long after says so itself.
fn stale_note(input: &Input) -> Option<String> {
    let age_ms = input.made_ms - input.data_through_ms;
    (age_ms > facts::STALE_INTERVALS * input.expected_interval_ms).then(|| {
        let age = human_span(age_ms);
        format!(
            "Stale: the data were {age} old when this page was made. What is shown may no longer be true."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::{ReportConfig, example};
    use super::cluster::ClusterPage;
    use super::fleet::FleetPage;

    /// What people read of a page, without positions and paths, which would change with every pixel.
    fn readable(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        const DRAWN: [&str; 9] =
            ["path", "paths", "spark", "days", "shades", "y_ticks", "x_ticks", "gaps", "table"];
        match value {
            Value::Object(map) => map
                .into_iter()
                // Hashes of assets change with every style; the shell's other fields are checked on one page.
                .filter(|(key, _)| {
                    !DRAWN.contains(&key.as_str()) && !["css", "boot", "app"].contains(&key.as_str())
                })
                .map(|(key, value)| (key, readable(value)))
                .collect(),
            Value::Array(all) => all.into_iter().map(readable).collect(),
            other => other,
        }
    }

    #[test]
    fn view_models_of_the_states() {
        let input = example::fleet();
        for id in ["prod-eu-01", "stage-us-02", "stage-eu-05", "prod-us-07"] {
            let cluster = input.clusters.iter().find(|c| c.name.as_str() == id).expect("is in the fleet");
            let page = ClusterPage::new(&ReportConfig::default(), &input, cluster);
            let json = readable(serde_json::to_value(&page).expect("serializes"));
            insta::assert_snapshot!(
                format!("cluster_{id}"),
                serde_json::to_string_pretty(&json).expect("prints")
            );
        }
    }

    #[test]
    fn view_model_of_the_fleet() {
        let mut page = FleetPage::new(&ReportConfig::default(), &example::fleet());
        page.rows.truncate(9);
        let json = readable(serde_json::to_value(&page).expect("serializes"));
        insta::assert_snapshot!("fleet", serde_json::to_string_pretty(&json).expect("prints"));
    }
}
