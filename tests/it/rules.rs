//! `rules test|check|list` beside promtool: the same files, the same verdicts.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{output, stderr, stdout};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The YAML files of a folder, sorted.
fn files(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// Whether `verb` of promtool and of ours pass the file, with all they said.
fn verdicts(verb: &str, file: &Path) -> ((bool, String), (bool, String)) {
    let path = file.to_str().expect("UTF-8");
    let words = if verb == "test" { ["test", "rules"] } else { ["check", "rules"] };
    let theirs = Command::new("promtool").args(words).arg(path).output();
    let theirs = theirs.expect("promtool is installed: make test-deps");
    let ours = output(&["rules", verb, path]);
    let said = |output: &std::process::Output| {
        (output.status.success(), format!("{}{}", stdout(output), stderr(output)))
    };
    (said(&theirs), said(&ours))
}

#[test]
fn unit_tests_pass_and_fail_as_with_promtool() {
    let mut seen = (0, 0);
    for file in files("tests/data/rules").into_iter().filter(|file| stem(file) != "rules") {
        let passes = stem(&file).starts_with("passes");
        let (theirs, ours) = verdicts("test", &file);
        assert_eq!(theirs.0, passes, "promtool, {}: {}", file.display(), theirs.1);
        assert_eq!(ours.0, passes, "ours, {}: {}", file.display(), ours.1);
        assert!(ours.1.contains(if passes { "SUCCESS" } else { "FAILED" }), "{}", ours.1);
        // What differs is told in the same words.
        for line in theirs.1.lines().filter(|line| line.trim_start().starts_with("alertname: ")) {
            assert!(ours.1.contains(line.trim_end()), "{line}\nis not in\n{}", ours.1);
        }
        if passes { seen.0 += 1 } else { seen.1 += 1 }
    }
    assert!(seen.0 >= 1 && seen.1 >= 8, "{seen:?}");
}

#[test]
fn the_shipped_packs_pass_their_tests_here_and_with_promtool() {
    let mut assertions = 0;
    for file in files("src/rules/packs/tests") {
        let text = std::fs::read_to_string(&file).expect("readable");
        assertions += text.matches("eval_time:").count();
        let (theirs, ours) = verdicts("test", &file);
        assert!(theirs.0, "promtool: {}", theirs.1);
        assert!(ours.0, "ours: {}", ours.1);
    }
    assert!(assertions >= 250, "only {assertions} assertions");
    for file in files("src/rules/packs") {
        let (theirs, ours) = verdicts("check", &file);
        assert!(theirs.0 && ours.0, "{}\n{}", theirs.1, ours.1);
    }
}

/// The tests name what fires by anchors: `&<alert>-<severity>` where it is seen first.
#[test]
fn every_shipped_alert_is_seen_firing_and_silent() {
    let listed = output(&["rules", "list", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout(&listed)).expect("JSON");
    let tests: String = files("src/rules/packs/tests")
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("readable"))
        .collect();
    assert!(rows.len() >= 47, "{rows:?}");
    for row in rows {
        let (name, severity) =
            (row["name"].as_str().expect("name"), row["severity"].as_str().expect("severity"));
        let checks: Vec<&str> =
            tests.lines().filter(|line| line.contains(&format!("alertname: {name},"))).collect();
        let anchor = format!("&{name}-{severity} ");
        assert!(checks.iter().any(|line| line.contains(&anchor)), "{name} {severity} is never seen firing");
        assert!(checks.iter().any(|line| !line.contains("exp_alerts")), "{name} is never seen silent");
    }
}

#[test]
fn every_error_of_a_rule_file_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("bad.yaml");
    let text =
        "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'sum('}\n  - {alert: B, expr: up, for: soon}\n";
    std::fs::write(&file, text).expect("written");
    let (theirs, ours) = verdicts("check", &file);
    assert!(!theirs.0 && !ours.0, "{}\n{}", theirs.1, ours.1);
    for line in [4, 5] {
        assert!(ours.1.contains(&format!("bad.yaml:{line}:")), "{}", ours.1);
    }
    // A test whose rules are not there tests nothing; promtool only warns.
    let test = folder.path().join("test.yaml");
    std::fs::write(&test, "rule_files: [missing.yaml]\ntests: []\n").expect("written");
    let result = output(&["rules", "test", test.to_str().expect("UTF-8")]);
    assert_eq!(result.status.code(), Some(1));
    assert!(stdout(&result).contains("missing.yaml cannot be read"), "{}", stdout(&result));
    std::fs::write(&test, "rule_files: [default]\ntests: []\n").expect("written");
    assert_eq!(output(&["rules", "test", test.to_str().expect("UTF-8")]).status.code(), Some(0));
}
