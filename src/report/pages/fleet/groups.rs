//! The fleet by its tags: of each key whose values make groups, a line per value.

use serde::Serialize;

use super::{Row, figure};
use crate::compare::{by_tag, median, tag_keys};
use crate::model::unit::{human_bytes, human_seconds, three_digits};
use crate::report::pages::{Badge, tiles};
use crate::report::text::visible;
use crate::report::verdict::State;

/// A key with more values, such as a host's name, groups nothing that fits a page.
const VALUES_MAX: usize = 20;

/// All values of one key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) groups: Vec<Group>,
}

/// The clusters with one value, or those without the tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Group {
    pub(crate) value: String,
    /// What shows its clusters alone when it is the table's filter, as part of a URL; `None` for those without the tag.
    pub(crate) filter: Option<String>,
    pub(crate) clusters: usize,
    /// The worst state first, each with how many are in it.
    pub(crate) states: Vec<Badge>,
    pub(crate) members: String,
    pub(crate) alerts: usize,
    /// Medians over the clusters.
    pub(crate) put_p99: String,
    pub(crate) fsync_p99: String,
    /// The sum, each cluster counted once.
    pub(crate) db: String,
    /// The highest.
    pub(crate) db_ratio: super::Figure,
}

/// The keys that group: two values at least, not too many, and clusters that share one.
pub(super) fn tags(rows: &[Row]) -> Vec<Tag> {
    let keys = tag_keys(rows.iter().map(|row| &row.tag_values));
    let grouped = keys.into_iter().filter_map(|key| {
        let groups = by_tag(rows, |row| &row.tag_values, key);
        let shared = groups.iter().any(|(value, of)| value.is_some() && of.len() > 1);
        let fits = shared && (2..=VALUES_MAX).contains(&groups.len()) && groups.len() < rows.len();
        fits.then(|| Tag {
            key: visible(key),
            groups: groups.iter().map(|(value, of)| group(key, *value, of)).collect(),
        })
    });
    grouped.collect()
}

fn group(key: &str, value: Option<&str>, rows: &[&Row]) -> Group {
    let states = State::ALL.into_iter().filter_map(|state| {
        let count = rows.iter().filter(|row| row.state == state).count();
        (count > 0).then(|| Badge::new(state.class(), format!("{count} {}", state.word().to_lowercase())))
    });
    let known = |of: fn(&Row) -> Option<f64>| rows.iter().filter_map(move |row| of(row));
    let text = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| "–".to_owned(), show);
    let highest = known(|row| row.db_ratio.value).reduce(f64::max);
    let percent = |ratio: f64| format!("{} %", three_digits((ratio * 100.0).round()));
    Group {
        value: value.map_or_else(|| "none".to_owned(), visible),
        filter: value.map(|value| query_of(&tag_word(key, value))),
        clusters: rows.len(),
        states: states.collect(),
        members: format!(
            "{}/{}",
            rows.iter().map(|row| row.voters_up).sum::<usize>(),
            rows.iter().map(|row| row.voters).sum::<usize>()
        ),
        alerts: rows.iter().map(|row| row.alerts).sum(),
        put_p99: text(median(known(|row| row.put_p99.value)), human_seconds),
        fsync_p99: text(median(known(|row| row.fsync_p99.value)), human_seconds),
        db: text(known(|row| row.db_bytes).reduce(|a, b| a + b), human_bytes),
        db_ratio: figure(highest, percent, tiles::quota_class(highest)),
    }
}

/// As the value in a URL's query, where `=` may stay.
fn query_of(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'=' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

/// `env=prod`, as the filter finds it.
pub(super) fn tag_word(key: &str, value: &str) -> String {
    visible(&format!("{key}={value}"))
}

#[cfg(test)]
mod tests {
    use super::query_of;
    use crate::report::pages::fleet::FleetPage;
    use crate::report::{ReportConfig, example};

    #[test]
    fn a_filter_is_safe_in_a_link() {
        assert_eq!(query_of("a=b\" &#?é"), "a=b%22%20%26%23%3F%C3%A9");
    }

    #[test]
    fn keys_that_group_have_a_line_per_value_and_count_each_cluster_once() {
        let mut input = example::fleet();
        for (n, cluster) in input.clusters.iter_mut().enumerate() {
            cluster.tags.insert("all".to_owned(), "same".to_owned());
            cluster.tags.insert("own".to_owned(), n.to_string());
            if n < 10 {
                cluster.tags.insert("tier".to_owned(), if n < 4 { "one" } else { "two" }.to_owned());
            }
        }
        let page = FleetPage::new(&ReportConfig::default(), &input);
        let keys: Vec<&str> = page.tags.iter().map(|tag| tag.key.as_str()).collect();
        assert!(keys.contains(&"tier") && keys.contains(&"region"), "{keys:?}");
        assert!(!keys.contains(&"all") && !keys.contains(&"own"), "{keys:?}");
        for tag in &page.tags {
            assert_eq!(tag.groups.iter().map(|group| group.clusters).sum::<usize>(), page.rows.len());
        }
        let tier = page.tags.iter().find(|tag| tag.key == "tier").expect("is there");
        let lines: Vec<(&str, usize, Option<&str>)> = tier
            .groups
            .iter()
            .map(|group| (group.value.as_str(), group.clusters, group.filter.as_deref()))
            .collect();
        let rest = page.rows.len() - 10;
        assert_eq!(lines, [("one", 4, Some("tier=one")), ("two", 6, Some("tier=two")), ("none", rest, None)]);
    }
}
