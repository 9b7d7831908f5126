//! How long a member's WAL fsyncs take, from two looks at its `/metrics`.

/// The cumulative buckets of `etcd_disk_wal_fsync_duration_seconds`: upper bound in seconds, count.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fsyncs(Vec<(f64, f64)>);

/// Fewer say nothing of a percentile.
const COUNT_MIN: f64 = 20.0;

impl Fsyncs {
    pub(super) fn parse(text: &str) -> Self {
        const BUCKET: &str = "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"";
        let lines = text.lines().filter_map(|line| line.strip_prefix(BUCKET));
        let bucket = |line: &str| {
            let (bound, count) = line.split_once("\"} ")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, count.trim().parse().ok()?))
        };
        Self(lines.filter_map(bucket).collect())
    }

    /// The bound that 99 % of all fsyncs stayed below since the member started, seconds; `None` of too few.
    pub(super) fn p99(&self) -> Option<f64> {
        self.p99_since(&Self(self.0.iter().map(|(bound, _)| (*bound, 0.0)).collect()))
    }

    /// The bound that 99 % of the fsyncs since `before` stayed below, seconds; `None` of too few, and after a restart.
    pub(super) fn p99_since(&self, before: &Self) -> Option<f64> {
        let since: Vec<(f64, f64)> =
            self.0.iter().zip(&before.0).map(|((bound, now), (_, then))| (*bound, now - then)).collect();
        let (_, count) = since.last()?;
        if *count < COUNT_MIN || since.iter().any(|(_, count)| *count < 0.0) {
            return None;
        }
        since.iter().find(|(_, below)| *below >= 0.99 * count).map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fsyncs(counts: [f64; 3]) -> Fsyncs {
        let bounds = ["0.001", "0.002", "+Inf"];
        let text: String = bounds
            .iter()
            .zip(counts)
            .map(|(le, count)| {
                format!("etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"{le}\"}} {count}\n")
            })
            .collect();
        Fsyncs::parse(&format!("# HELP x\nother 1\n{text}"))
    }

    #[test]
    fn the_percentile_is_of_what_came_between() {
        let before = fsyncs([1000.0, 1000.0, 1000.0]);
        assert_eq!(fsyncs([1099.0, 1100.0, 1100.0]).p99_since(&before), Some(0.001));
        assert_eq!(fsyncs([1098.0, 1100.0, 1100.0]).p99_since(&before), Some(0.002));
        assert_eq!(fsyncs([1000.0, 1000.0, 1100.0]).p99_since(&before), Some(f64::INFINITY));
        assert_eq!(fsyncs([1005.0, 1005.0, 1005.0]).p99_since(&before), None, "too few");
        assert_eq!(fsyncs([5.0, 50.0, 50.0]).p99_since(&before), None, "it was restarted");
        assert_eq!(Fsyncs::default().p99_since(&before), None);
    }
}
