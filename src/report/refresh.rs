//! When a page is made anew: at once when it would say something else at first sight, else on a regular grid.
//!
//! Figures and charts move with every scrape, and an upload for each of them would be paid for by the bucket's
//! owner and read by nobody. So every page has a *face*, which is what must not be late, and an instant at
//! which it is due whatever its face. How fresh the data are between two makings says `api/v1/live/fleet.json`.
//!
//! Pure: the faces and instants of the last making come with the manifest of the site.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ClusterInput, Input, ReportConfig, Verdict, assets, facts, verdict};
use crate::model::{ClusterName, Outcome, ReadingRow};

const MINUTE_MS: i64 = 60_000;

/// How often a page is made anew although nothing but figures moved.
pub const REGULAR_MS: i64 = 15 * MINUTE_MS;

/// A cluster whose charts are shorter than a day is new, and somebody is looking at it.
const YOUNG_MS: i64 = 5 * MINUTE_MS;

/// The first minutes of a cluster are what a new user judges by.
const NEWBORN_RANGE_MS: i64 = 15 * MINUTE_MS;
const NEWBORN_MS: i64 = MINUTE_MS;

/// What a page said when it was made, and until when it may stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Hash of what is seen at first sight.
    pub face: String,
    /// When it is made anew whatever its face, ms since the epoch.
    pub due_ms: i64,
}

/// The pages of a site with what they said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faces {
    pub fleet: Made,
    pub clusters: BTreeMap<ClusterName, Made>,
}

/// Which pages to make now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub clusters: BTreeSet<ClusterName>,
    /// The fleet's page shows a row of every cluster, so that it is due with each of them.
    pub fleet: bool,
}

impl Due {
    /// Every page.
    pub fn all(input: &Input) -> Self {
        Self { clusters: input.clusters.iter().map(|cluster| cluster.name.clone()).collect(), fleet: true }
    }

    /// Nothing to make.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty() && !self.fleet
    }
}

/// The faces of what `input` would show. Panels are not asked: what they say that no rule does can wait for
/// the regular making, so that nobody has to evaluate them to learn that nothing is due.
pub fn faces(config: &ReportConfig, input: &Input) -> Faces {
    let look = look(config, input);
    let made = |face: Value, due_ms| Made { face: hash(&face), due_ms };
    let clusters: BTreeMap<ClusterName, Made> = input
        .clusters
        .iter()
        .map(|cluster| {
            let verdict = verdict(config, input, cluster);
            let face = json!([look, cluster_face(cluster, &verdict)]);
            (cluster.name.clone(), made(face, next_ms(cluster, input.made_ms)))
        })
        .collect();
    // Which jobs do not do well; what the others did is no news.
    let troubled = input.job_runs.iter().filter(|run| run.outcome != Outcome::Done);
    let jobs: Vec<Value> = troubled.map(|run| json!([run.job, run.outcome])).collect();
    let of_clusters: Vec<_> = clusters.iter().map(|(name, made)| (name, &made.face)).collect();
    let due_ms = clusters.values().map(|made| made.due_ms).min();
    let fleet =
        made(json!([look, of_clusters, jobs]), due_ms.unwrap_or_else(|| next_of(REGULAR_MS, input.made_ms)));
    Faces { fleet, clusters }
}

/// What to make now, given the faces of the last making (`None`: nothing is known of it).
pub fn due(old: Option<&Faces>, new: &Faces, now_ms: i64) -> Due {
    let is_due = |old: Option<&Made>, new: &Made| {
        // A due time out of reach can only come from a clock that was wrong.
        old.is_none_or(|old| old.face != new.face || old.due_ms <= now_ms || old.due_ms > now_ms + REGULAR_MS)
    };
    let clusters: BTreeSet<ClusterName> = new
        .clusters
        .iter()
        .filter(|(name, made)| is_due(old.and_then(|old| old.clusters.get(*name)), made))
        .map(|(name, _)| name.clone())
        .collect();
    let fleet = !clusters.is_empty() || is_due(old.map(|old| &old.fleet), &new.fleet);
    Due { clusters, fleet }
}

