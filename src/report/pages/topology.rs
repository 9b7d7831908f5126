//! The drawing of who talks to whom: the leader on top, learners outside the ring.

use serde::Serialize;

use super::members::{badge, role_of};
use crate::model::unit::human_seconds;
use crate::model::{ReadingRow, Role};
use crate::report::chart::coord;
use crate::report::facts::Facts;

/// A member's box, px.
const BOX: (f64, f64) = (184.0, 62.0);

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Topology {
    pub(crate) width: String,
    pub(crate) height: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    /// The drawing in words.
    pub(crate) description: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Node {
    /// The box's centre and its corner.
    pub(crate) x: String,
    pub(crate) left: String,
    pub(crate) top: String,
    pub(crate) lines: [String; 3],
    pub(crate) line_y: [String; 3],
    pub(crate) class: &'static str,
    pub(crate) role: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Link {
    pub(crate) x1: String,
    pub(crate) y1: String,
    pub(crate) x2: String,
    pub(crate) y2: String,
    pub(crate) label_x: String,
    pub(crate) label_y: String,
    /// Round trip p99, the worse of both directions, or that the link is cut; empty where nobody measured.
    pub(crate) text: String,
    /// False when one end does not answer, or does not hear the other.
    pub(crate) up: bool,
    pub(crate) ends: (String, String),
}

/// `None` without members.
pub(crate) fn topology(facts: &Facts<'_>, redact: bool) -> Option<Topology> {
    if facts.rows.is_empty() {
        return None;
    }
    let mut rows: Vec<&ReadingRow> = facts.rows.clone();
    // Stable: the leader first, learners last, else by name.
    rows.sort_by_key(|row| (!facts.is_leader(row), row.is_learner == Some(true)));
    let places = places(rows.len());
    let (width, height) = extent(&places);
    let nodes = rows.iter().zip(&places).map(|(row, place)| node(facts, row, *place, redact)).collect();
    let mut links = Vec::new();
    for (a, (row_a, from)) in rows.iter().zip(&places).enumerate() {
        for (row_b, to) in rows.iter().zip(&places).skip(a + 1) {
            // With many members only the links that raft uses are drawn: those of the leader.
            if rows.len() <= 3 || facts.is_leader(row_a) || facts.is_leader(row_b) {
                links.push(link(facts, (row_a, *from), (row_b, *to)));
            }
        }
    }
    let leader = facts.leader_name().map_or_else(|| "no leader".to_owned(), |name| format!("leader {name}"));
    let mut description = format!(
        "{} members, {leader}; {} of {} voting members answer",
        rows.len(),
        facts.voters_up,
        facts.voters
    );
    if let Some(partition) = facts.partition() {
        description.push_str(&format!("; {partition}"));
    }
    Some(Topology { width: coord(width), height: coord(height), nodes, links, description })
}

/// Centres: one alone, three as a triangle, more on an ellipse with the first on top.
fn places(count: usize) -> Vec<(f64, f64)> {
    let (rx, ry) = match count {
        0 | 1 => (0.0, 0.0),
        2 => return vec![(104.0, 42.0), (372.0, 42.0)],
        3 => return vec![(252.0, 42.0), (104.0, 188.0), (400.0, 188.0)],
        // A regular pentagon would push its upper sides under the leader's box.
        5 => return vec![(302.0, 42.0), (502.0, 148.0), (426.0, 252.0), (178.0, 252.0), (104.0, 148.0)],
        4 => (208.0, 122.0),
        _ => (330.0, 230.0),
    };
    let centre = (rx + BOX.0 / 2.0 + 12.0, ry + BOX.1 / 2.0 + 10.0);
    (0..count)
        .map(|n| {
            let angle = std::f64::consts::TAU * n as f64 / count as f64;
            (centre.0 + rx * angle.sin(), centre.1 - ry * angle.cos())
        })
        .collect()
}

fn extent(places: &[(f64, f64)]) -> (f64, f64) {
    let most = |of: fn(&(f64, f64)) -> f64| places.iter().map(of).fold(0.0, f64::max);
    (most(|p| p.0) + BOX.0 / 2.0 + 12.0, most(|p| p.1) + BOX.1 / 2.0 + 10.0)
}

fn node(facts: &Facts<'_>, row: &ReadingRow, (x, y): (f64, f64), redact: bool) -> Node {
    let badge = badge(facts, row);
    let role = role_of(facts, row);
    let fsync = facts
        .series("wal_fsync", "instance", row.instance.as_str())
        .and_then(|s| facts.latest(s))
        .map(|value| format!(" · fsync {}", human_seconds(value)))
        .unwrap_or_default();
    let name = facts.name(row);
    let star = if role == Role::Leader { "★ " } else { "" };
    let address =
        if redact || row.instance.as_str() == name { String::new() } else { row.instance.to_string() };
    let top = y - BOX.1 / 2.0;
    Node {
        x: coord(x),
        left: coord(x - BOX.0 / 2.0),
        top: coord(top),
        lines: [
            format!("{star}{} · {}", shortened(&name, 14), role.as_str()),
            shortened(&address, 24),
            format!("{}{fsync}", shortened(&badge.word.to_lowercase(), 12)),
        ],
        line_y: [coord(top + 19.0), coord(top + 35.0), coord(top + 51.0)],
        class: badge.class,
        role: role.as_str(),
    }
}

/// Boxes have one width; the table below has the whole text.
fn shortened(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars - 1).chain(['…']).collect()
}

fn link(facts: &Facts<'_>, (a, from): (&ReadingRow, (f64, f64)), (b, to): (&ReadingRow, (f64, f64))) -> Link {
    let one_way = |from: &ReadingRow, to: &ReadingRow| {
        let to = to.member_id?.to_string();
        let found = facts.panel("peer_rtt").iter().find(|s| {
            s.labels.get("instance") == Some(from.instance.as_str())
                && s.labels.get("To") == Some(to.as_str())
        });
        facts.latest(found?)
    };
    let rtt = [one_way(a, b), one_way(b, a)].into_iter().flatten().reduce(f64::max);
    let level = (from.1 - to.1).abs() < 1.0;
    let deaf = |a: &ReadingRow, b: &ReadingRow| a.deaf_to.contains(&b.instance);
    let is_cut = deaf(a, b) || deaf(b, a);
    Link {
        x1: coord(from.0),
        y1: coord(from.1),
        x2: coord(to.0),
        y2: coord(to.1),
        label_x: coord((from.0 + to.0) / 2.0),
        label_y: coord((from.1 + to.1) / 2.0 + if level { -7.0 } else { 4.0 }),
        text: if is_cut { "cut".to_owned() } else { rtt.map(human_seconds).unwrap_or_default() },
        up: a.reachable && b.reachable && !is_cut,
        ends: (facts.name(a), facts.name(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_boxes_overlap() {
        for count in 1..=9 {
            let places = places(count);
            assert_eq!(places.len(), count);
            for (n, a) in places.iter().enumerate() {
                assert!(a.0 >= BOX.0 / 2.0 && a.1 >= BOX.1 / 2.0, "{count}: {a:?} is cut off");
                for b in &places[n + 1..] {
                    let apart = (a.0 - b.0).abs() >= BOX.0 || (a.1 - b.1).abs() >= BOX.1;
                    assert!(apart, "{count} members: {a:?} and {b:?}");
                }
            }
        }
    }
}
