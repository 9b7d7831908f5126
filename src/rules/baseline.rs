//! The seasonal baseline: is this hour like the same hour of the last seven days?
//!
//! For latency, proposal rate and database growth one series per cluster is recorded. The half hour that just
//! passed is compared with the median of the same hours of the last seven days; how far the days are apart is
//! their median absolute deviation (MAD), which one bad day does not move. What is more than six of the
//! standard deviations that the MAD stands for away, and half the median, and more than a floor below which
//! nobody cares, is told as info. With fewer than four days of history nothing is.
//!
//! The rules are generated as an ordinary rule file, so that they are listed and tested like any other.

use std::fmt::Write as _;

use super::file::{self, RuleFileError};
use super::rule::RuleGroup;

/// The alert of every quantity.
pub const BASELINE_ALERT: &str = "EtcdUnlikeLastDays";

/// The MAD of normally distributed values is their standard deviation divided by 1.4826; six of those.
const MADS: f64 = 8.9;
/// How many of the seven days must be known.
const DAYS_LEAST: u32 = 4;

/// What is compared.
struct Quantity {
    name: &'static str,
    /// One value per cluster.
    expr: &'static str,
    /// Whether less than usual counts, too.
    both_ways: bool,
    /// Deviations below this are nobody's concern, in the unit of `expr`.
    floor: f64,
    printed: &'static str,
}

const QUANTITIES: [Quantity; 3] = [
    Quantity {
        name: "latency",
        expr: "max by (cluster) (quantile_over_time(0.5, etcd_monitor_probe_seconds{probe=\"linearizable-read\"}[5m]))",
        both_ways: false,
        floor: 0.005,
        printed: "humanizeDuration",
    },
    Quantity {
        name: "rate",
        expr: "max by (cluster) (rate(etcd_server_proposals_committed_total[5m]))",
        both_ways: true,
        floor: 10.0,
        printed: "humanize",
    },
    Quantity {
        name: "growth",
        expr: "max by (cluster) (deriv(etcd_monitor_db_in_use_bytes[15m]))",
        both_ways: false,
        floor: 10_240.0,
        printed: "humanize1024",
    },
];

/// The generated rules as a rule file.
pub fn rule_file() -> String {
    let mut text = "groups:\n- name: baseline-values\n  rules:\n".to_owned();
    for quantity in &QUANTITIES {
        let _ = write!(
            text,
            "  - record: etcd_monitor_baseline_value\n    expr: {}\n    labels:\n      quantity: {}\n",
            quantity.expr, quantity.name
        );
    }
    text.push_str("- name: baseline\n  rules:\n");
    for day in 1..=7 {
        // From half an hour before the same time of day to half an hour after it.
        let offset_minutes = day * 24 * 60 - 30;
        let _ = write!(
            text,
            "  - record: etcd_monitor_baseline_day\n    expr: avg_over_time(etcd_monitor_baseline_value[1h] offset {offset_minutes}m)\n    \
             labels:\n      day: \"{day}\"\n"
        );
    }
    text.push_str(
        "  - record: etcd_monitor_baseline_median\n    expr: quantile by (cluster, quantity) (0.5, etcd_monitor_baseline_day)\n  \
         - record: etcd_monitor_baseline_mad\n    expr: quantile by (cluster, quantity) (0.5, abs(etcd_monitor_baseline_day - \
         on (cluster, quantity) group_left () etcd_monitor_baseline_median))\n  \
         - record: etcd_monitor_baseline_deviation\n    expr: avg_over_time(etcd_monitor_baseline_value[30m]) - \
         on (cluster, quantity) etcd_monitor_baseline_median\n",
    );
    for quantity in &QUANTITIES {
        text.push_str(&alert(quantity));
    }
    text
}

fn alert(quantity: &Quantity) -> String {
    let of = |series: &str| format!("etcd_monitor_baseline_{series}{{quantity=\"{}\"}}", quantity.name);
    let (deviation, median) = (of("deviation"), of("median"));
    let way = if quantity.both_ways { format!("abs({deviation})") } else { deviation };
    let (floor, mad, printed, name) = (quantity.floor, of("mad"), quantity.printed, quantity.name);
    format!(
        "  - alert: {BASELINE_ALERT}\n    expr: {way} > {floor} and {way} > {MADS} * {mad} and {way} > 0.5 * abs({median}) \
         and count by (cluster, quantity) ({}) >= {DAYS_LEAST}\n    for: 30m\n    labels:\n      severity: info\n    annotations:\n      \
         summary: '{name} of etcd cluster {{{{ $labels.cluster }}}} is unlike this hour of the last days'\n      \
         description: 'Over half an hour it was {{{{ $value | {printed} }}}} off the median of the same hour of the last seven days.'\n      \
         runbook: docs/runbooks/{BASELINE_ALERT}.md\n",
        of("day")
    )
}

