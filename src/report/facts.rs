//! What the verdict, the tiles, the tables and the drawings all ask of one cluster, worked out once.

use crate::model::catalogue::{Limit, catalogue};
use crate::model::{Incident, Instance, MemberId, ReadingRow, Role, Series, Severity, Structure};

use super::text::Redaction;
use super::{ClusterInput, Input, ReportConfig};

/// A value above its limit counts once it has been there for this many chart steps: one slow step is noise.
const STEPS_ABOVE_MIN: usize = 2;

/// The newest sample speaks for "now" only this long.
const LATEST_AGE_MS: i64 = 16 * 60_000;

/// A summary is a headline; what is longer belongs into the description.
const SUMMARY_CHARS_MAX: usize = 140;

/// Data older than this many expected intervals is stale.
pub(crate) const STALE_INTERVALS: i64 = 3;

pub(crate) struct Facts<'a> {
    pub(crate) input: &'a ClusterInput,
    pub(crate) redaction: Redaction,
    redact: bool,
    /// Sorted by display name: a member keeps its colour on all charts.
    pub(crate) rows: Vec<&'a ReadingRow>,
    pub(crate) now_ms: i64,
    made_ms: i64,
    pub(crate) interval_ms: i64,
    /// Voting members that answered, and voting members in all.
    pub(crate) voters_up: usize,
    pub(crate) voters: usize,
    /// As the member with the highest term sees it.
    pub(crate) leader: Option<MemberId>,
    pub(crate) raft_term: Option<u64>,
    pub(crate) structure: Structure,
    /// Active ones, worst first, then the oldest.
    pub(crate) active: Vec<&'a Incident>,
}

