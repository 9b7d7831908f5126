//! `inspect`: whether the members of a cluster agree, asked now.

use std::process::ExitCode;

use clap::Args;

use super::connection::Connect;
use super::{Global, Stop, output};
use crate::config::{ClusterSetup, Config, Overrides};
use crate::inspect::{HashCheck, HashVerdict, Inspection, Inspector, ListCheck};
use crate::model::unit::rfc3339;
use crate::model::{Instance, chain};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Inspect {
    /// Only these clusters
    #[arg(value_name = "CLUSTER")]
    clusters: Vec<String>,
    /// Compare the hashes of the members' data, too
    #[arg(long)]
    hash: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Inspect {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let cluster = self.connect.cluster(global.config.is_some())?;
        let config = global.load(Overrides { cluster, ..Overrides::default() })?;
        let chosen = self.chosen(&config)?;
        let looks = chosen.iter().map(|cluster| self.inspect(cluster));
        let found = futures::future::join_all(looks).await;
        let mut worst = Exit::Ok;
        let mut inspections = Vec::new();
        for (cluster, outcome) in chosen.iter().zip(found) {
            match outcome {
                Ok(inspection) => inspections.push(inspection),
                Err(error) => {
                    output::error(format_args!("{}: {}", cluster.config.name, chain(&error)));
                    worst = Exit::Partial;
                }
            }
        }
        if self.json {
            output::json(&inspections)?;
        } else {
            inspections.iter().for_each(print);
        }
        for inspection in &inspections {
            for problem in inspection.problems() {
                output::error(format_args!("{}: {problem}", inspection.cluster));
                worst = Exit::Partial;
            }
        }
        let disagree = inspections.iter().any(Inspection::found_something);
        Ok(if disagree { Exit::Failed } else { worst }.into())
    }

    fn chosen<'a>(&self, config: &'a Config) -> Result<Vec<&'a ClusterSetup>, Stop> {
        let known = || config.clusters.iter().map(|cluster| cluster.config.name.as_str());
        if let Some(name) = self.clusters.iter().find(|name| !known().any(|known| known == name.as_str())) {
            let known: Vec<&str> = known().collect();
            return Err(Stop::Usage(format!("there is no cluster {name:?}; there are {}", known.join(", "))));
        }
        let wanted = |cluster: &&ClusterSetup| {
            self.clusters.is_empty() || self.clusters.iter().any(|name| name == cluster.config.name.as_str())
        };
        Ok(config.clusters.iter().filter(wanted).collect())
    }

    async fn inspect(&self, cluster: &ClusterSetup) -> Result<Inspection, crate::etcd::EtcdError> {
        let (login, backup) = (cluster.login.as_ref(), cluster.backup_login.as_ref());
        let inspector = Inspector::find(&cluster.config, login, backup).await?;
        Ok(inspector.inspect(Clock::System.now_ms(), self.hash, None).await)
    }
}

fn print(inspection: &Inspection) {
    output::line(format_args!("{}", inspection.cluster));
    output::line(format_args!("  member lists  {}", of_lists(&inspection.lists)));
    if inspection.lists.different() > 1 {
        for (members, list) in &inspection.lists.lists {
            let list = list.iter().map(|member| {
                let learner = if member.is_learner { ", learner" } else { "" };
                format!("{} {} ({}{learner})", member.id, member.name, member.peer_urls.join(" "))
            });
            output::line(format_args!("    {}: {}", names(members), list.collect::<Vec<_>>().join(", ")));
        }
    }
    for certificate in &inspection.certificates.seen {
        let days = (certificate.not_after_ms - inspection.ts_ms) as f64 / 86_400_000.0;
        let whose = certificate.instance.as_ref().map_or("our own", |instance| instance.as_str());
        let state = if days < 0.0 { "EXPIRED" } else { "expires" };
        let (used_as, at) = (certificate.used_as.as_str(), rfc3339(certificate.not_after_ms));
        output::line(format_args!("  certificate   {used_as} of {whose}: {state} {at} ({days:.0} days)"));
    }
    let Some(hash) = &inspection.hash else { return };
    output::line(format_args!("  data          {}", of_hash(hash)));
    if hash.verdict == HashVerdict::Differ {
        for member in &hash.members {
            let (at, hash) = (member.compact_revision, member.hash);
            output::line(format_args!("    {}: hash {hash} (compacted up to {at})", member.instance));
        }
    }
}

pub(super) fn of_lists(lists: &ListCheck) -> String {
    match lists.different() {
        0 => "unknown: no member answers".to_owned(),
        1 => {
            let (members, list) = lists.lists.first().map_or((0, 0), |(who, list)| (who.len(), list.len()));
            let learners =
                lists.lists.first().map_or(0, |(_, list)| list.iter().filter(|m| m.is_learner).count());
            let learners = match learners {
                0 => String::new(),
                n => {
                    format!(" ({n} of them a learner, which etcd lets answer neither this nor for its data)")
                }
            };
            format!("{members} member(s) have the same list of {list}{learners}")
        }
        different => format!("DIFFER: there are {different} lists"),
    }
}

pub(super) fn of_hash(hash: &HashCheck) -> String {
    let at = hash.revision.map(|revision| format!(" at revision {revision}")).unwrap_or_default();
    match hash.verdict {
        HashVerdict::Agree => format!("{} members hold the same data{at}", hash.members.len()),
        HashVerdict::Unknown => match (&hash.missing_right, hash.members.len() + hash.left_out.len()) {
            (Some(right), _) => format!("unknown: missing right: {right}"),
            (None, 0 | 1) => "unknown: a single member has nothing to be compared with".to_owned(),
            _ => "unknown: fewer than two members could be compared".to_owned(),
        },
        HashVerdict::Differ => {
            let who = match hash.minority.as_slice() {
                [] => "no majority tells who is wrong".to_owned(),
                minority => format!("{} against the others", names(minority)),
            };
            let since = hash.divergence.map(|found| match found.is_first {
                true => format!("; the first revision that differs is {}", found.revision),
                false => format!("; they differ since revision {} or before it", found.revision),
            });
            format!("DIFFER{at}: {who}{}", since.unwrap_or_default())
        }
    }
}

/// When the first of a cluster's certificates expires; `None` without any.
pub(super) fn of_certificates(inspection: &Inspection, now_ms: i64) -> Option<String> {
    let first = inspection.certificates.seen.iter().min_by_key(|certificate| certificate.not_after_ms)?;
    let days = (first.not_after_ms - now_ms) as f64 / 86_400_000.0;
    let whose = first.instance.as_ref().map_or_else(|| "our own".to_owned(), |at| format!("that of {at}"));
    let used_as = first.used_as.as_str();
    Some(match days < 0.0 {
        true => format!("the {used_as} certificate, {whose}, HAS EXPIRED {:.0} days ago", -days),
        false => format!("the first certificate to expire is {whose} ({used_as}) in {days:.0} days"),
    })
}

fn names(members: &[Instance]) -> String {
    members.iter().map(Instance::as_str).collect::<Vec<_>>().join(", ")
}
