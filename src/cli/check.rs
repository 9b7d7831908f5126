//! `check`: one live reading, whether somebody watches, one line, a Nagios exit code.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::connection::Connect;
use super::{Global, Stop, open_to_read, output};
use crate::config::{Config, Overrides};
use crate::model::unit::human_span;
use crate::model::{ClusterName, Reading, ReadingRow};
use crate::probe::Parts;
use crate::report::{ClusterInput, Input, State, Verdict, verdict};
use crate::run::clock::Clock;
use crate::store::readings;
use crate::watch::FRESH_MS;

#[derive(Debug, Args)]
pub struct Check {
    /// Database size against the quota: warning above this percentage
    #[arg(long, value_name = "PERCENT", default_value_t = 80.0)]
    warning: f64,
    /// Database size against the quota: critical above this percentage
    #[arg(long, value_name = "PERCENT", default_value_t = 90.0)]
    critical: f64,
    /// Only ask etcd: do not look whether the configured store still gets readings
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    connect: Connect,
}

const HOUR_MS: i64 = 3_600_000;
/// How far back a history that ended is looked for.
const REACH_MS: i64 = 35 * 24 * HOUR_MS;

/// The exit codes of the Nagios plugin convention, in order of badness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nagios {
    Ok = 0,
    Warning = 1,
    Unknown = 3,
    Critical = 2,
}

impl Nagios {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn of(state: State) -> Self {
        match state {
            State::Healthy => Self::Ok,
            State::Degraded => Self::Warning,
            State::NoQuorum | State::Critical => Self::Critical,
            State::Stale | State::Unknown => Self::Unknown,
        }
    }
}

impl Check {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let cluster = match self.connect.cluster(global.config.is_some()) {
            Ok(cluster) => cluster,
            Err(stop) => return unknown(&stop),
        };
        let config = match global.load(Overrides { cluster, ..Overrides::default() }) {
            Ok(config) => config,
            Err(stop) => return unknown(&stop),
        };
        let config = match super::with_found(config).await {
            Ok(config) => config,
            Err(error) => return unknown(&Stop::Failed(error)),
        };
        // Nothing that is looked at is no health.
        if config.clusters.is_empty() {
            let why = "no source has named a cluster; see: etcd-monitor discover";
            return unknown(&Stop::Failed(anyhow::anyhow!(why)));
        }
        let mut lines = Vec::new();
        let mut worst = Nagios::Ok;
        let silent = self.silent(global, &config).await;
        for cluster in &config.clusters {
            let (state, line) = match cluster.prober(&config.scrape, &Default::default()) {
                Ok(prober) => {
                    let reading = prober.read(Clock::System.now_ms(), Parts::ALL).await;
                    self.judge(&config, &reading)
                }
                Err(error) => (Nagios::Unknown, error.to_string()),
            };
            let of_it = silent.iter().find(|(name, _)| *name == cluster.config.name);
            let (state, line) = match of_it {
                Some((_, why)) => (state.max(Nagios::Unknown), say(&line, why)),
                None => (state, line),
            };
            worst = worst.max(state);
            lines.push(line);
        }
        output::line(format_args!("ETCD {} - {}", worst.word(), lines.join("; ")));
        Ok(ExitCode::from(worst as u8))
    }

    /// The clusters whose history in the configured store has ended, with why: somebody believes that they are
    /// watched, and nobody would be told. One that was never watched is none of them.
    async fn silent(&self, global: &Global, config: &Config) -> Vec<(ClusterName, String)> {
        if self.live || (global.config.is_none() && global.store.is_none()) {
            return Vec::new();
        }
        let names = || config.clusters.iter().map(|cluster| cluster.config.name.clone());
        let now_ms = Clock::System.now_ms();
        match newest_readings(config, now_ms).await {
            Err(error) => {
                let why = format!("the store cannot be read: {}", crate::model::chain(error.as_ref()));
                names().map(|name| (name, why.clone())).collect()
            }
            Ok(newest) => {
                let limit_ms = config.expected_interval_ms().saturating_mul(3).max(FRESH_MS);
                let silent = names().filter_map(|name| {
                    let age_ms = now_ms.saturating_sub(*newest.get(&name)?);
                    let why = format!("nothing was recorded for {}: no watch runs", human_span(age_ms));
                    (age_ms > limit_ms).then_some((name, why))
                });
                silent.collect()
            }
        }
    }

    fn judge(&self, config: &Config, reading: &Reading) -> (Nagios, String) {
        let rows = reading.rows();
        let mut cluster = ClusterInput::new(reading.cluster.clone());
        cluster.rows.clone_from(&rows);
        let input = Input {
            data_through_ms: reading.ts_ms,
            made_ms: reading.ts_ms,
            expected_interval_ms: config.expected_interval_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clusters: Vec::new(),
            job_runs: Vec::new(),
            history: Vec::new(),
        };
        let verdict = verdict(&config.report, &input, &cluster);
        let share = rows
            .iter()
            .filter_map(quota_percent)
            .fold(None, |most: Option<f64>, share| Some(most.map_or(share, |most| most.max(share))));
        let quota = match share {
            Some(share) if share > self.critical => Nagios::Critical,
            Some(share) if share > self.warning => Nagios::Warning,
            _ => Nagios::Ok,
        };
        let state = Nagios::of(verdict.state).max(quota);
        (state, self.line(reading, &verdict, &rows, share))
    }

    fn line(&self, reading: &Reading, verdict: &Verdict, rows: &[ReadingRow], share: Option<f64>) -> String {
        let (up, all) = reading.voters();
        let leader = reading.leader_member().and_then(|member| member.name.clone());
        let leader = leader.unwrap_or_else(|| "none".to_owned());
        let term = reading.leader().map_or(0, |(_, term)| term);
        let percent = share.map(|share| format!(", database {share:.0} % of quota")).unwrap_or_default();
        let bytes = rows.iter().filter_map(|row| row.db_size_bytes).max().unwrap_or(0);
        let performance = format!(
            "members={up};;;0;{all} term={term} db_size={bytes}B db_quota={:.1}%;{};{};0;100",
            share.unwrap_or(0.0),
            self.warning,
            self.critical
        );
        // Only what is not plain from the numbers is worth words on a pager.
        let said =
            if verdict.state == State::Healthy { String::new() } else { format!(" {}", verdict.headline) };
        format!("{}: {up}/{all} members, leader {leader}{percent}.{said} | {performance}", reading.cluster)
    }
}

