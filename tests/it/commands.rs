//! What a person reads of a store that `run collect` filled: status, jobs, report, serve, store, config.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon, stderr, stdout};

/// A store with one reading of a real cluster named `it`, and the published report of it.
async fn filled_store() -> TempDir {
    let cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("folder");
    let endpoints = cluster.endpoints().join(",");
    for job in ["collect", "report"] {
        let result = run(folder.path(), &["run", job, "--endpoints", &endpoints, "--cluster", "it"]);
        assert_eq!(result.status.code(), Some(0), "{job}: {}", stderr(&result));
    }
    folder
}

fn run(store: &Path, arguments: &[&str]) -> Output {
    let store = store.join("store");
    program::output(&[&["--store", store.to_str().expect("UTF-8")], arguments].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_jobs_tell_what_the_store_knows_as_table_and_as_json() {
    let folder = filled_store().await;
    let text = stdout(&run(folder.path(), &["status"]));
    for wanted in ["it  Healthy", "ago (", "MEMBER", "m0", "m1", "m2", "3.5.16"] {
        assert!(text.contains(wanted), "no {wanted}:\n{text}");
    }
    assert_eq!(text.matches(" leader  ").count(), 1, "one leader:\n{text}");

    let status = json(&run(folder.path(), &["status", "it", "--json"]));
    assert_eq!(status["clusters"][0]["members"].as_array().map(Vec::len), Some(3), "{status:#}");
    assert_eq!(status["clusters"][0]["verdict"]["state"], "healthy", "{status:#}");
    let unknown = run(folder.path(), &["status", "other"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("there is no cluster other"), "{}", stderr(&unknown));

    let text = stdout(&run(folder.path(), &["jobs"]));
    let line = |name: &str| {
        text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{text}"))
    };
    assert!(line("collect").contains("done") && line("compact").contains("never"), "{text}");
    let jobs = json(&run(folder.path(), &["jobs", "--json"]));
    let collect = jobs.as_array().and_then(|jobs| jobs.iter().find(|job| job["name"] == "collect"));
    assert_eq!(collect.expect("listed")["last"]["outcome"], "done", "{jobs:#}");
}

#[test]
fn an_empty_store_says_how_to_start() {
    let folder = tempfile::tempdir().expect("folder");
    let result = run(folder.path(), &["status"]);
    assert_eq!(result.status.code(), Some(0));
    assert!(stderr(&result).contains("start with: etcd-monitor run --endpoints"), "{}", stderr(&result));
    for looks in [&["query", "up"][..], &["jobs"], &["store", "ls"], &["store", "verify"]] {
        assert_eq!(run(folder.path(), looks).status.code(), Some(0), "{looks:?}");
    }
    assert!(!folder.path().join("store").exists(), "looking makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn store_lists_and_verifies_and_a_damaged_file_is_found() {
    let folder = filled_store().await;
    let text = stdout(&run(folder.path(), &["store", "ls"]));
    assert!(
        text.trim_start().starts_with("TABLE") && text.contains("readings") && text.contains("samples"),
        "{text}"
    );
    let listed = json(&run(folder.path(), &["store", "ls", "--json"]));
    let rows = listed.as_array().expect("a list").iter().find(|line| line["table"] == "readings");
    assert_eq!(rows.expect("listed")["rows"], 3, "{listed:#}");

    let whole = run(folder.path(), &["store", "verify"]);
    assert_eq!(whole.status.code(), Some(0));
    assert!(stdout(&whole).contains(", 0 problem(s)"), "{}", stdout(&whole));

    let readings = first_file(&folder.path().join("store/data/readings"));
    let mut bytes = std::fs::read(&readings).expect("readable");
    let middle = bytes.len() / 3;
    bytes.iter_mut().skip(middle).take(64).for_each(|byte| *byte = !*byte);
    std::fs::write(&readings, bytes).expect("writable");
    let stranger = readings.with_file_name("notes.txt");
    std::fs::write(&stranger, "not a table").expect("writable");
    let damaged = run(folder.path(), &["store", "verify", "--json"]);
    assert_eq!(damaged.status.code(), Some(1));
    let problems = json(&damaged)["problems"].clone();
    let keys: Vec<&str> =
        problems.as_array().expect("a list").iter().filter_map(|problem| problem["key"].as_str()).collect();
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(keys.len(), 2, "{problems:#}");
    for path in [&readings, &stranger] {
        assert!(keys.iter().any(|key| key.ends_with(&name(path))), "{problems:#}");
    }
    let text = stdout(&run(folder.path(), &["store", "verify"]));
    assert!(text.contains("notes.txt: its name is not one of a table file"), "{text}");
    assert!(text.contains(", 2 problem(s)"), "{text}");
}

fn first_file(folder: &Path) -> std::path::PathBuf {
    let next =
        std::fs::read_dir(folder).expect("a folder").next().expect("something in it").expect("readable");
    if next.path().is_dir() { first_file(&next.path()) } else { next.path() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_site_is_written_to_a_folder_and_served_with_its_headers() {
    let folder = filled_store().await;
    let out = folder.path().join("site");
    let result = run(folder.path(), &["report", "--out", out.to_str().expect("UTF-8")]);
    assert_eq!(result.status.code(), Some(0), "{}", stderr(&result));
    let page = std::fs::read_to_string(out.join("c/it/index.html")).expect("the cluster's page");
    assert!(page.contains("3 of 3 voting members answer"));

    let store = folder.path().join("store");
    let store = store.to_str().expect("UTF-8");
    let server = Daemon::start(folder.path(), &["--store", store, "serve", "--listen", "127.0.0.1:0"], &[]);
    let address = address_of(&server);

    let index = get(address, "GET /index.html", "");
    let tag = header(&index, "etag").expect("an ETag").to_owned();
    assert!(index.starts_with("HTTP/1.1 200") && index.contains("c/it/index.html"), "{index}");
    assert!(
        header(&index, "content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    assert_eq!(header(&index, "x-content-type-options"), Some("nosniff"));
    let again = get(address, "GET /index.html", &format!("If-None-Match: {tag}\r\n"));
    assert!(again.starts_with("HTTP/1.1 304"), "{again}");

    for (request, status) in [
        ("GET /nothing.html", "404"),
        ("GET /../data/x", "404"),
        ("GET /a//b", "404"),
        ("POST /index.html", "405"),
        ("HEAD /index.html", "200"),
    ] {
        let answer = get(address, request, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    for (path, location) in [
        ("/", "/index.html"),
        ("/c/it/", "/c/it/index.html"),
        ("//elsewhere.example/", "/elsewhere.example/index.html"),
    ] {
        let answer = get(address, &format!("GET {path}"), "");
        assert_eq!(header(&answer, "location"), Some(location), "it stays on this host: {answer}");
    }
    assert_eq!(server.terminate(Duration::from_secs(20)), Some(0));
}

fn address_of(server: &Daemon) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let log = server.log();
        if let Some(rest) = log.split("http://").nth(1)
            && let Some((address, _)) = rest.split_once("/index.html")
        {
            return address.parse().expect("an address");
        }
        assert!(Instant::now() < deadline, "it does not say where it serves: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The raw answer: no client tidies up the paths on the way.
fn get(address: SocketAddr, request: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n")
        .expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = answer.split("\r\n").skip(1).take_while(|line| !line.is_empty());
    lines.find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

#[test]
fn config_check_says_what_it_read() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("config.toml");
    let text = "[[cluster]]\nname = \"a\"\nendpoints = [\"http://127.0.0.1:1\"]\n";
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("UTF-8");
    let result = program::output(&["config", "check", "--config", file]);
    assert_eq!(result.status.code(), Some(0), "{}", stderr(&result));
    assert!(stdout(&result).starts_with("ok: 1 cluster(s), "), "{}", stdout(&result));
    std::fs::write(file, text.replace("endpoints", "endpoint")).expect("written");
    let result = program::output(&["config", "check", "--config", file]);
    assert_eq!(result.status.code(), Some(2));
    assert!(stderr(&result).contains("config.toml"), "{}", stderr(&result));
}
