//! The daemon on a real cluster: what it notices, whom it tells, what it keeps.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::deliver::Receiver;
use crate::deliver::http::Hook;
use crate::deliver::smtp::MailServer;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon};

/// A member that does not answer is an incident after seconds, so that a test need not wait for the shipped
/// rule's minute.
pub const RULES: &str = "\
groups:
- name: test
  rules:
  - alert: TestMemberDown
    expr: max by (cluster, instance) (etcd_monitor_member_up) == 0
    for: 2s
    labels: { severity: critical }
    annotations: { summary: '{{ $labels.instance }} is down' }
";

const PATIENCE: Duration = Duration::from_secs(90);

pub async fn until(what: &str, daemon: &Daemon, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen; the daemon said:\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A configuration with quick intervals in `folder`; returns its path.
pub fn configure(folder: &Path, cluster: &EtcdCluster, channels: &str) -> String {
    std::fs::write(folder.join("rules.yml"), RULES).expect("written");
    let endpoints: Vec<String> = cluster.endpoints().iter().map(|url| format!("{url:?}")).collect();
    let text = format!(
        "[store]\nurl = {:?}\n[[cluster]]\nname = 'prod'\nendpoints = [{}]\nmax-requests-per-second = 20.0\n\
         [watch]\nstatus-interval = '1s'\nquorum-interval = '2s'\nscrape-interval = '2s'\nflush-interval = '1s'\n\
         [rules]\nfiles = ['rules.yml']\n{channels}",
        folder.join("store").display().to_string(),
        endpoints.join(", "),
    );
    let path = folder.join("etcd-monitor.toml");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_noticed_told_shown_and_resolved() {
    let mut cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let (hook, mail) = (Hook::start(&[]).await, MailServer::start(&[]).await);
    let route = "[[alert.route]]\nchannels = ['hook', 'mail']\ngroup-interval = '1s'\n";
    let channels = format!("{route}[channel.hook]\n{}\n[channel.mail]\n{}\n", hook.toml(), mail.toml());
    let config = configure(folder.path(), &cluster, &channels);
    let secrets = [("HMAC", "secret"), ("SMTP", "secret of SMTP")];
    let daemon = Daemon::start(folder.path(), &["--config", &config, "run"], &secrets);
    let page =
        || std::fs::read_to_string(folder.path().join("store/site/c/prod/index.html")).unwrap_or_default();
    // What is right whatever the machine's load: a busy disk may make the verdict "degraded".
    let whole = || {
        let output = program::output(&["--config", &config, "status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&program::stdout(&output)).unwrap_or_default();
        let cluster = &status["clusters"][0];
        let members = cluster["members"].as_array().cloned().unwrap_or_default();
        let led = members.iter().any(|member| member["role"] == "leader");
        let down = cluster["incidents"].to_string().contains("MemberDown");
        members.len() == 3 && members.iter().all(|member| member["reachable"] == true) && led && !down
    };
    until("a whole cluster", &daemon, whole).await;
    until("a page", &daemon, || page().contains("3 members")).await;

    let leader = cluster.leader().await;
    let instance = cluster.instance(leader);
    cluster.kill(leader);
    let told = |bodies: &[String], word: &str| {
        bodies.iter().any(|b| b.contains("TestMemberDown") && b.contains(word))
    };
    until("the webhook", &daemon, || told(&hook.accepted(), "\"status\":\"firing\"")).await;
    until("the mail", &daemon, || told(&mail.accepted(), "FIRING")).await;
    until("the alert on the page", &daemon, || page().contains("TestMemberDown")).await;
    assert!(page().contains(&instance), "the page names the member");
    until("the leader change", &daemon, || daemon.log().contains("became leader in term")).await;

    cluster.restart(leader);
    until("the resolved webhook", &daemon, || told(&hook.accepted(), "\"status\":\"resolved\"")).await;
    until("the resolved mail", &daemon, || told(&mail.accepted(), "RESOLVED")).await;
    until("a page without the alert", &daemon, || !page().contains("TestMemberDown")).await;

    until("a whole cluster again", &daemon, whole).await;
    assert_eq!(daemon.terminate(Duration::from_secs(30)), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_file_follows_the_members_without_the_report() {
    let mut cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let config = configure(folder.path(), &cluster, "[jobs.report]\nenabled = false\n");
    let daemon = Daemon::start(folder.path(), &["--config", &config, "run"], &[]);
    let live = || -> serde_json::Value {
        let text = std::fs::read(folder.path().join("store/site/api/v1/live/fleet.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    };
    let members = |json: &serde_json::Value| json["clusters"][0]["members"].as_str().map(str::to_owned);
    let follower = (cluster.leader().await + 1) % 3;
    until("three members in the live file", &daemon, || members(&live()).as_deref() == Some("3/3")).await;
    let through = || live()["data_through"].as_str().map(str::to_owned);
    let first = through();
    assert!(first.is_some());
    until("newer data in the live file", &daemon, || through() > first).await;

    cluster.kill(follower);
    until("two members in the live file", &daemon, || members(&live()).as_deref() == Some("2/3")).await;
    until("the alert in the live file", &daemon, || live()["clusters"][0]["alerts"] == 1).await;
    let file = live();
    assert_ne!(file["clusters"][0]["state"], "healthy", "{file}");
    assert!(file["stale_after"].as_str() > file["data_through"].as_str(), "{file}");

    cluster.restart(follower);
    until("a live file without the alert", &daemon, || live()["clusters"][0]["alerts"] == 0).await;
    assert!(!folder.path().join("store/site/index.html").exists(), "no report ran");
    assert_eq!(daemon.terminate(Duration::from_secs(30)), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_leaves_a_whole_store_and_the_next_one_goes_on() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let config = configure(folder.path(), &cluster, "");
    let count = || {
        let output = program::output(&["--config", &config, "query", "--json", "count_over_time(up[10m])"]);
        let json: serde_json::Value = serde_json::from_str(&program::stdout(&output)).unwrap_or_default();
        json["result"][0]["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(0.0_f64)
    };
    let mut before = 0.0;
    for round in 0..3 {
        let daemon = Daemon::start(folder.path(), &["--config", &config, "run"], &[]);
        until("new samples", &daemon, || count() > before + f64::from(round)).await;
        daemon.kill();
        let verified = program::output(&["--config", &config, "store", "verify"]);
        assert!(verified.status.success(), "{}{}", program::stdout(&verified), program::stderr(&verified));
        before = count();
    }
    let daemon = Daemon::start(folder.path(), &["--config", &config, "run"], &[]);
    until("new samples", &daemon, || count() > before).await;
    let before = count();
    assert_eq!(daemon.terminate(Duration::from_secs(30)), Some(0), "SIGTERM is a clean end");
    assert!(count() >= before, "what was in memory was flushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_answer_people_and_programs() {
    let mut cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let store = folder.path().join("store").display().to_string();
    let endpoints = cluster.endpoints().join(",");
    let base = ["--store", store.as_str()];
    let run = |arguments: &[&str]| program::output(&[&base[..], arguments].concat());

    let collected = run(&["run", "collect", "--endpoints", &endpoints]);
    assert!(collected.status.success(), "{}", program::stderr(&collected));
    assert!(program::stdout(&collected).contains("3 of 3 member(s) answered"));
    for arguments in [
        &["jobs", "--json"][..],
        &["status", "--json"],
        &["store", "ls", "--json"],
        &["store", "verify", "--json"],
        &["query", "--json", "up"],
        &["query", "--json", "up", "--since", "5m"],
    ] {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", program::stderr(&output));
        let parsed = serde_json::from_str::<serde_json::Value>(&program::stdout(&output));
        assert!(parsed.is_ok(), "{arguments:?}: {}", program::stdout(&output));
    }
    assert!(program::stdout(&run(&["query", "sum(up)"])).contains('3'));
    let config = folder.path().join("c.toml");
    std::fs::write(
        &config,
        format!("[[cluster]]\nname = 'etcd'\nendpoints = ['{}']\n", cluster.endpoints()[0]),
    )
    .expect("written");
    let config = config.display().to_string();
    let listed = run(&["--config", &config, "rules", "list", "--cluster", "etcd", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&program::stdout(&listed)).expect("JSON");
    let why = |alert: &str| {
        let row = rows.iter().find(|row| row["name"] == alert).unwrap_or_else(|| panic!("no {alert}"));
        row["cannot_speak"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!((why("EtcdWalFsyncSlow"), why("EtcdMemberDown")), (String::new(), String::new()));
    assert!(why("EtcdBackupOld").contains("etcd_monitor_backup"), "{}", why("EtcdBackupOld"));
    // The members run here, so their machine is read.
    assert_eq!(why("EtcdDiskNearFull"), "");
    assert!(program::stdout(&run(&["completions", "bash"])).contains("etcd-monitor"));

    let healthy = program::output(&["check", "--endpoints", &endpoints]);
    assert_eq!(healthy.status.code(), Some(0), "{}", program::stdout(&healthy));
    assert!(program::stdout(&healthy).starts_with("ETCD OK - etcd: 3/3 members, leader "));
    let by_variable =
        program::command(&["check"]).env("ETCDCTL_ENDPOINTS", &endpoints).output().expect("starts");
    assert_eq!(by_variable.status.code(), Some(0), "{}", program::stdout(&by_variable));
    let mut both = program::command(&["check", "--endpoints", &endpoints]);
    let both = both.env("ETCDCTL_ENDPOINTS", &endpoints).output().expect("starts");
    assert_eq!(both.status.code(), Some(3), "as etcdctl, it takes one of them");
    cluster.kill(0);
    cluster.kill(1);
    let lost = program::output(&["check", "--endpoints", &endpoints]);
    assert_eq!(lost.status.code(), Some(2), "{}", program::stdout(&lost));
    assert_eq!(program::stdout(&lost).lines().count(), 1);
}

#[test]
fn wrong_input_is_one_clear_message_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("temp folder");
    let config = folder.path().join("c.toml");
    let config = config.display().to_string();
    let store = folder.path().join("store");
    let cases = [
        ("[stor]\n", "c.toml:1: stor: unknown key"),
        ("[watch]\nscrape-interval = '15'\n", "c.toml:2: watch.scrape-interval: \"15\" is not a duration"),
        ("[[cluster]]\nname = 'a'\nendpoints = ['h']\n", "c.toml:1: cluster"),
        (
            "[[cluster]]\nname = 'a'\nendpoints = ['https://h:1']\ntls = { ca = '/nope' }\n",
            "/nope cannot be read",
        ),
        ("[rules]\nfiles = ['nope.yml']\n", "nope.yml cannot be read"),
        ("x = \n", "c.toml:1"),
        ("", "no cluster to watch"),
    ];
    for (text, message) in cases {
        std::fs::write(&config, text).expect("written");
        let store = store.display().to_string();
        let output = program::output(&["--config", &config, "--store", &store, "run", "collect"]);
        let said = program::stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text:?}: {said}");
        assert!(said.contains(message), "{text:?}: {said}");
    }
    assert!(!store.exists(), "nothing was written");
    let unknown = program::output(&["run", "nosuchjob", "--endpoints", "h:1"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        program::stderr(&unknown)
            .contains("there is no job \"nosuchjob\"; there are advise, backup, bench, collect")
    );
    let syntax = program::output(&["query", "rate(up"]);
    assert_eq!(syntax.status.code(), Some(2));
    let unwritable =
        program::output(&["--store", "/proc/nope", "run", "collect", "--endpoints", "127.0.0.1:1"]);
    assert_eq!(unwritable.status.code(), Some(1), "{}", program::stderr(&unwritable));
}
