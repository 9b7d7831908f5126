//! `inspect`: whether the members of a cluster agree, asked now.

use std::process::ExitCode;

use clap::Args;

use super::connection::Connect;
use super::{Global, Stop, output};
use crate::config::{ClusterSetup, Config, Overrides};
use crate::inspect::said::{of_hash, of_lists};
use crate::inspect::{HashVerdict, Inspection, Inspector};
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
        let config = super::with_found(config).await?;
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

fn names(members: &[Instance]) -> String {
    members.iter().map(Instance::as_str).collect::<Vec<_>>().join(", ")
}
