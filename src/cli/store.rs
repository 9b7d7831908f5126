//! `store`: what is in the store, whether it is whole, and the SQL views over it.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::progress::Progress;
use super::{Global, Stop, open_to_read, output};
use crate::config::Overrides;
use crate::model::unit::human_bytes;
use crate::run::exit_code::Exit;
use crate::store::{Store, listing, verify_with, views};

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List tables and levels: files, bytes, rows, first and last day
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every table file and report what is not as it must be
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the SQL views: `etcd-monitor store views | duckdb -init /dev/stdin`
    Views {
        /// Which program shall read them
        #[arg(long, value_enum, default_value_t = Dialect::Duckdb)]
        dialect: Dialect,
    },
}

/// The programs that views are made for.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Dialect {
    Duckdb,
    /// Needs a store on S3; one statement at a time
    Athena,
}

impl StoreCommand {
    pub async fn execute(&self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let store = open_to_read(&config).await?;
        match self {
            Self::Ls { json } => ls(&store, *json).await?,
            Self::Verify { json } => {
                return Ok(check(&store, *json, Progress::new(global, *json)).await?.into());
            }
            Self::Views { dialect: Dialect::Duckdb } => {
                output::line(views::duckdb(&store).await.map_err(anyhow::Error::from)?.trim_end());
            }
            Self::Views { dialect: Dialect::Athena } => {
                if !store.url().starts_with("s3://") {
                    return Err(Stop::Usage(format!("Athena reads S3 only; the store is {}", store.url())));
                }
                output::line(views::athena(store.url()).trim_end());
            }
        }
        Ok(Exit::Ok.into())
    }
}

async fn ls(store: &Store, as_json: bool) -> anyhow::Result<()> {
    let lines = listing(store).await?;
    if as_json {
        let lines = lines.iter().map(|((table, level), line)| {
            json!({
                "table": table.as_str(), "level": level.as_str(), "files": line.files, "bytes": line.bytes,
                "rows": line.rows, "first_day": line.first_day, "last_day": line.last_day,
            })
        });
        return output::json(&lines.collect::<Vec<_>>());
    }
    let rows = lines.iter().map(|((table, level), line)| {
        let per_row = if line.rows == 0 {
            String::new()
        } else {
            format!("{:.2}", line.bytes as f64 / line.rows as f64)
        };
        vec![
            table.as_str().to_owned(),
            level.as_str().to_owned(),
            line.files.to_string(),
            human_bytes(line.bytes as f64),
            line.rows.to_string(),
            per_row,
            line.first_day.clone().unwrap_or_default(),
            line.last_day.clone().unwrap_or_default(),
        ]
    });
    output::table(
        &["table", "level", "files", "size", "rows", "bytes/row", "first day", "last day"],
        rows.collect(),
    );
    Ok(())
}

async fn check(store: &Store, as_json: bool, progress: Progress) -> anyhow::Result<Exit> {
    let progress = progress.watch("verify", store);
    let verified = verify_with(store, &|done, total| progress.files(done, total)).await?;
    drop(progress);
    if as_json {
        let problems = verified.problems.iter();
        let problems = problems.map(|problem| json!({ "key": problem.key.as_str(), "what": problem.what }));
        output::json(&json!({
            "files": verified.files, "rows": verified.rows, "problems": problems.collect::<Vec<_>>(),
        }))?;
    } else {
        for problem in &verified.problems {
            output::line(format_args!("{}: {}", problem.key, problem.what));
        }
        output::line(format_args!(
            "{} file(s), {} row(s), {} problem(s)",
            verified.files,
            verified.rows,
            verified.problems.len()
        ));
    }
    Ok(if verified.problems.is_empty() { Exit::Ok } else { Exit::Failed })
}
