//! `rules test|check|list` beside promtool: the same files, the same verdicts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcd_monitor::model::catalogue::catalogue;
use etcd_monitor::probe::derived;
use etcd_monitor::rules::{self, Rule};

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
    assert!(assertions >= 400, "only {assertions} assertions");
    for file in files("src/rules/packs") {
        let (theirs, ours) = verdicts("check", &file);
        assert!(theirs.0 && ours.0, "{}\n{}", theirs.1, ours.1);
    }
}

/// The tests name what fires by anchors: `&<alert>-<severity>` where it is seen first.
#[test]
fn every_shipped_alert_is_seen_firing_and_silent() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("etcd-monitor.toml");
    std::fs::write(&config, "[rules]\nmixin-pack = true\n").expect("written");
    let listed = output(&["--config", config.to_str().expect("UTF-8"), "rules", "list", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout(&listed)).expect("JSON");
    let tests: String = files("src/rules/packs/tests")
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("readable"))
        .collect();
    assert!(rows.len() == 59 + 18, "{rows:?}");
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

/// What a member of that version exports with basic metrics, and what the probe adds.
fn present(version: &str) -> BTreeSet<String> {
    let path = folder("tests/data/etcd").join(version).join("metrics.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let exported = text.lines().filter(|line| !line.starts_with('#'));
    let exported = exported.map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_owned());
    exported.chain(derived::SERIES.iter().map(|series| series.name.to_owned())).collect()
}

fn shipped() -> Vec<Rule> {
    let packs = [rules::default_pack().expect("valid"), rules::mixin_pack().expect("valid")].concat();
    packs.into_iter().flat_map(|group| group.rules).collect()
}

#[test]
fn each_version_hears_all_rules_but_those_that_say_what_they_lack() {
    // What only jobs and exporters write that a plain watch has not.
    let elsewhere = [
        "inspect job",
        "forecast job",
        "backup",
        "verify job",
        "bench job",
        "disk job",
        "member's machine",
        "node exporter",
        "more than one member",
    ];
    for version in ["3.4.23", "3.5.30", "3.6.14"] {
        let present = present(version);
        for rule in shipped() {
            let why = rules::speechless(&rule, &present).map(|why| why.to_string()).unwrap_or_default();
            for part in why.split("; ").filter(|part| !part.is_empty()) {
                // The mixin's own rule has no other source.
                let is_mixins = rule.name == "etcdGRPCRequestsSlow" && part.contains("--metrics=extensive");
                let is_known = is_mixins || elsewhere.iter().any(|known| part.contains(known));
                assert!(is_known, "{version} {}: {part}", rule.name);
            }
        }
    }
    let grpc = |names: BTreeSet<String>| {
        let slow = shipped().into_iter().find(|rule| rule.name == "EtcdRequestsSlow").expect("shipped");
        rules::speechless(&slow, &names).map(|why| why.to_string())
    };
    // Basic metrics of 3.4 have no duration of a request at all: the monitor's own reads stand in.
    let mut bare = present("3.4.23");
    assert_eq!(grpc(bare.clone()), None);
    bare.remove("etcd_monitor_probe_seconds");
    let why = grpc(bare).expect("nothing is left");
    for needed in ["--metrics=extensive", "etcd 3.7", "etcd 3.5", "no etcd_monitor_probe_seconds"] {
        assert!(why.contains(needed), "{why}");
    }
}

#[test]
fn every_metric_of_the_shipped_rules_is_known() {
    let everywhere = present("3.4.23");
    for rule in shipped() {
        for name in rule.expr.metric_names() {
            let is_known = everywhere.contains(&name) || catalogue().family(&name).is_some();
            assert!(is_known, "{}: {name} is neither exported everywhere nor in the catalogue", rule.name);
        }
    }
}

