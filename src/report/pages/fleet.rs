//! The fleet page: which cluster needs me?

mod groups;

use std::collections::BTreeMap;

use serde::Serialize;

use super::strip::{Strip, strip};
use super::{Badge, Shell};
use crate::compare::{self, deviations, fleet_measures};
use crate::model::JobRun;
use crate::model::unit::{human_bytes, human_seconds, three_digits};
use crate::report::chart::{Spark, spark};
use crate::report::facts::Facts;
use crate::report::refresh::fleet_next_ms;
use crate::report::text::{count, visible};
use crate::report::verdict::{State, of_facts, rests_on_limits};
use crate::report::{ClusterInput, Input, ReportConfig};

/// The panels that a cluster's row and its verdict are made from: those of the other clusters need not be evaluated when the
/// page of one is due.
pub const FLEET_PANELS: &[&str] =
    &["put_latency", "wal_fsync", "db_size", "db_quota", "day_quorum", "day_members", "day_checks"];

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FleetPage {
    pub(crate) shell: Shell,
    pub(crate) about: Vec<String>,
    pub(crate) counts: Vec<Count>,
    /// Worst first, then by name.
    pub(crate) rows: Vec<Row>,
    pub(crate) tags: Vec<groups::Tag>,
    pub(crate) jobs: Vec<Job>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Count {
    pub(crate) key: &'static str,
    pub(crate) badge: Badge,
    pub(crate) count: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) state_key: &'static str,
    pub(crate) badge: Badge,
    /// The live file does not know the series that the state rests on.
    pub(crate) rests_on_limits: bool,
    pub(crate) headline: String,
    pub(crate) tags: Vec<String>,
    /// `env=prod`: what the filter finds them by.
    pub(crate) tag_words: Vec<String>,
    #[serde(skip)]
    tag_values: BTreeMap<String, String>,
    /// `3/3`; empty when never read.
    pub(crate) members: String,
    pub(crate) voters_up: usize,
    pub(crate) voters: usize,
    pub(crate) leader: String,
    pub(crate) version: String,
    pub(crate) alerts: usize,
    pub(crate) put_p99: Figure,
    /// Which of the sources of put latency answered.
    #[serde(skip)]
    put_source: Option<String>,
    pub(crate) spark: Option<Spark>,
    pub(crate) fsync_p99: Figure,
    /// Of the largest member.
    #[serde(skip)]
    db_bytes: Option<f64>,
    pub(crate) db_ratio: Figure,
    /// 0 to 100; `None` before it was worked out.
    #[serde(skip)]
    pub(crate) health_score: Option<u32>,
    pub(crate) strip: Strip,
    /// The first row of its state carries the anchor that the counts link to.
    pub(crate) first_of_state: bool,
}

/// A number with its text and look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) text: String,
    pub(crate) value: Option<f64>,
    pub(crate) class: &'static str,
    /// By which factor it is far from the fleet's median, as `4.2x`.
    pub(crate) far: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) badge: Badge,
    pub(crate) summary: String,
    pub(crate) ended: String,
}

impl FleetPage {
    pub(crate) fn new(config: &ReportConfig, input: &Input) -> Self {
        let mut shell = Shell::new(config, input, "Fleet".to_owned(), "", fleet_next_ms(input));
        shell.twins =
            vec![("Fleet", "api/v1/fleet.json".to_owned()), ("Index", "api/v1/index.json".to_owned())];
        let mut rows: Vec<Row> = input.clusters.iter().map(|c| row(config, input, c)).collect();
        rows.sort_by(|a, b| (a.state, &a.id).cmp(&(b.state, &b.id)));
        mark_far(&mut rows);
        let mut last = None;
        for row in &mut rows {
            row.first_of_state = last != Some(row.state);
            last = Some(row.state);
        }
        let counts = State::ALL
            .into_iter()
            .map(|state| Count {
                key: state.key(),
                badge: Badge::of_state(state),
                count: rows.iter().filter(|row| row.state == state).count(),
            })
            .filter(|c| c.count > 0);
        let members: usize = input.clusters.iter().map(|c| c.rows.len()).sum();
        let alerts: usize = rows.iter().map(|row| row.alerts).sum();
        let db_bytes = rows.iter().filter_map(|row| row.db_bytes).reduce(|a, b| a + b);
        let mut about = vec![count(rows.len(), "cluster"), count(members, "member")];
        about.extend((alerts > 0).then(|| count(alerts, "active alert")));
        about.extend(db_bytes.map(|bytes| format!("{} of databases", human_bytes(bytes))));
        Self {
            shell,
            about,
            tags: groups::tags(&rows),
            counts: counts.collect(),
            rows,
            jobs: input.job_runs.iter().map(job).collect(),
        }
    }
}