impl Faces {
    /// What is known after a making of `due`: the old faces of the pages that stay, the new ones of the others.
    #[must_use]
    pub fn after(mut self, old: Option<&Self>, due: &Due) -> Self {
        let Some(old) = old else { return self };
        for (name, made) in &mut self.clusters {
            if let Some(kept) = old.clusters.get(name).filter(|_| !due.clusters.contains(name)) {
                made.clone_from(kept);
            }
        }
        if !due.fleet {
            self.fleet.clone_from(&old.fleet);
        }
        self
    }
}

/// When the page of `cluster` that is made at `made_ms` is due again. All pages share one grid, so that a
/// reader who goes from one to the next sees one instant.
pub(crate) fn next_ms(cluster: &ClusterInput, made_ms: i64) -> i64 {
    next_of(period_ms(cluster), made_ms)
}

/// When the fleet's page is due again.
pub(crate) fn fleet_next_ms(input: &Input) -> i64 {
    let next = input.clusters.iter().map(|cluster| next_ms(cluster, input.made_ms)).min();
    next.unwrap_or_else(|| next_of(REGULAR_MS, input.made_ms))
}

fn period_ms(cluster: &ClusterInput) -> i64 {
    match cluster.chart_range_ms {
        range if range < NEWBORN_RANGE_MS => NEWBORN_MS,
        range if range < ClusterInput::DAY_MS => YOUNG_MS,
        _ => REGULAR_MS,
    }
}

fn next_of(period_ms: i64, made_ms: i64) -> i64 {
    (made_ms.div_euclid(period_ms) + 1) * period_ms
}

/// What all pages share: the program, its settings, and whether the data are old.
fn look(config: &ReportConfig, input: &Input) -> Value {
    let assets: Vec<&str> = assets::all().iter().map(|(_, path, _)| path.as_str()).collect();
    let is_old = input.made_ms - input.data_through_ms > facts::STALE_INTERVALS * input.expected_interval_ms;
    json!([assets, input.version, config, is_old])
}

fn cluster_face(cluster: &ClusterInput, verdict: &Verdict) -> Value {
    let member = |row: &ReadingRow| {
        json!([
            row.cluster_id,
            row.instance,
            row.member_id,
            row.name,
            row.reachable,
            row.role,
            row.leader,
            row.version,
            row.alarms,
            row.errors.is_empty()
        ])
    };
    let members: Vec<Value> = cluster.rows.iter().map(member).collect();
    let mut incidents: Vec<_> = cluster.incidents.iter().filter(|i| i.state.is_active()).collect();
    incidents.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    let incidents: Vec<Value> = incidents
        .iter()
        .map(|i| json!([i.fingerprint, i.state, i.severity, i.active_since_ms, i.silenced_by]))
        .collect();
    // Only the newest: the older ones leave the charts' range one by one, which is no news.
    let event = cluster.events.iter().max_by_key(|event| (event.ts_ms, &event.id)).map(|event| &event.id);
    json!([cluster.tags, cluster.rules_total, verdict.state, members, incidents, event])
}

