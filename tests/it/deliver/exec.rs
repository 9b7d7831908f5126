//! Programs as channels.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_monitor::deliver::SendError;

use super::{START_MS, Story};

fn program(folder: &Path, body: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path: PathBuf = folder.join("notify");
    std::fs::write(&path, format!("#!/bin/sh\ncd \"$FOLDER\"\n{body}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
    format!(
        "type = \"exec\"\ntimeout = \"2s\"\ncommand = [{path:?}, \"$(touch injected)\"]\nenv = {{ FOLDER = {folder:?} }}"
    )
}

#[tokio::test]
async fn a_program_gets_json_and_its_exit_code_decides() {
    for (name, body, accepted, permanent) in [
        ("reads", "cat > body; echo \"$1\" > argument; env > environment", 1, None),
        ("does not read", "exit 0", 1, None),
        ("fails", "exit 3", 0, Some(false)),
        ("refuses", "exit 65", 0, Some(true)),
        ("fails once", "[ -e once ] || { touch once; exit 1; }", 1, None),
        ("hangs", "exec sleep 60", 0, Some(false)),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let toml = program(folder.path(), body);
        let story = Story::new(toml::from_str(&toml).expect("valid"));
        let report = tokio::time::timeout(Duration::from_secs(30), story.down(START_MS)).await.expect("ends");
        assert_eq!(report.accepted.len(), accepted, "{name}: {report:?}");
        let refused = report.failures.first().map(|f| matches!(f.error, SendError::Permanent { .. }));
        assert_eq!(refused, permanent, "{name}: {report:?}");
        if name == "reads" {
            let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).expect("written");
            let body: serde_json::Value = serde_json::from_str(&read("body")).expect("JSON");
            assert_eq!((&body["version"], &body["receiver"]), (&"4".into(), &"way".into()));
            assert_eq!(read("argument").trim(), "$(touch injected)", "no shell reads the arguments");
            assert!(!folder.path().join("injected").exists());
            let environment = read("environment");
            assert!(environment.contains("ETCD_MONITOR_STATUS=firing"), "{environment}");
            assert!(!environment.contains("CARGO"), "ours is not passed on: {environment}");
        }
    }
}

#[tokio::test]
async fn a_program_that_takes_too_long_ends_with_all_that_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = program(folder.path(), "sleep 300 & echo $! >> children\nwait");
    let story = Story::new(toml::from_str(&toml).expect("valid"));
    let report = story.down(START_MS).await;
    assert!(report.failures[0].error.to_string().contains("no answer within"), "{report:?}");
    let children = std::fs::read_to_string(folder.path().join("children")).expect("started");
    assert!(children.lines().count() >= 3, "one for each try: {children}");
    // One that ended may wait for somebody to ask how.
    let runs = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(sleep)") && !stat.contains(") Z ")
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while children.lines().any(runs) {
        assert!(std::time::Instant::now() < deadline, "still running: {children}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_program_that_cannot_be_run_is_a_bad_configuration() {
    for (command, said) in [("[]", "empty"), ("[\"notify\"]", "absolute"), ("[\"/no/such\"]", "no program")] {
        let config = toml::from_str(&format!("type = \"exec\"\ncommand = {command}")).expect("valid");
        let errors =
            etcd_monitor::deliver::open(&[("way".to_owned(), config)].into(), &|_| Err(String::new()));
        let text = errors.err().expect("refused")[0].to_string();
        assert!(text.contains(said), "{text}");
    }
}
