//! When a benchmark is ended for the cluster's sake. Decides from readings; does nothing itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::unit::ConfigDuration;
use crate::model::{BenchMember, BenchServer, Instance, MemberReading, Reading};

/// When to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GovernorConfig {
    /// When p99 of a member's WAL fsyncs is so many times what it was before, and longer than `fsync-floor`.
    pub max_fsync_factor: f64,
    /// What etcd's own documentation asks of a disk for production; less is never too slow.
    pub fsync_floor: ConfigDuration,
    /// When a database is fuller than this part of its quota, 0 to 1.
    pub max_quota_ratio: f64,
    /// When more than this part of the last seconds' requests failed, 0 to 1.
    pub max_error_ratio: f64,
    /// Leader changes that are put up with.
    pub max_leader_changes: u64,
}

impl Default for GovernorConfig {
    fn default() -> Self {
        Self {
            max_fsync_factor: 3.0,
            fsync_floor: ConfigDuration(Duration::from_millis(10)),
            max_quota_ratio: 0.7,
            max_error_ratio: 0.05,
            max_leader_changes: 0,
        }
    }
}

impl GovernorConfig {
    /// What is wrong, by key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(self.max_fsync_factor.is_finite() && self.max_fsync_factor > 1.0) {
            problems.push(("max-fsync-factor", "must be more than 1".to_owned()));
        }
        for (key, ratio) in
            [("max-quota-ratio", self.max_quota_ratio), ("max-error-ratio", self.max_error_ratio)]
        {
            if !(ratio > 0.0 && ratio <= 1.0) {
                problems.push((key, format!("{ratio} is not more than 0 and at most 1")));
            }
        }
        problems
    }
}

/// Too few fsyncs say nothing of the hundredth of them.
const FSYNCS_MIN: f64 = 50.0;
/// Fsyncs are judged over so many looks.
const WINDOW: usize = 4;
/// Too few requests say nothing of their errors.
const REQUESTS_MIN: u64 = 50;

/// Cumulative buckets: upper bound in seconds, count.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    fn of(member: &MemberReading, family: &str) -> Self {
        let Some(scrape) = member.scrape.as_ref().filter(|scrape| scrape.ok) else { return Self::default() };
        let name = format!("{family}_bucket");
        let fits = scrape.samples.iter().filter(|(labels, _)| labels.metric_name() == name);
        let mut buckets: Vec<(f64, f64)> = fits
            .filter_map(|(labels, count)| {
                let bound = match labels.get("le")? {
                    "+Inf" => f64::INFINITY,
                    text => text.parse().ok()?,
                };
                Some((bound, count))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        Self(buckets)
    }

    /// What came since `before`; everything after a restart.
    fn since(&self, before: &Self) -> Self {
        let restarted = self.count() < before.count() || before.0.len() != self.0.len();
        if restarted {
            return self.clone();
        }
        Self(self.0.iter().zip(&before.0).map(|(now, then)| (now.0, now.1 - then.1)).collect())
    }

    fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// As `histogram_quantile` of PromQL: linear within the bucket; the last finite bound at most.
    fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count();
        if rank <= 0.0 {
            return None;
        }
        let (mut low, mut below) = (0.0, 0.0);
        for (high, count) in &self.0 {
            if *count >= rank {
                if high.is_infinite() {
                    return Some(low);
                }
                return Some(low + (high - low) * (rank - below) / (count - below).max(f64::MIN_POSITIVE));
            }
            (low, below) = (*high, *count);
        }
        Some(low)
    }
}

/// What one look at the cluster tells.
#[derive(Debug, Clone)]
pub(super) struct Look {
    term: Option<u64>,
    leader: Option<Instance>,
    version: Option<String>,
    members: Vec<MemberLook>,
    alarms: Vec<String>,
}

#[derive(Debug, Clone)]
struct MemberLook {
    instance: Instance,
    db_bytes: Option<u64>,
    in_use_bytes: Option<u64>,
    quota_bytes: Option<u64>,
    fsyncs: Buckets,
    commits: Buckets,
    slow_applies: Option<f64>,
    failed_proposals: Option<f64>,
    cpu_seconds: Option<f64>,
    memory_bytes: Option<u64>,
}

