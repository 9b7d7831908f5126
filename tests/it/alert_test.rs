//! `alert test`: through the real path, with its receipts and exit codes.

use std::process::{Command, Output};

use crate::deliver::http::Hook;
use crate::deliver::{Answer, Receiver};

fn alert_test(folder: &std::path::Path, config: &str, channel: &str) -> Output {
    let path = folder.join("etcd-monitor.toml");
    std::fs::write(&path, config).expect("written");
    Command::new(env!("CARGO_BIN_EXE_etcd-monitor"))
        .args(["alert", "test", "--channel", channel, "--config"])
        .arg(&path)
        .arg("--store")
        .arg(folder.join("store"))
        .output()
        .expect("runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_marked_told_and_receipted() {
    for (answers, code, requests) in
        [(&[][..], 0, 2), (&[Answer::Busy(None)], 0, 2), (&[Answer::Refuse], 1, 0)]
    {
        let hook = Hook::start(answers).await;
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "[channel.ops]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\nallow-private = true\n",
            hook.port
        );
        let output = alert_test(folder.path(), &config, "ops");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}{errors}");
        let told = hook.accepted();
        assert_eq!(told.len(), requests, "{told:?}");
        assert!(
            told.iter().all(|body| body.contains("EtcdMonitorTest") && body.contains("TEST: ")),
            "{told:?}"
        );
        let said = if code == 0 { "ops: accepted, key test-" } else { "ops: refused, key test-" };
        assert!(text.contains(said), "{text}{errors}");

        let output = alert_test(folder.path(), &config, "nope");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("no channel \"nope\"; there are ops"), "{errors}");
    }
}