fn row(config: &ReportConfig, input: &Input, cluster: &ClusterInput) -> Row {
    let facts = Facts::new(config, input, cluster);
    let verdict = of_facts(&facts);
    let put = facts.put_p99();
    let fsync = facts.worst("wal_fsync").map(|(_, standing)| standing);
    let seconds = |standing: Option<crate::report::facts::Standing>| {
        let class = if standing.is_some_and(|s| s.above_since_ms.is_some()) { "warn" } else { "" };
        figure(standing.map(|s| s.value), human_seconds, class)
    };
    let (size, quota) = facts.database();
    let ratio = size.zip(quota).map(|(size, quota)| size / quota);
    let percent = |ratio: f64| format!("{} %", three_digits((ratio * 100.0).round()));
    let p99 = facts.series("put_latency", "quantile", "p99");
    let mut versions: Vec<&str> = facts.rows.iter().filter_map(|r| r.version.as_deref()).collect();
    versions.sort_unstable();
    versions.dedup();
    Row {
        id: cluster.name.to_string(),
        state: verdict.state,
        state_key: verdict.state.key(),
        badge: Badge::of_state(verdict.state),
        rests_on_limits: rests_on_limits(&facts, &verdict),
        headline: verdict.headline,
        tags: cluster.tags.values().map(|value| visible(value)).collect(),
        tag_words: cluster.tags.iter().map(|(key, value)| groups::tag_word(key, value)).collect(),
        tag_values: cluster.tags.clone(),
        members: if facts.rows.is_empty() {
            String::new()
        } else {
            format!("{}/{}", facts.voters_up, facts.voters)
        },
        voters_up: facts.voters_up,
        voters: facts.voters,
        leader: facts.leader_name().unwrap_or_else(|| "–".to_owned()),
        version: visible(&versions.join(", ")),
        alerts: facts.active.len(),
        put_p99: seconds(put),
        put_source: p99.and_then(|series| series.labels.get("source")).map(str::to_owned),
        spark: p99.and_then(|s| spark(s, facts.now_ms - 86_400_000, facts.now_ms, None)),
        fsync_p99: seconds(fsync),
        db_bytes: size,
        db_ratio: figure(ratio, percent, super::tiles::quota_class(ratio)),
        health_score: cluster.advice.as_ref().and_then(|advice| advice.score.value),
        strip: strip(&cluster.days, input.data_through_ms),
        first_of_state: false,
    }
}

fn figure(value: Option<f64>, show: impl Fn(f64) -> String, class: &'static str) -> Figure {
    Figure { text: value.map_or_else(|| "–".to_owned(), show), value, class, far: None }
}

/// Says of each figure whether it is far from the fleet's median.
fn mark_far(rows: &mut [Row]) {
    type Column = fn(&mut Row) -> &mut Figure;
    let columns: [(&str, Column); 3] = [
        ("put_latency_p99", |row| &mut row.put_p99),
        ("wal_fsync_p99", |row| &mut row.fsync_p99),
        ("db_used_share", |row| &mut row.db_ratio),
    ];
    let measures = fleet_measures();
    for (key, column) in columns {
        let Some(measure) = measures.iter().find(|measure| measure.key == key) else { continue };
        let figures: Vec<Option<compare::Figure>> = rows
            .iter_mut()
            .map(|row| {
                let source = row.put_source.clone().filter(|_| key == "put_latency_p99");
                column(row).value.map(|value| compare::Figure { value, highest: value, source })
            })
            .collect();
        let found = deviations(measure, &figures.iter().map(Option::as_ref).collect::<Vec<_>>());
        for (row, deviation) in rows.iter_mut().zip(found) {
            column(row).far = deviation.map(|deviation| deviation.text());
        }
    }
}

fn job(run: &JobRun) -> Job {
    use crate::model::Outcome;
    let badge = match run.outcome {
        Outcome::Done => Badge::new("ok", "Done"),
        Outcome::Partial => Badge::new("warn", "Partial"),
        Outcome::Failed => Badge::new("crit", "Failed"),
        Outcome::TimedOut => Badge::new("crit", "Timed out"),
        Outcome::Panicked => Badge::new("crit", "Panicked"),
    };
    let first = run.errors.first().map(|error| format!(" · {error}")).unwrap_or_default();
    Job {
        name: visible(&run.job),
        badge,
        summary: visible(&format!("{}{first}", run.summary)),
        ended: crate::model::unit::rfc3339(run.ended_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn the_page_needs_no_more_panels_than_it_says() {
        let (config, whole) = (ReportConfig::default(), example::fleet());
        let mut bare = whole.clone();
        let mut left_out = 0_usize;
        for cluster in &mut bare.clusters {
            let all = cluster.panels.len();
            cluster.panels.retain(|id, _| FLEET_PANELS.contains(&id.as_str()));
            left_out += all - cluster.panels.len();
            cluster.figures.clear();
            cluster.speechless.clear();
        }
        assert_ne!(left_out, 0, "the example has other panels, too");
        assert_eq!(FleetPage::new(&config, &bare), FleetPage::new(&config, &whole));
    }
}