impl Look {
    pub(super) fn of(reading: &Reading) -> Self {
        let mut versions: Vec<String> = reading
            .members
            .iter()
            .filter_map(|member| member.status.as_ref())
            .map(|status| status.version.clone())
            .filter(|version| !version.is_empty())
            .collect();
        versions.sort();
        versions.dedup();
        Self {
            term: reading.leader().map(|(_, term)| term),
            leader: reading.leader_member().map(|member| member.instance.clone()),
            version: (!versions.is_empty()).then(|| versions.join(", ")),
            members: reading.members.iter().map(MemberLook::of).collect(),
            alarms: reading.alarms.iter().map(|alarm| alarm.kind.clone()).collect(),
        }
    }

    pub(super) fn leader(&self) -> Option<&Instance> {
        self.leader.as_ref()
    }

    /// Whether any member's metrics say how long its fsyncs take.
    pub(super) fn sees_fsyncs(&self) -> bool {
        self.members.iter().any(|member| !member.fsyncs.0.is_empty())
    }

    /// What makes it wrong to begin, before anything is sent.
    pub(super) fn objection(&self, config: &GovernorConfig) -> Option<String> {
        if self.leader.is_none() {
            return Some("the cluster has no leader that answers".to_owned());
        }
        if let Some(alarm) = self.alarms.first() {
            return Some(format!("the alarm {alarm} is active"));
        }
        self.too_full(config)
    }

    fn too_full(&self, config: &GovernorConfig) -> Option<String> {
        self.members.iter().find_map(|member| {
            let quota = member.quota_bytes.filter(|quota| *quota > 0)?;
            let ratio = member.db_bytes? as f64 / quota as f64;
            (ratio > config.max_quota_ratio).then(|| {
                let (percent, limit) = (ratio * 100.0, config.max_quota_ratio * 100.0);
                let instance = &member.instance;
                format!("the database of {instance} takes {percent:.0} % of its quota, {limit:.0} % at most")
            })
        })
    }

    /// What the members did from `before` until this look.
    pub(super) fn server(&self, before: &Self) -> BenchServer {
        let terms = self.term.zip(before.term);
        BenchServer {
            version: self.version.clone().or_else(|| before.version.clone()),
            leader: self.leader.clone(),
            leader_changes: terms.map_or(0, |(after, before)| after.saturating_sub(before)),
            revision_before: None,
            revision_after: None,
            members: self
                .members
                .iter()
                .map(|member| {
                    let then = before.members.iter().find(|then| then.instance == member.instance);
                    member.over(then, self.leader.as_ref())
                })
                .collect(),
        }
    }
}

impl MemberLook {
    fn of(member: &MemberReading) -> Self {
        let scrape = member.scrape.as_ref().filter(|scrape| scrape.ok);
        let first = |name: &str| scrape.and_then(|scrape| scrape.samples.first(name)).map(|(_, value)| value);
        let status = member.status.as_ref();
        let quota = first("etcd_server_quota_backend_bytes").filter(|quota| *quota > 0.0);
        Self {
            instance: member.instance.clone(),
            db_bytes: status.map(|status| status.db_size_bytes),
            in_use_bytes: status.map(|status| status.db_size_in_use_bytes),
            quota_bytes: status.and_then(|status| status.quota_bytes).or(quota.map(|quota| quota as u64)),
            fsyncs: Buckets::of(member, "etcd_disk_wal_fsync_duration_seconds"),
            commits: Buckets::of(member, "etcd_disk_backend_commit_duration_seconds"),
            slow_applies: first("etcd_server_slow_apply_total"),
            failed_proposals: first("etcd_server_proposals_failed_total"),
            cpu_seconds: first("process_cpu_seconds_total"),
            memory_bytes: first("process_resident_memory_bytes").map(|bytes| bytes as u64),
        }
    }

