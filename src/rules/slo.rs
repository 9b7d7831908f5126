//! Service level objectives: `[[slo]]` becomes a recorded series, burn-rate alerts and an error budget.
//!
//! Every evaluation records how good the moment was, 0 to 1, as `etcd_monitor_slo_good`; its average over a
//! time is the level reached. The alerts are the multiwindow, multi-burn-rate ones of the Site Reliability
//! Workbook (chapter 5, "Alerting on SLOs"): a page when 2 % of the budget went in an hour or 5 % in six, a
//! ticket when 10 % went in one day or in three, each with a window of a twelfth that lets the alert end soon.
//! A time without data is neither good nor bad.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::file::{self, RuleFileError};
use super::overrides::Fleet;
use super::rule::RuleGroup;
use crate::model::unit::{ConfigDuration, format_duration};
use crate::model::{ClusterName, Labels, SeriesSource};
use crate::promql::{self, EvalOptions, Value};

/// The series that is recorded; its label `slo` names the objective.
pub const GOOD: &str = "etcd_monitor_slo_good";
/// The alert of every objective.
pub const BURN_ALERT: &str = "EtcdSloBurn";

const HOUR_SECONDS: u64 = 3_600;
const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;

/// Severity, share of the budget, long window and short window in seconds.
const BURNS: [(&str, f64, u64, u64); 4] = [
    ("critical", 0.02, HOUR_SECONDS, 300),
    ("critical", 0.05, 6 * HOUR_SECONDS, 1_800),
    ("warning", 0.10, DAY_SECONDS, 2 * HOUR_SECONDS),
    ("warning", 0.10, 3 * DAY_SECONDS, 6 * HOUR_SECONDS),
];

/// One `[[slo]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SloConfig {
    pub name: String,
    /// The share that is to be good, in percent: 99.9.
    pub objective: f64,
    #[serde(default = "month")]
    pub window: ConfigDuration,
    pub indicator: Indicator,
    /// For latency: a read that takes longer is not good.
    #[serde(default)]
    pub threshold: Option<ConfigDuration>,
    /// The clusters it is for; with `tags`, those that have them; with neither, all.
    #[serde(default)]
    pub clusters: Vec<ClusterName>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Indicator {
    /// A moment is good when any member served a linearizable read.
    Availability,
    /// How many of the members' linearizable reads were served within `threshold`.
    Latency,
}

fn month() -> ConfigDuration {
    ConfigDuration(std::time::Duration::from_secs(30 * DAY_SECONDS))
}

