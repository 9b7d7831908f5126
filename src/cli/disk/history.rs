//! `disk history` and `disk show`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::check::exit_of;
use crate::cli::{Global, Stop, open_with_found, output};
use crate::config::Overrides;
use crate::disk::{PROBE, text};
use crate::model::DiskRow;
use crate::model::unit::{human_seconds, rfc3339};
use crate::run::clock::Clock;
use crate::run::disks;
use crate::run::exit_code::Exit;
use crate::store::{Store, disk_runs};

#[derive(Debug, Args)]
pub struct History {
    /// Only checks on this machine
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only checks of this directory
    #[arg(long, short, value_name = "FOLDER")]
    directory: Option<String>,
    /// The newest so many; 0 for all
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl History {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (_, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let mut rows = rows(&store).await?;
        rows.retain(|row| fits(&self.host, &row.host) && fits(&self.directory, &row.directory));
        if self.limit > 0 {
            let mut ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
            ids.dedup();
            ids.drain(..ids.len().saturating_sub(self.limit));
            rows.retain(|row| ids.contains(&row.id));
        }
        if self.json {
            output::json(&rows)?;
        } else {
            table(&rows);
        }
        Ok(Exit::Ok.into())
    }
}

/// All tests that the store has, oldest first.
async fn rows(store: &Store) -> Result<Vec<DiskRow>, Stop> {
    let places = disks::history(store, Clock::System.now_ms()).await.map_err(anyhow::Error::from)?;
    let mut rows: Vec<DiskRow> = places.into_values().flatten().collect();
    rows.sort_by(|one, other| (one.ts_ms, &one.id).cmp(&(other.ts_ms, &other.id)));
    Ok(rows)
}

fn table(rows: &[DiskRow]) {
    if rows.is_empty() {
        output::note("the store has no disk check; make one: etcd-monitor disk check --directory …");
        return;
    }
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), human_seconds);
    let cells = |row: &DiskRow| {
        vec![
            row.id.clone(),
            rfc3339(row.ts_ms),
            row.host.clone(),
            row.directory.clone(),
            row.kind.as_str().to_owned(),
            row.test.clone(),
            time(row.sync_p50),
            time(row.sync_p99),
            time(row.sync_p999),
            text::words(row.verdict).to_owned(),
        ]
    };
    // fio's other jobs make nothing durable one by one: their figures are in the report.
    let durable = rows.iter().filter(|row| row.sync_p99.is_some() || row.test == PROBE);
    let header = ["ID", "MADE", "HOST", "DIRECTORY", "DISK", "TEST", "P50", "P99", "P99.9", "VERDICT"];
    output::table(&header, durable.map(cells).collect());
}

#[derive(Debug, Args)]
pub struct Show {
    /// A check's id, the beginning of one, or `latest`
    #[arg(value_name = "ID", default_value = "latest")]
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (_, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let rows = rows(&store).await?;
        let found = self.find(&rows)?;
        let run = disk_runs::get(&store, &found.host, &found.id).await.map_err(anyhow::Error::from)?;
        let run =
            run.with_context(|| format!("the report of {} is gone; the history has its figures", found.id))?;
        if self.json {
            output::json(&run)?;
        } else {
            output::line(text::report(&run).trim_end());
        }
        Ok(exit_of(&run).into())
    }

    fn find<'a>(&self, rows: &'a [DiskRow]) -> Result<&'a DiskRow, Stop> {
        if self.id == "latest" {
            return rows.last().ok_or_else(|| Stop::Usage("the store has no disk check".to_owned()));
        }
        let mut fitting: Vec<&DiskRow> = rows.iter().filter(|row| row.id.starts_with(&self.id)).collect();
        fitting.dedup_by(|one, other| one.id == other.id);
        match fitting.as_slice() {
            [one] => Ok(one),
            [] => Err(Stop::Usage(format!(
                "there is no disk check {:?}; see: etcd-monitor disk history",
                self.id
            ))),
            several => {
                let ids: Vec<&str> = several.iter().map(|row| row.id.as_str()).collect();
                Err(Stop::Usage(format!("{:?} may be {}", self.id, ids.join(", "))))
            }
        }
    }
}