    fn over(&self, before: Option<&Self>, leader: Option<&Instance>) -> BenchMember {
        let none = Buckets::default();
        let fsyncs = self.fsyncs.since(before.map_or(&none, |before| &before.fsyncs));
        let commits = self.commits.since(before.map_or(&none, |before| &before.commits));
        let grown = |now: Option<f64>, then: Option<f64>| Some((now? - then?).max(0.0));
        let whole = |value: Option<f64>| value.unwrap_or(0.0) as u64;
        BenchMember {
            instance: self.instance.clone(),
            is_leader: leader == Some(&self.instance),
            fsyncs: fsyncs.count() as u64,
            fsync_p99: fsyncs.quantile(0.99),
            commits: commits.count() as u64,
            commit_p99: commits.quantile(0.99),
            slow_applies: whole(grown(self.slow_applies, before.and_then(|before| before.slow_applies))),
            failed_proposals: whole(grown(
                self.failed_proposals,
                before.and_then(|before| before.failed_proposals),
            )),
            cpu_seconds: grown(self.cpu_seconds, before.and_then(|before| before.cpu_seconds)),
            memory_bytes_before: before.and_then(|before| before.memory_bytes),
            memory_bytes_after: self.memory_bytes,
            db_bytes_before: before.and_then(|before| before.db_bytes),
            db_bytes_after: self.db_bytes,
            in_use_bytes_before: before.and_then(|before| before.in_use_bytes),
            in_use_bytes_after: self.in_use_bytes,
        }
    }
}

/// Whether a run may go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Continue,
    /// Why not.
    Stop(String),
}

/// Follows one run.
pub(super) struct Governor {
    config: GovernorConfig,
    before: Look,
    looks: Vec<Look>,
    /// Good and failed requests up to each look.
    answers: Vec<(u64, u64)>,
}

impl Governor {
    pub(super) fn new(config: &GovernorConfig, before: Look) -> Self {
        Self { config: config.clone(), before, looks: Vec::new(), answers: vec![(0, 0)] }
    }

    /// Takes the next look, with how many requests were answered well and how many failed so far.
    pub(super) fn look(&mut self, look: Look, ok: u64, failed: u64) -> Verdict {
        let changes = look.term.zip(self.before.term).map_or(0, |(now, then)| now.saturating_sub(then));
        if changes > self.config.max_leader_changes {
            return Verdict::Stop(format!("the leader changed {changes} time(s) while it ran"));
        }
        if let Some(why) = look.too_full(&self.config) {
            return Verdict::Stop(why);
        }
        if let Some(alarm) = look.alarms.first() {
            return Verdict::Stop(format!("the alarm {alarm} became active"));
        }
        let slow = look.members.iter().find_map(|member| self.slow(member));
        self.looks.push(look);
        if self.looks.len() > WINDOW {
            self.looks.remove(0);
        }
        self.answers.push((ok, failed));
        let errors = self.errors();
        if self.answers.len() > WINDOW {
            self.answers.remove(0);
        }
        match slow.or(errors) {
            Some(why) => Verdict::Stop(why),
            None => Verdict::Continue,
        }
    }

    fn slow(&self, member: &MemberLook) -> Option<String> {
        let of_it =
            |look: &Look| look.members.iter().find(|there| there.instance == member.instance).cloned();
        let then = self.looks.first().and_then(of_it).or_else(|| of_it(&self.before))?;
        let recent = member.fsyncs.since(&then.fsyncs);
        let usual = of_it(&self.before)?.fsyncs;
        if recent.count() < FSYNCS_MIN || usual.count() < FSYNCS_MIN {
            return None;
        }
        let (now, usual) = (recent.quantile(0.99)?, usual.quantile(0.99)?);
        let limit = (usual * self.config.max_fsync_factor).max(self.config.fsync_floor.0.as_secs_f64());
        (now > limit).then(|| {
            let (now, usual, factor) = (now * 1e3, usual * 1e3, self.config.max_fsync_factor);
            let instance = &member.instance;
            format!(
                "p99 of the WAL fsyncs of {instance} is {now:.1} ms, more than {factor} times the {usual:.1} ms of before"
            )
        })
    }

