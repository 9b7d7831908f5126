//! Links to acknowledge with, as people, mail scanners and forgers follow them: the real binary over HTTP, and as
//! a Lambda function behind its URL.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use etcd_monitor::deliver::AckLinks;
use etcd_monitor::model::{Incident, IncidentState, Labels, Severity};
use etcd_monitor::store::key::SequenceKey;
use etcd_monitor::store::sequence::{self, Appended};
use etcd_monitor::store::{Store, StoreConfig, Writer};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lambda;
use crate::program::{self, Daemon};

const SECRET: &str = "a secret that only this test knows";
const HOSTILE: &str = "member \"><script>alert(1)</script>&amp; is down";

fn now_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    i64::try_from(since.as_millis()).expect("fits")
}

fn incident(instance: &str, state: IncidentState) -> Incident {
    let labels = Labels::from_pairs([("alertname", "TestAlert"), ("cluster", "a"), ("instance", instance)]);
    let fired_ms = now_ms() - 600_000;
    Incident {
        fingerprint: labels.fingerprint(),
        episode: 1,
        state,
        group: "g".to_owned(),
        alert: "TestAlert".to_owned(),
        severity: Severity::Critical,
        labels,
        annotations: [("summary".to_owned(), HOSTILE.to_owned())].into(),
        value: 1.0,
        active_since_ms: fired_ms,
        fired_ms,
        changed_ms: fired_ms,
        reason: None,
        silenced_by: None,
    }
}

