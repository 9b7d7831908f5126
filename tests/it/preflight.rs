//! Before there is an etcd: the table, the exit code, the page; what is critical is not called fit.

use std::process::Output;

use serde_json::Value;

use crate::disk::Disk;
use crate::program::{self, stderr, stdout};

fn of(found: &Value, id: &str) -> Vec<(String, String)> {
    let checks = found["checks"].as_array().expect("checks").iter().filter(|check| check["id"] == id);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    checks.map(|check| (text(&check["level"]), text(&check["found"]))).collect()
}

fn code_of(found: &Value) -> i32 {
    let has = |level: &str| {
        found["checks"].as_array().expect("checks").iter().any(|check| {
            let depends =
                ["fsync", "clock", "round-trip"].contains(&check["id"].as_str().unwrap_or_default());
            check["level"] == level && (level != "unknown" || depends)
        })
    };
    if has("critical") {
        1
    } else if has("warning") || has("unknown") {
        3
    } else {
        0
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|_| panic!("{}", stderr(output)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_judged_by_all_that_etcd_needs() {
    let disk = Disk::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let taken = listener.local_addr().expect("an address").port();
    let peers = format!("127.0.0.1:{taken},https://127.0.0.1:1");
    let (directory, html) = (disk.path().display().to_string(), disk.page());
    let ports = format!("{taken}");
    let arguments =
        ["preflight", "--directory", &directory, "--peers", &peers, "--ports", &ports, "--size", "1m"];
    let output = program::output(&[&arguments[..], &["--json", "--html", &html]].concat());
    let found = json(&output);
    assert_eq!(output.status.code(), Some(code_of(&found)), "{found:#}");
    // A listener and a refusal are both round trips.
    let trips = of(&found, "round-trip");
    assert_eq!(trips.len(), 2, "{trips:?}");
    assert!(found["peers"].as_array().expect("peers").iter().all(|peer| peer["answered"] == 20), "{found:#}");
    assert_eq!(
        of(&found, "cluster-size"),
        [("pass".to_owned(), "3 member(s) are planned, and 1 may fail".to_owned())]
    );
    assert_eq!(of(&found, "ports")[0].0, "warning", "somebody listens there");
    assert_eq!(of(&found, "disk-kind")[0].0, "critical", "memory is no disk");
    assert_eq!(found["disk"]["tests"].as_array().map(Vec::len), Some(4));
    for id in [
        "processors",
        "cpu-governor",
        "memory",
        "swap",
        "huge-pages",
        "open-files",
        "listen-backlog",
        "data-folder",
        "clock",
    ] {
        assert_eq!(of(&found, id).len(), 1, "{id}");
    }
    assert_eq!(std::fs::read_dir(disk.path()).expect("there").count(), 0, "nothing stays");
    let page = std::fs::read_to_string(&html).expect("a page");
    assert!(page.contains("Not fit for etcd") && page.contains("round-trip"), "{page}");
    // The same as a table.
    let output = program::output(&[&arguments[..], &["--no-disk"]].concat());
    let text = stdout(&output);
    for wanted in ["RESULT", "data-folder", "rule: ", "do:   "] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("fsync"), "{text}");
}

#[test]
fn peers_out_of_reach_and_a_missing_folder_are_critical() {
    // A network namespace without any interface that is up.
    let mut command =
        program::command(&["preflight", "--directory", "/nowhere", "--peers", "10.0.0.2", "--json"]);
    let mut isolated = std::process::Command::new("unshare");
    isolated.arg("--net").arg(command.get_program()).args(command.get_args());
    let output = isolated.output().expect("unshare is part of util-linux");
    let found = json(&output);
    assert_eq!(output.status.code(), Some(1), "{found:#}");
    assert_eq!(of(&found, "round-trip")[0].0, "critical");
    assert!(of(&found, "round-trip")[0].1.contains("unreachable"), "{found:#}");
    assert_eq!(of(&found, "data-folder")[0].0, "critical");
    assert_eq!(of(&found, "cluster-size")[0].0, "warning", "two members");
    let output = command.args(["--peers", "a b"]).output().expect("starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is no host"), "{}", stderr(&output));
}