    fn errors(&self) -> Option<String> {
        let ((ok, failed), (ok_then, failed_then)) = (self.answers.last()?, self.answers.first()?);
        let (ok, failed) = (ok.saturating_sub(*ok_then), failed.saturating_sub(*failed_then));
        let all = ok + failed;
        let ratio = failed as f64 / all.max(1) as f64;
        (all >= REQUESTS_MIN && ratio > self.config.max_error_ratio).then(|| {
            let (percent, limit) = (ratio * 100.0, self.config.max_error_ratio * 100.0);
            format!("{percent:.0} % of the last {all} requests failed, {limit:.0} % at most")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(term: u64, fsyncs: &[(f64, f64)], db_bytes: u64) -> Look {
        let instance: Instance = "10.0.0.1:2379".parse().expect("an instance");
        let member = MemberLook {
            instance: instance.clone(),
            db_bytes: Some(db_bytes),
            in_use_bytes: None,
            quota_bytes: Some(1_000),
            fsyncs: Buckets(fsyncs.to_vec()),
            commits: Buckets::default(),
            slow_applies: None,
            failed_proposals: None,
            cpu_seconds: None,
            memory_bytes: None,
        };
        let leader = Some(instance);
        Look { term: Some(term), leader, version: None, members: vec![member], alarms: Vec::new() }
    }

    /// So many fsyncs within 4 ms, and so many within 64 ms.
    fn fsyncs(fast: f64, slow: f64) -> Vec<(f64, f64)> {
        vec![(0.004, fast), (0.064, fast + slow), (f64::INFINITY, fast + slow)]
    }

    fn stopped(verdict: Verdict) -> String {
        match verdict {
            Verdict::Stop(why) => why,
            Verdict::Continue => panic!("it goes on"),
        }
    }

    #[test]
    fn a_quiet_cluster_lets_it_go_on() {
        let mut governor = Governor::new(&GovernorConfig::default(), look(2, &fsyncs(1_000.0, 0.0), 100));
        for n in 1..20_u32 {
            let at = f64::from(n);
            let next = look(2, &fsyncs(1_000.0 + 500.0 * at, 1.0 * at), 100 + u64::from(n));
            assert_eq!(governor.look(next, u64::from(n) * 500, 0), Verdict::Continue);
        }
    }

    #[test]
    fn each_harm_ends_it() {
        let start = || Governor::new(&GovernorConfig::default(), look(2, &fsyncs(1_000.0, 0.0), 100));
        let usual = fsyncs(1_100.0, 0.0);
        assert_eq!(
            stopped(start().look(look(3, &usual, 100), 10, 0)),
            "the leader changed 1 time(s) while it ran"
        );
        assert!(stopped(start().look(look(2, &usual, 701), 10, 0)).contains("70 % of its quota, 70 %"));
        assert_eq!(start().look(look(2, &usual, 700), 10, 0), Verdict::Continue);
        let slow = stopped(start().look(look(2, &fsyncs(1_090.0, 10.0), 100), 10, 0));
        assert!(slow.contains("p99 of the WAL fsyncs of 10.0.0.1:2379 is"), "{slow}");
        assert!(
            stopped(start().look(look(2, &usual, 100), 94, 6))
                .starts_with("6 % of the last 100 requests failed")
        );
        assert_eq!(start().look(look(2, &usual, 100), 95, 5), Verdict::Continue);
        let mut alarmed = look(2, &usual, 100);
        alarmed.alarms.push("NOSPACE".to_owned());
        assert_eq!(stopped(start().look(alarmed, 1, 0)), "the alarm NOSPACE became active");
    }

    #[test]
    fn fsyncs_that_stay_within_what_production_asks_are_never_too_slow() {
        let fast = |count: f64| vec![(0.001, count), (0.008, count), (f64::INFINITY, count)];
        let slower = vec![(0.001, 1_000.0), (0.008, 1_200.0), (f64::INFINITY, 1_200.0)];
        let mut governor = Governor::new(&GovernorConfig::default(), look(2, &fast(1_000.0), 100));
        assert_eq!(governor.look(look(2, &slower, 100), 10, 0), Verdict::Continue);
    }

    #[test]
    fn quantiles_are_those_of_promql() {
        let buckets = Buckets(vec![(0.001, 10.0), (0.002, 60.0), (0.004, 100.0), (f64::INFINITY, 100.0)]);
        assert!((buckets.quantile(0.5).expect("one") - 0.0018).abs() < 1e-12);
        assert!((buckets.quantile(0.99).expect("one") - 0.00395).abs() < 1e-12);
        assert_eq!(Buckets(vec![(0.001, 0.0), (f64::INFINITY, 5.0)]).quantile(0.99), Some(0.001));
        assert_eq!(Buckets::default().quantile(0.99), None);
    }
}
