//! The order of the clusters.

use std::cmp::Ordering;

use super::Member;

/// What the table can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Column {
    Cluster,
    State,
    /// Members that do not answer
    Members,
    Alerts,
    LeaderChanges,
    Put,
    Fsync,
    Commit,
    Db,
    Quota,
    Growth,
}

impl Column {
    /// The key of the measure that it shows.
    pub(super) fn measure(self) -> Option<&'static str> {
        Some(match self {
            Self::Cluster | Self::State | Self::Members | Self::Alerts => return None,
            Self::LeaderChanges => "leader_changes_per_day",
            Self::Put => "put_latency_p99",
            Self::Fsync => "wal_fsync_p99",
            Self::Commit => "backend_commit_p99",
            Self::Db => "db_size",
            Self::Quota => "db_used_share",
            Self::Growth => "db_growth_per_day",
        })
    }
}

/// Names ascending, states worst first, numbers largest first; equal ones by name, and those of which nothing is known
/// last, in both directions.
pub(super) fn sort(members: &mut [Member], by: Column, reverse: bool) {
    let figure = |member: &Member| match by {
        Column::Members => Some((member.voters - member.voters_up) as f64),
        Column::Alerts => Some(member.alerts as f64),
        _ => member.figures.get(by.measure()?).map(|figure| figure.value),
    };
    let turned = |order: Ordering| if reverse { order.reverse() } else { order };
    members.sort_by(|a, b| {
        let order = match by {
            Column::Cluster => return turned(a.name.cmp(&b.name)),
            Column::State => turned(a.state.cmp(&b.state)),
            _ => match (figure(a), figure(b)) {
                (Some(a), Some(b)) => turned(b.total_cmp(&a)),
                (a, b) => a.is_none().cmp(&b.is_none()),
            },
        };
        order.then_with(|| a.name.cmp(&b.name))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Figure;
    use crate::report::State;

    fn member(name: &str, state: State, alerts: usize, fsync: Option<f64>) -> Member {
        let figure = |value: f64| Figure { value, highest: value, source: None };
        Member {
            name: name.parse().expect("a name"),
            tags: Default::default(),
            state,
            headline: String::new(),
            voters_up: 3 - alerts,
            voters: 3,
            alerts,
            versions: Vec::new(),
            figures: fsync.map(|value| ("wal_fsync_p99".to_owned(), figure(value))).into_iter().collect(),
        }
    }

    #[test]
    fn what_is_worst_or_largest_comes_first_and_the_unknown_last() {
        let mut fleet = [
            member("a", State::Healthy, 0, Some(0.002)),
            member("b", State::NoQuorum, 2, None),
            member("c", State::Healthy, 1, Some(0.020)),
            member("d", State::Degraded, 1, Some(0.001)),
        ];
        for (by, reverse, wanted) in [
            (Column::Cluster, false, "abcd"),
            (Column::Cluster, true, "dcba"),
            (Column::State, false, "bdac"),
            (Column::State, true, "acdb"),
            (Column::Members, false, "bcda"),
            (Column::Alerts, true, "acdb"),
            (Column::Fsync, false, "cadb"),
            (Column::Fsync, true, "dacb"),
            (Column::Growth, false, "abcd"),
        ] {
            sort(&mut fleet, by, reverse);
            let order: String = fleet.iter().map(|member| member.name.as_str()).collect();
            assert_eq!(order, wanted, "{by:?} {reverse}");
        }
    }
}