/// The generated rules.
///
/// # Errors
/// Never in a released program: a test reads the same text.
pub fn groups() -> Result<Vec<RuleGroup>, Vec<RuleFileError>> {
    file::parse("baseline", &rule_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FindingState, Labels, METRIC_NAME, SeriesSet};
    use crate::rules::{EvalState, Owner, RuleOptions, evaluate, owner};

    const MINUTE_MS: i64 = 60_000;
    const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
    const SAMPLE_MS: i64 = 10 * MINUTE_MS;
    const STEP_MS: i64 = 30 * MINUTE_MS;

    /// xorshift: noise that a seed repeats.
    struct Noise(u64);

    impl Noise {
        /// Uniform in 0..1.
        fn next(&mut self) -> f64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// About normal, with standard deviation 1.
        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.next()).sum::<f64>() - 6.0
        }
    }

    /// A healthy cluster under a load that follows the day and is less at week ends; `factor` changes the value
    /// at each instant.
    fn load(seed: u64, days: i64, factor: impl Fn(i64) -> f64) -> SeriesSet {
        let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut set = SeriesSet::default();
        for (quantity, base) in [("latency", 0.008), ("rate", 400.0), ("growth", 60_000.0)] {
            let labels =
                [(METRIC_NAME, "etcd_monitor_baseline_value"), ("cluster", "a"), ("quantity", quantity)];
            let labels = Labels::from_pairs(labels);
            let mut drift = 0.0;
            for ts_ms in (0..days * DAY_MS).step_by(SAMPLE_MS as usize) {
                let hour = (ts_ms % DAY_MS) as f64 / 3.6e6;
                let season = 1.0 + 0.6 * ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin();
                let week_end = if (ts_ms / DAY_MS) % 7 >= 5 { 0.7 } else { 1.0 };
                // Hours are not like each other, and neither are minutes.
                drift = 0.9 * drift + 0.04 * noise.normal();
                let value = base * season * week_end * (1.0 + drift + 0.1 * noise.normal()).max(0.05);
                set.push(&labels, ts_ms, value * factor(ts_ms));
            }
        }
        set
    }

    /// How many alerts began, and how many half hours had one, from the day `first` on.
    fn alarms(set: &SeriesSet, first: i64, days: i64) -> (usize, usize) {
        let group = &groups().expect("valid")[1];
        let (mut state, mut firing, mut began, mut held) = (EvalState::default(), 0, 0, 0);
        for at_ms in (first * DAY_MS..days * DAY_MS).step_by(STEP_MS as usize) {
            let found = evaluate(group, set, at_ms, &state, &RuleOptions::default());
            assert_eq!(found.errors, []);
            let now = found.findings.iter().filter(|f| f.state == FindingState::Firing).count();
            began += now.saturating_sub(firing);
            held += usize::from(now > 0);
            (firing, state) = (now, found.state);
        }
        (began, held)
    }

    #[test]
    fn values_are_recorded_by_watch_and_compared_by_evaluate() {
        let groups = groups().unwrap_or_else(|errors| panic!("{errors:?}"));
        let owners: Vec<Owner> = groups.iter().map(|group| owner(group, true)).collect();
        assert_eq!(owners, [Owner::Watch, Owner::Evaluate]);
    }

    /// The rate that docs/rules.md states: 30 days after the first week, three quantities, every half hour.
    #[test]
    fn healthy_seasonal_load_raises_hardly_an_alarm() {
        // By seed: alarms that began, and half hours with one.
        let found: Vec<(usize, usize)> =
            (1..=4).map(|seed| alarms(&load(seed, 37, |_| 1.0), 7, 37)).collect();
        let began: usize = found.iter().map(|(began, _)| began).sum();
        assert!(began <= 1, "false alarms in 4 × 30 days of three quantities: {found:?}");
    }

    #[test]
    fn an_unusual_hour_is_told_and_a_short_history_is_not() {
        let busy = |from: i64| move |ts_ms: i64| if ts_ms >= from { 3.0 } else { 1.0 };
        let (began, _) = alarms(&load(1, 10, busy(9 * DAY_MS)), 8, 10);
        assert!(began >= 2, "latency, rate and growth three times as high: {began}");
        let (began, _) = alarms(&load(1, 4, busy(2 * DAY_MS)), 0, 4);
        assert_eq!(began, 0, "fewer than four days");
    }
}
