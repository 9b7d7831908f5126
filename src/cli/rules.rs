//! `rules`: unit tests in promtool's format, checks of rule files, and the rules that are in effect.

mod list;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Global, Stop, output};
use crate::rules::unit_test::{self, UnitTestFile};
use crate::rules::{self, RuleFileError, RuleGroup};
use crate::run::exit_code::Exit;

/// The names that stand for the shipped packs where a rule file is asked for.
const DEFAULT_PACK: &str = "default";
const MIXIN_PACK: &str = "mixin";

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Run unit tests of rules, files in the format of `promtool test rules`
    Test(Files),
    /// Check rule files; `default` and `mixin` are the shipped packs
    Check(Files),
    /// List the rules in effect: the shipped ones and those of the configured files
    List(list::List),
}

#[derive(Debug, Args)]
pub struct Files {
    /// YAML files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl RulesCommand {
    pub async fn execute(&self, global: &Global) -> Result<ExitCode, Stop> {
        match self {
            Self::Test(files) => Ok(each(&files.files, "Unit Testing: ", test)),
            Self::Check(files) => Ok(each(&files.files, "Checking", check)),
            Self::List(list) => list.execute(global).await,
        }
    }
}

/// Does `work` for every file and says how it went, in promtool's words.
fn each(files: &[PathBuf], what: &str, work: fn(&Path) -> Result<String, Vec<String>>) -> ExitCode {
    let mut exit = Exit::Ok;
    for file in files {
        output::line(format_args!("{what} {}", file.display()));
        match work(file) {
            Ok(found) => output::line(format_args!("  SUCCESS{found}\n")),
            Err(failures) => {
                exit = Exit::Failed;
                output::line("  FAILED:");
                failures.iter().for_each(output::line);
                output::line("");
            }
        }
    }
    exit.into()
}

fn test(path: &Path) -> Result<String, Vec<String>> {
    let text = read(path)?;
    let file = UnitTestFile::parse(&path.display().to_string(), &text).map_err(|error| shown(&[error]))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut groups = Vec::new();
    let mut failures = Vec::new();
    for written in file.rule_files() {
        match matching(folder, written).and_then(|paths| {
            let read: Result<Vec<_>, _> = paths.iter().map(|path| groups_of(path)).collect();
            Ok(read?.concat())
        }) {
            Ok(found) => groups.extend(found),
            Err(errors) => failures.extend(errors),
        }
    }
    if failures.is_empty() {
        failures = unit_test::run(&file, &groups).map_err(|errors| shown(&errors))?;
    }
    if failures.is_empty() { Ok(String::new()) } else { Err(failures) }
}

fn check(path: &Path) -> Result<String, Vec<String>> {
    let rules: usize = groups_of(path)?.iter().map(|group| group.rules.len()).sum();
    Ok(format!(": {rules} rules found"))
}

fn shown(errors: &[RuleFileError]) -> Vec<String> {
    errors.iter().map(|error| format!("    {error}")).collect()
}

fn read(path: &Path) -> Result<String, Vec<String>> {
    std::fs::read_to_string(path)
        .map_err(|error| vec![format!("    {} cannot be read: {error}", path.display())])
}

/// The rules of a file; of a shipped pack where its name stands and no such file is there.
fn groups_of(path: &Path) -> Result<Vec<RuleGroup>, Vec<String>> {
    let name = path.file_name().filter(|_| !path.exists());
    let groups = if name.is_some_and(|name| name == DEFAULT_PACK) {
        rules::default_pack()
    } else if name.is_some_and(|name| name == MIXIN_PACK) {
        rules::mixin_pack()
    } else {
        rules::parse(&path.display().to_string(), &read(path)?)
    };
    groups.map_err(|errors| shown(&errors))
}

/// The files that `written` names from `folder`: itself, or what fits the `*` and `?` of its last part.
fn matching(folder: &Path, written: &str) -> Result<Vec<PathBuf>, Vec<String>> {
    let path = folder.join(written);
    let last = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !last.contains(['*', '?']) {
        return Ok(vec![path]);
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let pattern = regex::escape(&last).replace(r"\*", ".*").replace(r"\?", ".");
    let fits = regex::Regex::new(&format!("^{pattern}$"));
    let fits = fits.map_err(|error| vec![format!("    {written}: {error}")])?;
    let entries = std::fs::read_dir(folder)
        .map_err(|error| vec![format!("    {} cannot be read: {error}", folder.display())])?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| fits.is_match(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}
