//! House rules that a program can check: who may use whom, how long files get, what is banned.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module of `src/` may use of the others, besides itself. Anything else is an error.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("etcd", &["model"]),
    ("discover", &["model", "etcd"]),
    ("probe", &["model", "etcd", "discover"]),
    ("inspect", &["model", "etcd"]),
    ("backup", &["model", "etcd", "store"]),
    ("bench", &["model", "etcd", "probe"]),
    ("disk", &["model", "discover", "probe"]),
    ("preflight", &["model"]),
    ("promql", &["model"]),
    ("advise", &["model", "promql"]),
    ("store", &["model"]),
    ("rules", &["model", "promql"]),
    ("alert", &["model"]),
    ("correlate", &["model", "alert"]),
    ("capacity", &["model"]),
    ("compare", &["model"]),
    ("deliver", &["model", "store", "alert", "rules", "correlate"]),
    (
        "survey",
        &[
            "model",
            "advise",
            "bench",
            "inspect",
            "alert",
            "capacity",
            "compare",
            "correlate",
            "promql",
            "report",
            "rules",
            "store",
        ],
    ),
    ("report", &["model", "promql", "correlate", "compare"]),
    ("watch", &["model", "probe", "promql", "rules", "alert", "deliver", "store"]),
    (
        "config",
        &[
            "model", "etcd", "discover", "probe", "store", "rules", "alert", "deliver", "report", "watch",
            "promql", "survey", "inspect", "backup", "bench", "disk",
        ],
    ),
    (
        "run",
        &[
            "model",
            "etcd",
            "inspect",
            "discover",
            "probe",
            "promql",
            "store",
            "rules",
            "alert",
            "deliver",
            "report",
            "watch",
            "config",
            "survey",
            "backup",
            "bench",
            "disk",
            "advise",
            "preflight",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "etcd",
            "inspect",
            "discover",
            "probe",
            "promql",
            "store",
            "rules",
            "alert",
            "deliver",
            "report",
            "watch",
            "config",
            "run",
            "jobs",
            "survey",
            "correlate",
            "capacity",
            "compare",
            "backup",
            "bench",
            "disk",
            "preflight",
            "advise",
        ],
    ),
    (
        "jobs",
        &[
            "model",
            "etcd",
            "inspect",
            "discover",
            "probe",
            "promql",
            "store",
            "rules",
            "alert",
            "deliver",
            "report",
            "watch",
            "config",
            "run",
            "survey",
            "correlate",
            "backup",
            "bench",
            "disk",
            "advise",
        ],
    ),
];

/// Modules that only compute: no I/O, no async, no clock.
const PURE: &[&str] =
    &["model", "promql", "advise", "rules", "alert", "capacity", "compare", "correlate", "report"];

const PURE_BANNED: &[&str] = &[
    "tokio::",
    "reqwest::",
    "object_store::",
    "std::fs",
    "std::net",
    "async fn",
    "Instant::now",
    "Utc::now",
];

const BANNED_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "types", "manager", "service"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("readable folder").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Unit tests that have outgrown the bottom of their file live in `tests.rs` beside it.
fn is_test_file(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = rust_files(&root().join("src"));
    files.extend(rust_files(&root().join("jobs")));
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable file");
            (path.strip_prefix(root()).expect("inside the package").to_owned(), text)
        })
        .collect()
}

/// The top-level module a file belongs to: `src/store/key.rs` → `store`; `jobs/x.rs` → `jobs`.
fn module_of(path: &Path) -> Option<String> {
    let mut parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    match (parts.next()?.as_str(), parts.next()?) {
        ("jobs", _) => Some("jobs".to_owned()),
        ("src", file) if file == "lib.rs" || file == "main.rs" => None,
        ("src", first) => Some(first.trim_end_matches(".rs").to_owned()),
        _ => None,
    }
}

/// The part of a file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

/// First path segments after `crate::` (also inside `use crate::{a, b::c}`) or, in jobs/, `crate::`.
fn used_modules(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0_i32;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => drop(used.insert(std::mem::take(&mut word))),
                    c if depth == 0 && (c.is_alphanumeric() || c == '_' || c == ':') => word.push(c),
                    _ => {}
                }
            }
            used.insert(word);
        } else {
            used.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    used.into_iter()
        .map(|path| path.split(':').next().unwrap_or_default().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(module) = module_of(&path) else { continue };
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            wrong.push(format!("{}: module {module} is not in MAY_USE", path.display()));
            continue;
        };
        for used in used_modules(without_tests(&text)) {
            let known = MAY_USE.iter().any(|(name, _)| *name == used);
            if known && used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {module} must not use {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_dependency_check_sees_a_planted_edge() {
    assert!(used_modules("use crate::{model::Labels, run};").contains("run"));
    assert!(used_modules("fn f() { crate::store::open() }").contains("store"));
}

#[test]
fn pure_modules_stay_pure() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let pure =
            module_of(&path).is_some_and(|module| PURE.contains(&module.as_str())) && !is_test_file(&path);
        for (n, line) in without_tests(&text).lines().enumerate().filter(|_| pure) {
            let code = line.split("//").next().unwrap_or(line);
            if let Some(banned) = PURE_BANNED.iter().find(|banned| code.contains(**banned)) {
                wrong.push(format!("{}:{}: {banned} in a pure module", path.display(), n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_named_after_an_idea_and_say_what_they_own() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let limit = if path.starts_with("jobs") { 120 } else { 450 };
        let lines = text.lines().count();
        if lines > limit {
            wrong.push(format!("{}: {lines} lines, the limit is {limit}", path.display()));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if BANNED_NAMES.contains(&&*stem) {
            wrong.push(format!("{}: the name says nothing", path.display()));
        }
        if !text.starts_with("//!") && !is_test_file(&path) {
            wrong.push(format!("{}: does not open with `//!`", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_are_never_ignored_and_code_has_no_loose_ends() {
    let banned = [
        concat!("#[ign", "ore"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    let mut wrong = Vec::new();
    let mut files = sources();
    for path in rust_files(&root().join("tests")) {
        files.push((path.clone(), fs::read_to_string(&path).expect("readable file")));
    }
    for (path, text) in files {
        for (n, line) in text.lines().enumerate() {
            if let Some(banned) = banned.iter().find(|banned| line.contains(**banned)) {
                wrong.push(format!("{}:{}: {banned}", path.display(), n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_job_file_is_listed_under_its_own_name() {
    let listed: BTreeSet<&str> = etcd_monitor::jobs::ALL.iter().map(|job| job.name).collect();
    let files: BTreeSet<String> = rust_files(&root().join("jobs"))
        .iter()
        .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .filter(|stem| stem != "mod")
        .collect();
    assert_eq!(listed.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), files);
    assert!(etcd_monitor::jobs::ALL.iter().all(|job| !job.hosts.is_empty() && !job.about.is_empty()));
}
