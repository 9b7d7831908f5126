//! How the members of a cluster stand to each other: who leads, who follows whom, who hears whom, and how many
//! may still stop.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Instance, MemberId, ReadingRow, Role};

/// The structure of one cluster at one reading.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Structure {
    /// Voting members.
    pub voters: usize,
    /// Voting members that follow the leader of the highest term, itself included.
    pub following: usize,
    /// Voters that may stop before the quorum is lost; below 0 it is lost, by so many.
    pub margin: i64,
    /// Members that take themselves for the leader, with their terms.
    pub leaders: Vec<(Instance, u64)>,
    /// Different (leader, term) pairs that members go by. More than one for longer than an election: the brain is
    /// split.
    pub views: usize,
    /// Members that do not hear a peer, though the monitor reaches both: (who, whom).
    pub cuts: Vec<(Instance, Instance)>,
    /// Groups of answering members that hear each other, the largest first; one while the cluster is whole.
    pub sides: Vec<Vec<Instance>>,
}

impl Structure {
    /// Of the rows of one reading.
    pub fn of(rows: &[ReadingRow]) -> Self {
        let voters = || rows.iter().filter(|row| row.is_learner != Some(true));
        let highest =
            rows.iter().filter_map(|row| Some((row.raft_term?, row.leader?))).max_by_key(|(term, _)| *term);
        let follows = |row: &&ReadingRow| {
            row.reachable && highest.is_some_and(|(_, leader)| row.leader == Some(leader))
        };
        let (all, following) = (voters().count(), voters().filter(follows).count());
        let views: BTreeSet<(MemberId, u64)> =
            rows.iter().filter_map(|row| Some((row.leader?, row.raft_term?))).collect();
        let leads = |row: &&ReadingRow| row.role == Role::Leader;
        let leaders = rows.iter().filter(leads).map(|row| (row.instance.clone(), row.raft_term.unwrap_or(0)));
        let deaf = |row: &ReadingRow| -> Vec<(Instance, Instance)> {
            row.deaf_to.iter().map(|peer| (row.instance.clone(), peer.clone())).collect()
        };
        let cuts: Vec<_> = rows.iter().flat_map(deaf).collect();
        Self {
            voters: all,
            following,
            margin: count(following) - count(all / 2 + 1),
            leaders: leaders.collect(),
            views: views.len(),
            sides: sides(rows, &cuts),
            cuts,
        }
    }

    /// Who cannot hear whom, as a sentence; `None` while nobody is cut off. `name` gives what people call a member.
    pub fn partition(&self, name: &dyn Fn(&Instance) -> String) -> Option<String> {
        let list = |members: &[Instance]| members.iter().map(name).collect::<Vec<_>>().join(", ");
        if self.sides.len() > 1 {
            let sides: Vec<String> = self.sides.iter().map(|side| list(side)).collect();
            return Some(format!("cut into {}", sides.join(" | ")));
        }
        let both = |(a, b): &(Instance, Instance)| self.cuts.contains(&(b.clone(), a.clone()));
        let told = self.cuts.iter().filter(|(a, b)| a < b || !both(&(a.clone(), b.clone())));
        let told: Vec<String> = told
            .map(|cut @ (deaf, peer)| {
                let (deaf, peer) = (name(deaf), name(peer));
                if both(cut) {
                    format!("{deaf} and {peer} do not hear each other")
                } else {
                    format!("{deaf} does not hear {peer}")
                }
            })
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Answering members in groups: two are in one if neither is known not to hear the other, directly or through
/// members in between.
fn sides(rows: &[ReadingRow], cuts: &[(Instance, Instance)]) -> Vec<Vec<Instance>> {
    let mut left: Vec<&Instance> = rows.iter().filter(|row| row.reachable).map(|row| &row.instance).collect();
    let cut = |a: &Instance, b: &Instance| cuts.iter().any(|(x, y)| (x == a && y == b) || (x == b && y == a));
    let mut sides = Vec::new();
    while let Some(first) = left.pop() {
        let mut side = vec![first];
        let mut at = 0;
        while let Some(member) = side.get(at).copied() {
            let (joined, others) = left.into_iter().partition(|other| !cut(member, other));
            left = others;
            side.extend::<Vec<_>>(joined);
            at += 1;
        }
        let mut side: Vec<Instance> = side.into_iter().cloned().collect();
        side.sort();
        sides.push(side);
    }
    sides.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    sides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u64, leader: u64, term: u64, deaf_to: &[u64]) -> ReadingRow {
        let instance = |n: u64| format!("m{n}:2379").parse().expect("instance");
        ReadingRow {
            cluster: "a".parse().expect("name"),
            cluster_id: None,
            instance: instance(n),
            member_id: Some(MemberId(n)),
            name: None,
            ts_ms: 0,
            duration_ms: 1,
            reachable: true,
            errors: Vec::new(),
            version: None,
            role: if leader == n { Role::Leader } else { Role::Follower },
            is_learner: Some(false),
            deaf_to: deaf_to.iter().map(|n| instance(*n)).collect(),
            unhealthy: Vec::new(),
            defragmenting: false,
            raft_term: Some(term),
            leader: Some(leader).filter(|leader| *leader != 0).map(MemberId),
            raft_index: None,
            raft_applied_index: None,
            db_size_bytes: None,
            db_size_in_use_bytes: None,
            quota_bytes: None,
            alarms: Vec::new(),
        }
    }

    fn down(n: u64) -> ReadingRow {
        ReadingRow { reachable: false, raft_term: None, role: Role::Unknown, ..row(n, 0, 0, &[]) }
    }

    #[test]
    fn margin_views_and_sides_of_typical_clusters() {
        let learner = ReadingRow { is_learner: Some(true), role: Role::Learner, ..row(3, 1, 2, &[]) };
        let table = [
            ("whole", vec![row(1, 1, 2, &[]), row(2, 1, 2, &[]), row(3, 1, 2, &[])], 1, 1, None),
            ("one down", vec![row(1, 1, 2, &[]), row(2, 1, 2, &[]), down(3)], 0, 1, None),
            ("two down", vec![row(1, 0, 2, &[]), down(2), down(3)], -2, 0, None),
            ("a learner does not count", vec![row(1, 1, 2, &[]), row(2, 1, 2, &[]), learner], 0, 1, None),
            ("single", vec![row(1, 1, 2, &[])], 0, 1, None),
            (
                "the leader is alone",
                vec![row(1, 1, 2, &[2, 3]), row(2, 2, 3, &[1]), row(3, 2, 3, &[1])],
                0,
                2,
                Some("cut into m2, m3 | m1"),
            ),
            (
                "one link",
                vec![row(1, 1, 2, &[2]), row(2, 0, 2, &[1]), row(3, 1, 2, &[])],
                0,
                1,
                Some("m1 and m2 do not hear each other"),
            ),
            (
                "one way",
                vec![row(1, 1, 2, &[]), row(2, 0, 2, &[1]), row(3, 1, 2, &[])],
                0,
                1,
                Some("m2 does not hear m1"),
            ),
        ];
        for (what, rows, margin, views, partition) in table {
            let found = Structure::of(&rows);
            assert_eq!((found.margin, found.views), (margin, views), "{what}");
            let name = |instance: &Instance| instance.host().to_owned();
            assert_eq!(found.partition(&name).as_deref(), partition, "{what}");
        }
    }

    #[test]
    fn two_leaders_are_both_named() {
        let found = Structure::of(&[row(1, 1, 4, &[]), row(2, 2, 4, &[]), row(3, 2, 4, &[])]);
        assert_eq!(found.leaders.len(), 2);
        assert_eq!(found.views, 2);
    }
}