impl SloConfig {
    /// What is wrong with it, as (key, message).
    pub fn problem(&self, fleet: &Fleet) -> Option<(&'static str, String)> {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(is_word) {
            return Some(("name", format!("{:?} is not made of a-z, 0-9 and '-'", self.name)));
        }
        if !(self.objective > 0.0 && self.objective < 100.0) {
            return Some((
                "objective",
                format!("{} is no share below 100 percent, like 99.9", self.objective),
            ));
        }
        if self.window.0.as_secs() < DAY_SECONDS {
            return Some(("window", "an objective is for a day at least".to_owned()));
        }
        match (self.indicator, self.threshold) {
            (Indicator::Latency, None) => {
                return Some(("threshold", "latency needs one, like \"100ms\"".into()));
            }
            (Indicator::Availability, Some(_)) => {
                return Some(("threshold", "availability has none; the indicator may be latency".to_owned()));
            }
            _ => {}
        }
        let unknown = self.clusters.iter().find(|cluster| !fleet.contains_key(*cluster))?;
        Some(("clusters", format!("there is no cluster \"{unknown}\"")))
    }

    /// The share that may be bad.
    pub fn budget(&self) -> f64 {
        // 100 - 99.9 has an error that would be read in every expression.
        ((100.0 - self.objective) * 1e9).round() / 1e11
    }

    /// The rules as a rule file of their own; `fleet` tells which clusters have the tags.
    pub fn rule_file(&self, fleet: &Fleet) -> String {
        let (name, good) = (&self.name, self.good(fleet));
        let window = format_duration(self.window.0);
        let mut text = format!(
            "groups:\n- name: slo-{name}\n  rules:\n  - record: {GOOD}\n    expr: {good}\n    labels:\n      \
             slo: {name}\n- name: slo-{name}-burn\n  rules:\n"
        );
        for severity in ["critical", "warning"] {
            let _ = write!(
                text,
                "  - alert: {BURN_ALERT}\n    expr: {}\n    labels:\n      severity: {severity}\n    annotations:\n      \
                 summary: '{{{{ $labels.cluster }}}} uses up the error budget of {name} {{{{ $value | humanize }}}} times too fast'\n      \
                 description: 'Of {}% over {window}, the budget is spent {{{{ $value | humanize }}}} times as fast as it lasts.'\n      \
                 runbook: docs/runbooks/{BURN_ALERT}.md\n",
                self.burns(severity),
                self.objective,
            );
        }
        text
    }

    /// The rules, ready to evaluate.
    ///
    /// # Errors
    /// Never for an objective without a [`SloConfig::problem`]: a test reads the same text.
    pub fn groups(&self, fleet: &Fleet) -> Result<Vec<RuleGroup>, Vec<RuleFileError>> {
        file::parse(&format!("slo {}", self.name), &self.rule_file(fleet))
    }

    fn good(&self, fleet: &Fleet) -> String {
        let only = self.only(fleet);
        let read = format!("{{probe=\"linearizable-read\"{only}}}");
        let quorum =
            format!("max by (cluster) (etcd_monitor_has_quorum{{{}}})", only.trim_start_matches(','));
        match self.threshold {
            None => format!("max by (cluster) (etcd_monitor_probe_success{read}) or {quorum}"),
            Some(threshold) => format!(
                "avg by (cluster) ((etcd_monitor_probe_seconds{read} <= bool {}) * etcd_monitor_probe_success{read}) \
                 or {quorum} == 0",
                threshold.0.as_secs_f64()
            ),
        }
    }

    /// The matcher behind others, empty when all clusters are meant.
    fn only(&self, fleet: &Fleet) -> String {
        if self.clusters.is_empty() && self.tags.is_empty() {
            return String::new();
        }
        let has_tags = |tags: &BTreeMap<String, String>| {
            !self.tags.is_empty() && self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
        };
        let meant = fleet.iter().filter(|(name, tags)| self.clusters.contains(name) || has_tags(tags));
        let names: Vec<&str> = meant.map(|(name, _)| name.as_str()).collect();
        // Of no cluster the empty name: the rule then finds nothing, and says so in the list.
        format!(",cluster=~\"{}\"", names.join("|"))
    }

    fn burns(&self, severity: &str) -> String {
        let parts = BURNS.iter().filter(|(own, ..)| *own == severity).map(|(_, share, long, short)| {
            let factor = share * self.window.0.as_secs_f64() / *long as f64;
            let factor = (factor * 1e6).round() / 1e6;
            let over = |seconds: u64| format!("{} > {factor}", self.burn(seconds));
            format!("({} and {})", over(*long), over(*short))
        });
        parts.collect::<Vec<_>>().join(" or ")
    }

    /// How many times too fast the budget was spent over a time.
    fn burn(&self, seconds: u64) -> String {
        let range = format_duration(std::time::Duration::from_secs(seconds));
        format!("(1 - {}) / {}", self.level(&range), self.budget())
    }

    fn level(&self, range: &str) -> String {
        format!("avg_over_time({GOOD}{{slo=\"{}\"}}[{range}])", self.name)
    }

    /// What [`SloConfig::standing`] reads: the level over the window, the burn of the last hour.
    pub fn questions(&self) -> [String; 2] {
        [self.level(&format_duration(self.window.0)), self.burn(HOUR_SECONDS)]
    }

    /// How every cluster stands at `at_ms`.
    ///
    /// # Errors
    /// When the recorded series cannot be read.
    pub fn standing(
        &self,
        source: &dyn SeriesSource,
        at_ms: i64,
        options: &EvalOptions,
    ) -> Result<Vec<Standing>, String> {
        let [level, burn] = self.questions();
        let burns = by_cluster(&burn, source, at_ms, options)?;
        let standing = |(cluster, actual): (String, f64)| Standing {
            slo: self.name.clone(),
            objective: self.objective / 100.0,
            actual,
            budget_left: 1.0 - (1.0 - actual) / self.budget(),
            burn_now: burns.get(&cluster).copied(),
            cluster,
        };
        Ok(by_cluster(&level, source, at_ms, options)?.into_iter().map(standing).collect())
    }
}