fn hash(face: &Value) -> String {
    let digest = digest::digest(&digest::SHA256, face.to_string().as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use crate::model::IncidentState;

    fn faces_of(input: &Input) -> Faces {
        faces(&ReportConfig::default(), input)
    }

    fn name(text: &str) -> ClusterName {
        text.parse().expect("is a name")
    }

    /// A minute later: time and figures moved, nothing else.
    fn later(input: &Input) -> Input {
        let mut input = input.clone();
        input.made_ms += MINUTE_MS;
        input.data_through_ms += MINUTE_MS;
        for row in input.clusters.iter_mut().flat_map(|cluster| &mut cluster.rows) {
            row.ts_ms += MINUTE_MS;
            row.raft_index = row.raft_index.map(|index| index + 999);
            row.db_size_bytes = row.db_size_bytes.map(|bytes| bytes + 4096);
            row.duration_ms += 1;
        }
        input
    }

    #[test]
    fn time_and_figures_are_no_cause() {
        let input = example::fleet();
        let old = faces_of(&input);
        let now_ms = input.made_ms + MINUTE_MS;
        let due = due(Some(&old), &faces_of(&later(&input)), now_ms);
        assert!(due.is_empty(), "{due:?}");
    }

    #[test]
    fn what_is_seen_at_first_sight_is_due_at_once_and_alone() {
        let input = example::fleet();
        let old = faces_of(&input);
        let now_ms = input.made_ms + MINUTE_MS;
        type Change = fn(&mut ClusterInput);
        let changes: [(&str, Change); 7] = [
            ("a member is gone", |c| c.rows[0].reachable = false),
            ("an alarm", |c| c.rows[0].alarms.push("NOSPACE".to_owned())),
            ("an upgrade", |c| c.rows[0].version = Some("3.99.0".to_owned())),
            ("an incident", |c| c.incidents.push(example::fleet().clusters[0].incidents[0].clone())),
            ("an event", |c| {
                let mut event = c.events[0].clone();
                event.ts_ms += 86_400_000;
                event.id = "new".to_owned();
                c.events.push(event);
            }),
            ("a tag", |c| drop(c.tags.insert("team".to_owned(), "x".to_owned()))),
            ("no news of it any more", |c| c.rows.clear()),
        ];
        let at = input.clusters.iter().position(|c| !c.events.is_empty() && c.rows.len() >= 3);
        let at = at.expect("one has events");
        for (what, change) in changes {
            let mut input = later(&input);
            let cluster = &mut input.clusters[at];
            change(cluster);
            let changed = cluster.name.clone();
            let due = due(Some(&old), &faces_of(&input), now_ms);
            assert_eq!((due.clusters, due.fleet), ([changed].into(), true), "{what}");
        }
    }

    #[test]
    fn a_resolved_incident_and_a_failed_job_are_due() {
        let input = example::fleet();
        let old = faces_of(&input);
        let mut resolved = later(&input);
        let cluster = resolved.clusters.iter_mut().find(|c| !c.incidents.is_empty()).expect("has incidents");
        cluster.incidents.iter_mut().for_each(|i| i.state = IncidentState::Resolved);
        let changed = cluster.name.clone();
        let now_ms = input.made_ms + MINUTE_MS;
        assert_eq!(due(Some(&old), &faces_of(&resolved), now_ms).clusters, [changed].into());
        let mut failed = later(&input);
        failed.job_runs[0].outcome = Outcome::Panicked;
        let due = due(Some(&old), &faces_of(&failed), now_ms);
        assert_eq!((due.clusters.len(), due.fleet), (0, true));
    }

    #[test]
    fn every_page_is_due_on_the_grid_and_a_young_one_sooner() {
        let mut input = example::fleet();
        let young = input.clusters[3].name.clone();
        input.clusters[3].chart_range_ms = 3_600_000;
        input.made_ms = 10 * REGULAR_MS + 7_000;
        let old = faces_of(&input);
        let at = |now_ms| due(Some(&old), &old, now_ms);
        assert!(at(10 * REGULAR_MS + YOUNG_MS - 1).is_empty());
        assert_eq!(at(10 * REGULAR_MS + YOUNG_MS).clusters, [young].into());
        assert_eq!(at(11 * REGULAR_MS), Due::all(&input));
        assert_eq!(at(9 * REGULAR_MS), Due::all(&input), "a clock that was ahead does not stop the pages");
        assert_eq!(due(None, &old, 0), Due::all(&input));
    }

    #[test]
    fn what_stays_keeps_its_face_and_its_instant() {
        let input = example::fleet();
        let old = faces_of(&input);
        let mut moved = later(&input);
        moved.clusters[0].tags.insert("team".to_owned(), "x".to_owned());
        moved.made_ms += REGULAR_MS;
        let new = faces_of(&moved);
        let one = Due { clusters: [moved.clusters[0].name.clone()].into(), fleet: true };
        let after = new.clone().after(Some(&old), &one);
        assert_eq!(after.clusters[&moved.clusters[0].name], new.clusters[&moved.clusters[0].name]);
        assert_eq!(after.clusters[&moved.clusters[1].name], old.clusters[&moved.clusters[1].name]);
        assert_eq!(after.fleet, new.fleet);
        assert!(!after.clusters.contains_key(&name("nobody")));
    }
}