/// How a value stands against its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    pub(crate) value: f64,
    pub(crate) limit: Option<f64>,
    /// Set when it is above the limit and has been for long enough to count.
    pub(crate) above_since_ms: Option<i64>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(config: &ReportConfig, report: &Input, input: &'a ClusterInput) -> Self {
        let mut rows: Vec<&ReadingRow> = input.rows.iter().collect();
        rows.sort_by_key(|row| (row.name.as_deref().unwrap_or(row.instance.as_str()), row.instance.as_str()));
        let voting = || rows.iter().filter(|row| row.is_learner != Some(true));
        let (voters_up, voters) = (voting().filter(|row| row.reachable).count(), voting().count());
        let newest = rows.iter().filter(|row| row.reachable).max_by_key(|row| row.raft_term);
        let raft_term = newest.and_then(|row| row.raft_term);
        let leader =
            rows.iter().filter(|row| row.reachable && row.raft_term == raft_term).find_map(|row| row.leader);
        let mut active: Vec<&Incident> = input.incidents.iter().filter(|i| i.state.is_active()).collect();
        active.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| (a.active_since_ms, &a.fingerprint).cmp(&(b.active_since_ms, &b.fingerprint)))
        });
        let mut facts = Self {
            input,
            redaction: Redaction::default(),
            redact: config.redact_addresses,
            rows,
            now_ms: report.data_through_ms,
            made_ms: report.made_ms.max(report.data_through_ms),
            interval_ms: report.expected_interval_ms.max(1),
            voters_up,
            voters,
            leader,
            raft_term,
            structure: Structure::of(&input.rows),
            active,
        };
        if config.redact_addresses {
            let members = facts.rows.iter().map(|row| (row.instance.as_str(), facts.name(row)));
            facts.redaction = Redaction::of_members(members.collect::<Vec<_>>());
        }
        facts
    }

    /// Foreign text, fit to be shown.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.redaction.clean(text)
    }

    /// Whether pages may say where members are.
    pub(crate) fn shows_addresses(&self) -> bool {
        !self.redact
    }

    /// What a member is called on pages: its name, else its address, else its place in the list.
    pub(crate) fn name(&self, row: &ReadingRow) -> String {
        match row.name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => super::text::visible(name),
            None if self.redact => {
                let at = self.rows.iter().position(|other| other.instance == row.instance);
                format!("member-{}", at.map_or(0, |at| at + 1))
            }
            None => row.instance.to_string(),
        }
    }

    /// What the member with this `instance` label is called.
    pub(crate) fn name_of_instance(&self, instance: &str) -> String {
        match self.rows.iter().find(|row| row.instance.as_str() == instance) {
            Some(row) => self.name(row),
            None if self.redact => "a former member".to_owned(),
            None => super::text::visible(instance),
        }
    }

    /// Who does not hear whom, in the words of people; `None` while the network is whole.
    pub(crate) fn partition(&self) -> Option<String> {
        self.structure.partition(&|instance: &Instance| self.name_of_instance(instance.as_str()))
    }

    pub(crate) fn leader_name(&self) -> Option<String> {
        let leader = self.leader?;
        let row = self.rows.iter().find(|row| row.member_id == Some(leader));
        Some(row.map_or_else(|| leader.to_string(), |row| self.name(row)))
    }

    pub(crate) fn is_leader(&self, row: &ReadingRow) -> bool {
        row.member_id.is_some() && row.member_id == self.leader && row.role != Role::Learner
    }

    /// A majority of voters answers and knows a leader.
    pub(crate) fn has_quorum(&self) -> bool {
        self.voters > 0 && self.voters_up > self.voters / 2 && self.leader.is_some()
    }

    /// When the newest reading was made.
    pub(crate) fn read_ms(&self) -> Option<i64> {
        self.rows.iter().map(|row| row.ts_ms).max()
    }

    /// Whether nobody has read it for too long, counted from when the page is made: data that ended for all
    /// clusters at once are as old.
    pub(crate) fn is_stale(&self) -> bool {
        self.read_ms().is_some_and(|ts| self.made_ms - ts > STALE_INTERVALS * self.interval_ms)
    }

    /// The series of a panel.
    pub(crate) fn panel(&self, id: &str) -> &'a [Series] {
        self.input.panels.get(id).map_or(&[], Vec::as_slice)
    }

    /// The series of a panel whose label `name` is `value`.
    pub(crate) fn series(&self, id: &str, name: &str, value: &str) -> Option<&'a Series> {
        let fitting = self.panel(id).iter().filter(|series| series.labels.get(name) == Some(value));
        // Sources may have taken turns: the one that answers now, and of several the one that answered longest.
        fitting.rev().max_by_key(|series| (series.ts_ms.last().copied(), series.len()))
    }

    /// The newest value of `series`, if it is young enough to stand for now.
    pub(crate) fn latest(&self, series: &Series) -> Option<f64> {
        let (ts, value) = series.ts_ms.iter().zip(&series.values).next_back()?;
        (value.is_finite() && self.now_ms - ts <= LATEST_AGE_MS).then_some(*value)
    }

    pub(crate) fn standing(&self, series: &Series, limit: Option<&Limit>) -> Option<Standing> {
        let value = self.latest(series)?;
        let limit = limit.map(|limit| limit.value);
        let above_since_ms = limit.and_then(|limit| above_since(series, limit));
        Some(Standing { value, limit, above_since_ms })
    }

    /// The 99th percentile of puts.
    pub(crate) fn put_p99(&self) -> Option<Standing> {
        self.standing(self.series("put_latency", "quantile", "p99")?, limit_of("put_latency"))
    }

    /// The member with the highest value of a per-member panel, by instance.
    pub(crate) fn worst(&self, id: &str) -> Option<(&'a str, Standing)> {
        let standings = self.panel(id).iter().filter_map(|series| {
            let instance = series.labels.get("instance")?;
            Some((instance, self.standing(series, limit_of(id))?))
        });
        standings.max_by(|a, b| a.1.value.total_cmp(&b.1.value))
    }

    /// Size of the largest member's database file, and the smallest quota, in bytes.
    pub(crate) fn database(&self) -> (Option<f64>, Option<f64>) {
        let newest = |id| self.panel(id).first().and_then(|series| self.latest(series));
        let size = self.rows.iter().filter_map(|row| row.db_size_bytes).max().map(|bytes| bytes as f64);
        let quota = self.rows.iter().filter_map(|row| row.quota_bytes).filter(|q| *q > 0).min();
        (size.or_else(|| newest("db_size")), quota.map(|bytes| bytes as f64).or_else(|| newest("db_quota")))
    }

    /// Alarm kinds that members report, each once.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let mut alarms: Vec<String> =
            self.rows.iter().flat_map(|row| &row.alarms).map(|alarm| self.clean(alarm)).collect();
        alarms.sort();
        alarms.dedup();
        alarms
    }

    /// Incidents that speak of this member.
    pub(crate) fn of_member(&self, instance: &str) -> impl Iterator<Item = &'a Incident> + '_ {
        let instance = instance.to_owned();
        self.active.iter().copied().filter(move |i| i.labels.get("instance") == Some(instance.as_str()))
    }

    /// One line for an incident: its summary, else its name.
    pub(crate) fn summary(&self, incident: &Incident) -> String {
        let summary = incident.annotations.get("summary").filter(|text| !text.trim().is_empty());
        let mut text = self.clean(summary.map_or(incident.alert.as_str(), String::as_str));
        if let Some(instance) = incident.labels.get("instance").filter(|i| !self.redact && text.contains(*i))
        {
            text = text.replace(instance, &self.name_of_instance(instance));
        }
        if text.chars().count() > SUMMARY_CHARS_MAX {
            text = text.chars().take(SUMMARY_CHARS_MAX).chain(['…']).collect();
        }
        text.trim_end_matches('.').to_owned()
    }
}

/// The catalogue's limit of a metric.
pub(crate) fn limit_of(id: &str) -> Option<&'static Limit> {
    catalogue().get(id)?.limit.as_ref()
}

/// Since when the newest values of `series` are all above `limit`; `None` if the newest is not, or only it.
pub(crate) fn above_since(series: &Series, limit: f64) -> Option<i64> {
    let above: Vec<i64> = series
        .ts_ms
        .iter()
        .zip(&series.values)
        .rev()
        .take_while(|(_, value)| **value > limit)
        .map(|(ts, _)| *ts)
        .collect();
    above.last().copied().filter(|_| above.len() >= STEPS_ABOVE_MIN)
}

/// How a severity looks.
pub(crate) fn class_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warn",
        Severity::Critical => "crit",
    }
}