/// When each cluster was read last, as far as the store knows.
async fn newest_readings(config: &Config, now_ms: i64) -> anyhow::Result<BTreeMap<ClusterName, i64>> {
    let store = open_to_read(config).await?;
    let mut newest = BTreeMap::new();
    // Far back only where there is nothing new.
    for reach_ms in [HOUR_MS, REACH_MS] {
        let rows = readings::latest(&store, now_ms - reach_ms, now_ms + HOUR_MS).await?;
        newest = rows.into_iter().map(|row| (row.cluster, row.ts_ms)).collect();
        if config.clusters.iter().all(|cluster| newest.contains_key(&cluster.config.name)) {
            break;
        }
    }
    Ok(newest)
}

/// A cluster's line with words before the performance data.
fn say(line: &str, why: &str) -> String {
    match line.split_once(" | ") {
        Some((text, performance)) => format!("{text} {why} | {performance}"),
        None => format!("{line} {why}"),
    }
}

fn quota_percent(row: &ReadingRow) -> Option<f64> {
    let quota = row.quota_bytes.filter(|quota| *quota > 0)?;
    Some(row.db_size_bytes? as f64 * 100.0 / quota as f64)
}

/// A plugin that cannot run says so in its own words, on stdout, with 3.
fn unknown(stop: &Stop) -> Result<ExitCode, Stop> {
    let text = match stop {
        Stop::Config(errors) => errors.to_string(),
        Stop::Usage(message) => message.clone(),
        Stop::Failed(error) => crate::model::chain(error.as_ref()),
    };
    output::line(format_args!("ETCD UNKNOWN - {}", text.replace('\n', "; ")));
    Ok(ExitCode::from(Nagios::Unknown as u8))
}
