//! What a cluster should be able to do, and whether a run showed that it is.

use serde::{Deserialize, Serialize};

use crate::model::BenchRow;

/// A demand on one kind of run. What is absent is not demanded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    pub operation: &'static str,
    /// Good answers per second, at least.
    pub rate: Option<f64>,
    /// 99 % of the answers take at most so long, seconds.
    pub p99: Option<f64>,
    /// 99 % of the leader's WAL fsyncs take at most so long, seconds.
    pub fsync_p99: Option<f64>,
}

/// Where the demands come from: etcd's own documentation, on its hardware.
pub const SOURCE: &str = "etcd 3.4 on 8 vCPU, 16 GB of memory and a 50 GB SSD, as etcd documents it";

/// What is demanded without a word of the user.
pub const DEMANDS: [Demand; 2] = [
    Demand { operation: "put", rate: Some(20_000.0), p99: Some(0.1), fsync_p99: Some(0.01) },
    Demand { operation: "range", rate: Some(40_000.0), p99: Some(0.1), fsync_p99: None },
];

/// One demand, and what a run showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Met {
    /// `rate`, `p99`, `fsync-p99`.
    pub what: &'static str,
    pub demanded: f64,
    pub measured: f64,
    pub is_met: bool,
}

/// Which of the demands on its kind a run met, given one of its parts. A run at a given rate cannot show what rate there could be.
pub fn verdicts(row: &BenchRow) -> Vec<Met> {
    let Some(demand) = DEMANDS.iter().find(|demand| demand.operation == row.operation) else {
        return Vec::new();
    };
    if row.ok == 0 {
        return Vec::new();
    }
    let at_least =
        |what, demanded: f64, measured: f64| Met { what, demanded, measured, is_met: measured >= demanded };
    let at_most =
        |what, demanded: f64, measured: f64| Met { what, demanded, measured, is_met: measured <= demanded };
    let rate = demand.rate.filter(|_| !row.is_paced);
    [
        rate.map(|demanded| at_least("rate", demanded, row.rate)),
        demand.p99.zip(row.p99).map(|(demanded, measured)| at_most("p99", demanded, measured)),
        demand
            .fsync_p99
            .zip(row.fsync_p99)
            .map(|(demanded, measured)| at_most("fsync-p99", demanded, measured)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::example;
    use crate::model::BenchRun;

    #[test]
    fn each_demand_is_judged_by_itself() {
        let mut run = example("put", 25_000.0, 0.02);
        let met = |run: &BenchRun| {
            verdicts(&run.rows()[0]).iter().map(|met| (met.what, met.is_met)).collect::<Vec<_>>()
        };
        assert_eq!(met(&run), [("rate", true), ("p99", true), ("fsync-p99", true)]);
        run.parts[0].rate = 19_999.0;
        run.server.members[0].fsync_p99 = Some(0.011);
        assert_eq!(met(&run), [("rate", false), ("p99", true), ("fsync-p99", false)]);
        run.parts[0].uncorrected = Some(run.parts[0].latency.clone());
        assert_eq!(met(&run), [("p99", true), ("fsync-p99", false)], "a rate that was given shows no limit");
        assert_eq!(met(&example("stm", 1.0, 1.0)), []);
    }
}