fn by_cluster(
    expr: &str,
    source: &dyn SeriesSource,
    at_ms: i64,
    options: &EvalOptions,
) -> Result<BTreeMap<String, f64>, String> {
    let parsed = promql::parse(expr).map_err(|error| error.to_string())?;
    let value = promql::eval_instant(&parsed, source, at_ms, options).map_err(|error| error.to_string())?;
    let Value::Vector(samples) = value else { return Ok(BTreeMap::new()) };
    let cluster = |labels: &Labels| labels.get("cluster").unwrap_or("").to_owned();
    Ok(samples.iter().map(|sample| (cluster(&sample.labels), sample.value)).collect())
}

/// How one cluster stands against an objective. Shares are 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    pub slo: String,
    pub cluster: String,
    pub objective: f64,
    /// The level reached over the window, as far as there is data.
    pub actual: f64,
    /// The part of the error budget that is left; below 0 the objective is missed.
    pub budget_left: f64,
    /// How many times too fast the budget was spent in the last hour; absent without data.
    pub burn_now: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{METRIC_NAME, SeriesSet};
    use crate::rules::{Owner, owner};

    fn slo(text: &str) -> SloConfig {
        toml::from_str(&format!("name = 'reads'\nobjective = 99.9\n{text}")).expect(text)
    }

    fn fleet() -> Fleet {
        let tags = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        [("a", tags.clone()), ("b", BTreeMap::new()), ("c", tags)]
            .into_iter()
            .map(|(name, tags)| (name.parse().expect("a name"), tags))
            .collect()
    }

    #[test]
    fn an_objective_becomes_a_series_for_watch_and_alerts_for_evaluate() {
        for (text, only) in [
            ("indicator = 'availability'", ""),
            ("indicator = 'availability'\ntags = { env = 'prod' }", "cluster=~\"a|c\""),
            ("indicator = 'latency'\nthreshold = '100ms'\nclusters = ['b']", "cluster=~\"b\""),
        ] {
            let slo = slo(text);
            assert_eq!(slo.problem(&fleet()), None);
            let groups = slo.groups(&fleet()).unwrap_or_else(|errors| panic!("{errors:?}"));
            let owners: Vec<Owner> = groups.iter().map(|group| owner(group, true)).collect();
            assert_eq!(owners, [Owner::Watch, Owner::Evaluate]);
            assert!(groups[0].rules[0].expr_text.contains(only), "{}", groups[0].rules[0].expr_text);
            let page = &groups[1].rules[0].expr_text;
            for part in ["[1h])) / 0.001 > 14.4 and", "[5m])) / 0.001 > 14.4)", "[30m])) / 0.001 > 6)"] {
                assert!(page.contains(part), "{part} in {page}");
            }
        }
    }

    #[test]
    fn a_bad_objective_is_told() {
        for (text, key) in [
            ("indicator = 'latency'", "threshold"),
            ("indicator = 'availability'\nthreshold = '1s'", "threshold"),
            ("indicator = 'availability'\nwindow = '1h'", "window"),
            ("indicator = 'availability'\nclusters = ['z']", "clusters"),
        ] {
            assert_eq!(slo(text).problem(&fleet()).map(|(key, _)| key), Some(key), "{text}");
        }
        let over = SloConfig { objective: 100.0, ..slo("indicator = 'availability'") };
        assert_eq!(over.problem(&fleet()).map(|(key, _)| key), Some("objective"));
    }

    #[test]
    fn the_budget_is_what_is_left_of_the_bad_share() {
        let slo = slo("indicator = 'availability'\nwindow = '1d'");
        let labels = [(METRIC_NAME, GOOD), ("slo", "reads"), ("cluster", "a")];
        let mut set = SeriesSet::default();
        // 1,000 moments, one of them bad: half of what 99.8 % allow, all of what 99.9 % do.
        for n in 0..1_000 {
            set.push(&Labels::from_pairs(labels), n * 60_000, if n == 990 { 0.0 } else { 1.0 });
        }
        let found = slo.standing(&set, 999 * 60_000, &EvalOptions::default()).expect("in memory");
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert!((one.actual - 0.999).abs() < 1e-9 && one.budget_left.abs() < 1e-6, "{one:?}");
        let hour = one.burn_now.expect("data");
        assert!((hour - 1_000.0 / 61.0).abs() < 1e-6, "{hour}");
        let half = SloConfig { objective: 99.8, ..slo };
        let found = half.standing(&set, 999 * 60_000, &EvalOptions::default()).expect("in memory");
        assert!((found[0].budget_left - 0.5).abs() < 1e-6, "{found:?}");
    }
}
