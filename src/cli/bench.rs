//! `bench`: benchmarks of a cluster, their history, and what they say.

mod baseline;
mod check;
mod clean;
mod compare;
mod history;
mod load;
mod profile;
mod show;
mod target;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::target::Target;
use super::{Global, Stop, help};
use crate::bench::{Driving, Operation};

#[derive(Debug, Args)]
pub struct Bench {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    driving: Driving,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: BenchCommand,
}

/// What is told of a run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Report")]
pub struct Output {
    /// Write all digits of every figure
    #[arg(long, global = true)]
    precise: bool,
    /// Say what each second was like, too
    #[arg(long, global = true)]
    sample: bool,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Write the seconds into this file, as CSV
    #[arg(long, global = true, value_name = "FILE")]
    csv: Option<std::path::PathBuf>,
    /// Write a page that can be sent as it is into this file
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<std::path::PathBuf>,
    /// Do not store the result
    #[arg(long, global = true)]
    no_store: bool,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    #[command(flatten)]
    Load(Box<Operation>),
    /// Run the loads of a profile, one after the other
    #[command(after_help = help::BENCH)]
    Run(profile::RunProfile),
    /// List the profiles, shipped and configured
    #[command(after_help = help::BENCH)]
    Profiles(profile::Profiles),
    /// List the runs that the store has, each judged by those before it
    #[command(after_help = help::BENCH_HISTORY)]
    History(history::History),
    /// Print the report of an earlier run
    #[command(after_help = help::BENCH_HISTORY)]
    Show(show::Show),
    /// Say what is different between two runs, and whether that is more than noise
    #[command(after_help = help::BENCH_HISTORY)]
    Compare(compare::Compare),
    /// What runs are measured by: demands, and from which run on others are compared
    #[command(subcommand, after_help = help::BENCH_HISTORY)]
    Baseline(baseline::Baseline),
    /// How much of what was measured at most is used now
    #[command(after_help = help::BENCH_HISTORY)]
    Headroom(history::Headroom),
    /// Check the performance as `etcdctl check perf` does, and leave nothing behind
    #[command(after_help = help::BENCH_CHECK)]
    CheckPerf(check::CheckPerf),
    /// Check the memory that keys take as `etcdctl check datascale` does, and leave nothing behind
    #[command(after_help = help::BENCH_CHECK)]
    CheckDatascale(check::CheckDatascale),
    /// Delete what benchmarks left that were killed
    #[command(after_help = help::BENCH)]
    Clean(clean::Clean),
    /// Not here: it measures etcd's storage code inside the tool, without any cluster
    #[command(hide = true)]
    Mvcc {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        rest: Vec<String>,
    },
}

impl Bench {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let Self { target, driving, output, command } = self;
        match command {
            BenchCommand::Load(operation) => {
                load::Request { target, driving, output, operation: *operation }.execute(global).await
            }
            BenchCommand::Run(run) => run.execute(global, &target, &output).await,
            BenchCommand::Profiles(profiles) => profiles.execute(global, &output),
            BenchCommand::History(history) => history.execute(global, &target, &output).await,
            BenchCommand::Show(show) => show.execute(global, &target, &output).await,
            BenchCommand::Compare(compare) => compare.execute(global, &target, &output).await,
            BenchCommand::Baseline(baseline) => baseline.execute(global, &target, &output).await,
            BenchCommand::Headroom(headroom) => headroom.execute(global, &target, &output).await,
            BenchCommand::CheckPerf(check) => check.execute(global, &target, &driving, &output).await,
            BenchCommand::CheckDatascale(check) => check.execute(global, &target, &output).await,
            BenchCommand::Clean(clean) => clean.execute(global, &target, output.json).await,
            BenchCommand::Mvcc { .. } => Err(Stop::Usage(
                "bench mvcc is left out: it measures etcd's own storage code, linked into the official tool, on a file \
                 of its own, and asks no cluster; `disk check` measures the disk, `bench put` what etcd makes of it"
                    .to_owned(),
            )),
        }
    }
}