/// A store with these incidents, and a configuration whose links lead to `base`.
async fn prepared(incidents: &[&Incident], base: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("folder");
    let url = folder.path().join("store").display().to_string();
    let config = StoreConfig { url: url.clone(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    for incident in incidents {
        let key = SequenceKey::incident(&incident.fingerprint);
        let appended = sequence::append(&store, &key, 1, *incident, &Writer::new(1, 1)).await;
        assert_eq!(appended.expect("written"), Appended::Won);
    }
    let path = folder.path().join("c.toml");
    let text = format!(
        "[store]\nurl = {url:?}\n[alert]\nack-url = {base:?}\nack-secret = {{ env = 'ACK_SECRET' }}\n[report]\n"
    );
    std::fs::write(&path, text).expect("written");
    (folder, path.display().to_string())
}

/// `serve` on a free port; its address.
async fn served(folder: &Path, config: &str) -> (Daemon, String) {
    let arguments = ["--config", config, "serve", "--listen", "127.0.0.1:0"];
    let daemon = Daemon::start(folder, &arguments, &[("ACK_SECRET", SECRET)]);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let log = daemon.log();
        if let Some((base, _)) = log.lines().find_map(|line| line.split_once("/index.html")) {
            return (daemon, base.to_owned());
        }
        assert!(Instant::now() < deadline, "it does not listen: {log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn state(config: &str, incident: &Incident) -> (String, String) {
    let output = program::command(&["--config", config, "alerts", "--json", "--history"])
        .env("ACK_SECRET", SECRET)
        .output()
        .expect("the binary starts");
    let listed: Vec<Value> = serde_json::from_str(&program::stdout(&output)).expect("JSON");
    let found = listed.iter().find(|row| row["id"] == incident.short_id()).expect("listed");
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("acked_by"))
}

async fn read(response: Response) -> (StatusCode, String) {
    let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert_eq!(response.headers()["cache-control"], "no-store");
    (response.status(), response.text().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_changes_nothing_and_sending_acknowledges_once() {
    let (down, over) = (incident("m1", IncidentState::Firing), incident("m2", IncidentState::Resolved));
    let (folder, config) = prepared(&[&down, &over], "https://ack.example").await;
    let (_daemon, base) = served(folder.path(), &config).await;
    let links = AckLinks::new(&base, SECRET.as_bytes());
    let link = links.of(&down, now_ms()).expect("it fires");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");

    // A scanner opens it, as often as it likes and with HEAD, too.
    for _ in 0..3 {
        let (status, page) = read(http.get(&link).send().await.expect("an answer")).await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("<form method=\"post\">") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("<script") && !page.contains("onclick"), "{page}");
    }
    assert_eq!(http.head(&link).send().await.expect("an answer").status(), 200);
    assert_eq!(state(&config, &down).0, "FIRING");
    let style = http.get(format!("{base}/ack/page.css")).send().await.expect("an answer");
    assert!(style.headers()["content-type"].to_str().expect("text").starts_with("text/css"));

    let send = |link: String, name: &'static str| {
        let body = format!("name={name}&note=%3Cb%3Eon+it");
        let request = http.post(link).header("content-type", "application/x-www-form-urlencoded");
        async { read(request.body(body).send().await.expect("an answer")).await }
    };
    let past = links.of(&down, now_ms() - 5 * 86_400_000).expect("it fired");
    let ended = links.of(&Incident { state: IncidentState::Firing, ..over.clone() }, now_ms());
    let next = links.of(&Incident { episode: 2, ..down.clone() }, now_ms()).expect("a link");
    let nobody = links.of(&incident("m3", IncidentState::Firing), now_ms()).expect("a link");
    let forged = AckLinks::new(&base, b"some other secret").of(&down, now_ms()).expect("a link");
    let cut = link.split("&sig").next().expect("a link").to_owned();
    for (what, link, expected, said) in [
        ("forged", forged, 403, "not valid"),
        ("cut", cut, 400, "incomplete"),
        ("expired", past, 410, "has expired"),
        ("over", ended.expect("a link"), 410, "is over"),
        ("another episode", next, 410, "is over"),
        ("unknown", nobody, 404, "not known"),
    ] {
        let (status, page) = read(http.get(&link).send().await.expect("an answer")).await;
        assert_eq!(status, expected, "{what}: {page}");
        assert!(page.contains(said), "{what}: {page}");
        assert_eq!(send(link, "mallory").await.0, expected, "{what}");
        assert_eq!(state(&config, &down).0, "FIRING", "{what}");
    }
    let deleted = http.delete(&link).send().await.expect("an answer");
    assert_eq!(read(deleted).await.0, 405);
    let long = http.post(&link).body("x".repeat(100_000)).send().await.expect("an answer");
    assert_eq!(long.status(), 413);
    assert_eq!(state(&config, &down).0, "FIRING");

    let (status, page) = send(link.clone(), "ann").await;
    assert!(status == 200 && page.contains("&lt;b&gt;on it") && !page.contains("<form"), "{status} {page}");
    let acked = ("ACKED".to_owned(), "ann (by link): <b>on it".to_owned());
    assert_eq!(state(&config, &down), acked);
    let (status, page) = send(link, "bob").await;
    assert!(status == 200 && page.contains("Acknowledged already"), "{status} {page}");
    assert_eq!(state(&config, &down), acked, "the first who took it on has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_url_answers_the_same_links() {
    let down = incident("m1", IncidentState::Firing);
    let (folder, config) = prepared(&[&down], "https://x.lambda-url.eu-west-1.on.aws").await;
    let link = AckLinks::new("https://x.lambda-url.eu-west-1.on.aws", SECRET.as_bytes());
    let link: reqwest::Url = link.of(&down, now_ms()).expect("it fires").parse().expect("a URL");
    let event = |method: &str, query: &str, body: &str| {
        json!({
            "version": "2.0",
            "rawPath": link.path(),
            "rawQueryString": query,
            "requestContext": { "http": { "method": method, "path": link.path() } },
            "body": BASE64_STANDARD.encode(body),
            "isBase64Encoded": true,
        })
    };
    let query = link.query().expect("signed");
    let forged = query.replace("sig=", "sig=0");
    let events = vec![
        event("GET", query, ""),
        event("POST", &forged, "name=mallory"),
        event("POST", query, "name=ann"),
        json!({ "rawPath": "/", "requestContext": { "http": { "method": "GET" } } }),
    ];
    let store = folder.path().join("store").display().to_string();
    let secret = [("ACK_SECRET", SECRET)];
    let answers = lambda::invoke_with("deliver", &store, events, Path::new(&config), &secret).await;
    let codes: Vec<_> =
        answers.iter().map(|(kind, body)| (kind.as_str(), body["statusCode"].as_u64())).collect();
    let codes_expected = [200, 403, 200, 404].map(|code| ("response", Some(code)));
    assert_eq!(codes, codes_expected, "{answers:?}");
    let policy = &answers[0].1["headers"]["content-security-policy"];
    assert!(policy.as_str().is_some_and(|policy| policy.starts_with("default-src 'none'")), "{answers:?}");
    assert_eq!(state(&config, &down), ("ACKED".to_owned(), "ann (by link)".to_owned()));
}
