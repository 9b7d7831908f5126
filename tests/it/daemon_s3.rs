//! The daemon and the commands with everything in a bucket.

use std::path::Path;
use std::time::Duration;

use crate::daemon::until;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon};
use crate::s3::{CREDENTIALS, S3Server};

/// Writes a configuration for that store; returns its path.
fn configure(folder: &Path, store: &str, endpoint: &str) -> String {
    let text = format!(
        "{store}[[cluster]]\nname = 'prod'\nendpoints = ['{endpoint}']\nmax-requests-per-second = 20.0\n\
         [watch]\nstatus-interval = '1s'\nquorum-interval = '2s'\nscrape-interval = '2s'\nflush-interval = '1s'\n",
    );
    let path = folder.join("etcd-monitor.toml");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

async fn everything_works_from(server: &S3Server) {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let config = configure(folder.path(), &server.toml("bucket/etcd/monitor"), &cluster.endpoint(0));
    let run = |arguments: &[&str]| {
        let arguments = [&["--config", config.as_str()], arguments].concat();
        program::command(&arguments).envs(CREDENTIALS).output().expect("starts")
    };
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&program::stdout(&run(arguments))).unwrap_or_default()
    };
    let daemon = Daemon::start(folder.path(), &["--config", &config, "run"], &CREDENTIALS);
    let member = || json(&["status", "--json"])["clusters"][0]["members"][0]["reachable"] == true;
    until("a reading in the bucket", &daemon, member).await;
    let up = || json(&["query", "--json", "sum(up)"])["result"][0]["value"][1] == "1";
    until("samples in the bucket", &daemon, up).await;
    let store = server.store("etcd/monitor").await;
    let page = async || store.get_site("c/prod/index.html").await.expect("reads");
    let deadline = std::time::Instant::now() + Duration::from_secs(90);
    while page().await.is_none() {
        assert!(std::time::Instant::now() < deadline, "no page: {}", daemon.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(daemon.terminate(Duration::from_secs(40)), Some(0));

    let reported = run(&["run", "report"]);
    assert!(reported.status.success(), "{}", program::stderr(&reported));
    let page = page().await.expect("there");
    assert!(String::from_utf8_lossy(&page).contains("1 member"));
    let listed = json(&["store", "ls", "--json"]);
    let tables: Vec<&str> =
        listed.as_array().expect("lines").iter().filter_map(|line| line["table"].as_str()).collect();
    assert!(tables.contains(&"samples") && tables.contains(&"readings"), "{listed}");
    let verified = run(&["store", "verify"]);
    let text = program::stdout(&verified);
    assert!(verified.status.success() && !text.starts_with("0 file(s)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_keeps_everything_in_a_bucket_of_moto() {
    everything_works_from(&S3Server::moto()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_keeps_everything_in_a_bucket_of_seaweedfs() {
    let server = S3Server::seaweed();
    everything_works_from(&server).await;
    // SeaweedFS checks signatures.
    let wrong = [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "wrong")];
    says_why(&server, "bucket/x", &wrong, &["s3://bucket/x", "not permitted", "state/"]);
}

#[test]
fn a_bucket_that_is_not_there_is_said_at_the_start() {
    let server = S3Server::moto();
    says_why(&server, "nosuchbucket/x", &CREDENTIALS, &["s3://nosuchbucket/x", "there is no such bucket"]);
}

/// The daemon and a job: exit 1 and one line with all of `parts`.
fn says_why(server: &S3Server, url: &str, credentials: &[(&str, &str)], parts: &[&str]) {
    let folder = tempfile::tempdir().expect("temp folder");
    let config = configure(folder.path(), &server.toml(url), "http://127.0.0.1:1");
    for job in [&["run"][..], &["run", "collect"], &["run", "report"]] {
        let arguments = [&["--config", config.as_str()], job].concat();
        let output = program::command(&arguments).envs(credentials.iter().copied()).output().expect("starts");
        let said = program::stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{job:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{job:?}: {part:?} is missing in {said}");
        }
        assert_eq!(said.lines().filter(|line| line.starts_with("etcd-monitor: ")).count(), 1, "{said}");
        assert!(
            !credentials.iter().any(|(name, value)| name.contains("SECRET") && said.contains(value)),
            "{said}"
        );
    }
}