/// The pack says what etcd's own mixin says; `crate::promql` holds the mixin's expressions to a real Prometheus.
#[test]
fn the_mixin_pack_has_the_mixins_expressions() {
    let pack = rules::mixin_pack().expect("valid");
    let rules = &pack.first().expect("a group").rules;
    assert_eq!(rules.len(), 15);
    for (rule, mixin) in rules.iter().zip(crate::promql::queries::mixin()) {
        let mixin = etcd_monitor::promql::parse(&mixin).expect("valid");
        assert_eq!(rule.expr.to_string(), mixin.to_string(), "{}", rule.name);
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

const FLEET: &str = "\
[store]
url = 'data'
[[cluster]]
name = 'dev-a'
endpoints = ['http://127.0.0.1:1']
tags = { env = 'dev' }
[[cluster]]
name = 'prod'
endpoints = ['http://127.0.0.1:2']
[rules]
disable = ['EtcdLeaderChanges']
baseline = true
[[rules.override]]
alert = 'EtcdWalFsyncSlow'
severity = 'warning'
tags = { env = 'dev' }
threshold = '20ms'
[[rules.override]]
alert = 'EtcdNoLeader'
cluster = 'dev-a'
for = '10m'
";

fn row<'a>(rows: &'a [serde_json::Value], name: &str, severity: &str) -> &'a serde_json::Value {
    let is = |row: &&serde_json::Value| row["name"] == name && row["severity"] == severity;
    rows.iter().find(is).unwrap_or_else(|| panic!("{name} {severity} in {rows:?}"))
}

#[test]
fn rules_list_shows_what_is_in_effect_and_where_it_comes_from() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("etcd-monitor.toml");
    std::fs::write(&config, FLEET).expect("written");
    let config = config.to_str().expect("UTF-8");
    let list = |more: &[&str]| output(&[&["--config", config, "rules", "list"], more].concat());
    let json = |more: &[&str]| -> Vec<serde_json::Value> {
        serde_json::from_str(&stdout(&list(&[&["--json"], more].concat()))).expect("JSON")
    };
    let (dev, prod) = (json(&["--cluster", "dev-a"]), json(&["--cluster", "prod"]));
    assert_eq!(row(&dev, "EtcdWalFsyncSlow", "warning")["threshold"]["value"], 0.02);
    assert_eq!(row(&prod, "EtcdWalFsyncSlow", "warning")["threshold"]["value"], 0.01);
    assert_eq!(row(&dev, "EtcdNoLeader", "critical")["for"], "10m");
    let from = &row(&dev, "EtcdNoLeader", "critical")["overridden"];
    assert_eq!(from, &serde_json::json!([{"setting": "for", "scope": "cluster dev-a", "line": 18}]),);
    assert_eq!(row(&prod, "EtcdLeaderChanges", "warning")["state"], "off");
    assert_eq!(row(&prod, "EtcdUnlikeLastDays", "info")["origin"], "baseline");
    let both = json(&[]);
    assert_eq!(both.iter().filter(|row| row["name"] == "EtcdNoLeader").count(), 2, "a row for each");
    let table = stdout(&list(&["--cluster", "dev-a"]));
    assert!(table.lines().any(|line| line.contains("EtcdNoLeader") && line.contains("(line 18)")), "{table}");
    let unknown = list(&["--cluster", "nope"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("configured are: dev-a, prod"), "{}", stderr(&unknown));
    // Without overrides the table fits a terminal of 80 columns.
    let bare = stdout(&output(&["rules", "list"]));
    assert!(bare.lines().all(|line| line.chars().count() <= 80), "{bare}");
}

#[test]
fn the_rules_of_objectives_hold_their_tests_here_and_with_promtool() {
    let data = folder("tests/data/slo");
    let config = data.join("etcd-monitor.toml");
    let config = config.to_str().expect("UTF-8");
    let printed = output(&["--config", config, "slo", "--rules"]);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    let temporary = tempfile::tempdir().expect("folder");
    let (rules, test) = (temporary.path().join("rules.yaml"), temporary.path().join("slo-test.yaml"));
    std::fs::write(&rules, stdout(&printed)).expect("written");
    std::fs::copy(data.join("slo-test.yaml"), &test).expect("copied");
    for (verb, file) in [("check", &rules), ("test", &test)] {
        let (theirs, ours) = verdicts(verb, file);
        assert!(theirs.0, "promtool: {}", theirs.1);
        assert!(ours.0, "ours: {}", ours.1);
    }
    // They are in effect, too, and shown.
    let listed = output(&["--config", config, "rules", "list", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout(&listed)).expect("JSON");
    let burns: Vec<_> = rows.iter().filter(|row| row["name"] == "EtcdSloBurn").collect();
    assert_eq!(burns.len(), 4);
    assert!(burns.iter().all(|row| row["origin"] == "slo" && row["owner"] == "evaluate"), "{burns:?}");
}
