//! `bench show`: the report of an earlier run.

use std::process::ExitCode;

use clap::Args;

use super::{Output, Target, history, load};
use crate::bench::regression::Judged;
use crate::cli::{Global, Stop, open_with_found, output};
use crate::config::Overrides;
use crate::model::BenchRun;
use crate::run::exit_code::Exit;
use crate::store::{Store, bench_runs};

#[derive(Debug, Args)]
pub struct Show {
    /// A run's id, the beginning of one, or `latest`
    #[arg(value_name = "ID", default_value = "latest")]
    id: String,
}

impl Show {
    pub async fn execute(self, global: &Global, target: &Target, wanted: &Output) -> Result<ExitCode, Stop> {
        let (_, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let runs = history::judged(&store, target).await?;
        let judged = find(&runs, &self.id)?;
        let run = whole(&store, judged).await?;
        load::written(&run, wanted)?;
        load::told(&run, wanted)?;
        if !wanted.json {
            load::judged(&run, judged);
        }
        Ok(Exit::Ok.into())
    }
}

/// The run that `id` means: its id, the beginning of one, or `latest`.
pub(super) fn find<'a>(runs: &'a [Judged], id: &str) -> Result<&'a Judged, Stop> {
    if id == "latest" {
        return runs.last().ok_or_else(|| Stop::Usage("the store has no benchmark".to_owned()));
    }
    let fitting: Vec<&Judged> = runs.iter().filter(|run| run.id().starts_with(id)).collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(Stop::Usage(format!("there is no benchmark {id:?}; see: etcd-monitor bench history"))),
        several => {
            let ids: Vec<&str> = several.iter().map(|run| run.id()).collect();
            Err(Stop::Usage(format!("{id:?} may be {}", ids.join(", "))))
        }
    }
}

async fn whole(store: &Store, judged: &Judged) -> Result<BenchRun, Stop> {
    let cluster = judged.rows.first().map_or("", |row| row.cluster.as_str());
    let run = bench_runs::get(store, cluster, judged.id()).await.map_err(anyhow::Error::from)?;
    let gone = || anyhow::anyhow!("the report of {} is gone; the history has its figures", judged.id());
    let run = run.ok_or_else(|| Stop::Failed(gone()))?;
    output::note(format_args!("{} of cluster {}", run.command, run.cluster));
    Ok(run)
}
