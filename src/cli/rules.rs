//! `rules`: unit tests in promtool's format, checks of rule files, and the rules that are in effect.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Global, Stop, output};
use crate::config::Overrides;
use crate::model::unit::format_duration;
use crate::rules::unit_test::{self, UnitTestFile};
use crate::rules::{self, Owner, Rule, RuleFileError, RuleGroup, RuleKind};
use crate::run::exit_code::Exit;

/// The name that stands for the shipped pack where a rule file is asked for.
const DEFAULT_PACK: &str = "default";

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Run unit tests of rules, files in the format of `promtool test rules`
    Test(Files),
    /// Check rule files; `default` is the shipped pack
    Check(Files),
    /// List the rules in effect: the shipped ones and those of the configured files
    List(List),
}

#[derive(Debug, Args)]
pub struct Files {
    /// YAML files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RulesCommand {
    pub fn execute(&self, global: &Global) -> Result<ExitCode, Stop> {
        match self {
            Self::Test(files) => Ok(each(&files.files, "Unit Testing: ", test)),
            Self::Check(files) => Ok(each(&files.files, "Checking", check)),
            Self::List(list) => list.execute(global),
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

/// The rules of a file; of the shipped pack where its name stands and no such file is there.
fn groups_of(path: &Path) -> Result<Vec<RuleGroup>, Vec<String>> {
    let is_pack = path.file_name().is_some_and(|name| name == DEFAULT_PACK) && !path.exists();
    let groups =
        if is_pack { rules::default_pack() } else { rules::parse(&path.display().to_string(), &read(path)?) };
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

/// One rule in effect.
#[derive(Serialize)]
struct Row {
    /// Where it comes from: `default` (the shipped pack) or `file`.
    origin: &'static str,
    group: String,
    name: String,
    kind: &'static str,
    severity: String,
    expr: String,
    #[serde(rename = "for")]
    held_for: String,
    keep_firing_for: String,
    /// The job that evaluates it while the daemon runs its live watch.
    owner: &'static str,
}

impl Row {
    fn of(group: &RuleGroup, rule: &Rule, shipped: bool) -> Self {
        let (kind, for_ms, keep_ms) = match &rule.kind {
            RuleKind::Alert { for_ms, keep_firing_for_ms, .. } => ("alert", *for_ms, *keep_firing_for_ms),
            RuleKind::Record => ("record", 0, 0),
        };
        let severity = rule.labels.iter().find(|(name, _)| name == "severity");
        Self {
            origin: if shipped { DEFAULT_PACK } else { "file" },
            group: group.name.clone(),
            name: rule.name.clone(),
            kind,
            severity: severity.and_then(|(_, text)| text.constant()).unwrap_or_default().to_owned(),
            expr: rule.expr.to_string(),
            held_for: duration(for_ms),
            keep_firing_for: duration(keep_ms),
            owner: match rules::owner(group, true) {
                Owner::Watch => "watch",
                Owner::Evaluate => "evaluate",
            },
        }
    }
}

fn duration(ms: i64) -> String {
    format_duration(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

impl List {
    fn execute(&self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides::store_only())?;
        let shipped: Vec<String> =
            rules::default_pack().unwrap_or_default().into_iter().map(|group| group.name).collect();
        let rows: Vec<Row> = config
            .groups
            .iter()
            .flat_map(|group| {
                let is_shipped = shipped.contains(&group.name);
                group.rules.iter().map(move |rule| Row::of(group, rule, is_shipped))
            })
            .collect();
        if self.json {
            output::json(&rows)?;
            return Ok(Exit::Ok.into());
        }
        let cells = |row: Row| {
            vec![row.origin.to_owned(), row.name, row.severity, row.held_for, row.owner.to_owned(), row.expr]
        };
        output::table(
            &["origin", "rule", "severity", "for", "owner", "expression"],
            rows.into_iter().map(cells).collect(),
        );
        Ok(Exit::Ok.into())
    }
}
