//! A real Alertmanager takes what is forwarded.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::collections::{BTreeMap, BTreeSet};

use etcd_monitor::alert::{AlertConfig, Routes, Silence, Silences, Speakers};
use etcd_monitor::model::{Incident, IncidentState, Labels, MatchOp, Severity};
use serde_json::{Value, json};

use super::{START_MS, Story};

struct Alertmanager {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more of the configuration.
    async fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("alertmanager.yml");
        let text = format!("route: {{receiver: none}}\nreceivers: [{{name: none}}]\n{more}");
        std::fs::write(&config, text).expect("written");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.route-prefix=/am", "--cluster.listen-address="])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-alertmanager is missing; get it with `make test-deps`");
        // As the program does; that another test has done so is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Self { child, url: format!("http://{address}/am"), _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(30);
        while reqwest::get(format!("{}/-/ready", server.url)).await.is_err() {
            assert!(Instant::now() < deadline, "Alertmanager does not get ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    async fn post(&self, what: &str, body: &Value) -> Value {
        let request = reqwest::Client::new().post(format!("{}/api/v2/{what}", self.url)).json(body);
        let answer = request.send().await.expect("answers");
        let (status, text) = (answer.status(), answer.text().await.expect("text"));
        assert!(status.is_success(), "{what} {body}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Its alerts that have not ended.
    async fn active(&self) -> Vec<serde_json::Value> {
        let answer = reqwest::get(format!("{}/api/v2/alerts", self.url)).await.expect("answers");
        let alerts: Vec<serde_json::Value> = answer.json().await.expect("JSON");
        alerts
    }
}

#[tokio::test]
async fn alertmanager_has_the_alert_while_it_fires() {
    let server = Alertmanager::start().await;
    let toml = format!("type = \"alertmanager\"\nurl = {:?}\nallow-private = true", server.url);
    let story = Story::new(toml::from_str(&toml).expect("valid"));
    // Alertmanager has a clock of its own.
    let now_ms = chrono::Utc::now().timestamp_millis();
    assert!(now_ms > START_MS);
    let report = story.down(now_ms - 120_000).await;
    assert_eq!(report.accepted.len(), 1, "{report:?}");
    let alerts = server.active().await;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["labels"]["alertname"], "EtcdMemberDown");
    assert_eq!(alerts[0]["labels"]["cluster"], "prod-eu-1");
    assert_eq!(alerts[0]["annotations"]["description"], "It has not answered for 1 minute.");
    assert_eq!(alerts[0]["generatorURL"], "https://status.example.com/etcd");

    assert_eq!(story.removed(now_ms).await.accepted.len(), 1);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.active().await.is_empty() {
        assert!(Instant::now() < deadline, "the alert has not ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Label sets; an absent label is not there at all, as Alertmanager has no empty ones.
const ALERTS: [&[(&str, &str)]; 9] = [
    &[("alertname", "Down"), ("severity", "critical"), ("cluster", "a"), ("zone", "x")],
    &[("alertname", "Down"), ("severity", "warning"), ("cluster", "a"), ("zone", "x")],
    &[("alertname", "Down"), ("severity", "warning"), ("cluster", "b")],
    &[("alertname", "Slow"), ("severity", "warning"), ("cluster", "a")],
    &[("alertname", "Slow"), ("severity", "critical")],
    &[("alertname", "Slow"), ("severity", "warning")],
    &[("alertname", "Lost"), ("cluster", "b"), ("note", "a \"quoted\" \\ line")],
    &[("alertname", "Lost"), ("cluster", "prod-eu-1"), ("zone", "y")],
    &[("alertname", "Info"), ("severity", "info"), ("cluster", "prod-eu-1.x")],
];

/// Source, target, equal.
const RULES: [(&[&str], &[&str], &[&str]); 5] = [
    (&["severity=critical"], &["severity=warning"], &["alertname", "cluster"]),
    // What fits both sides is not silenced by its like.
    (&["alertname=~Slow|Info"], &["alertname=~Slow|Lost"], &[]),
    (&["alertname=Lost", "cluster=b"], &["alertname=Down"], &["zone"]),
    (&["zone="], &["zone!=", "alertname!=Down"], &["severity"]),
    (&["alertname=Nothing"], &["alertname=~.*"], &[]),
];

const SILENCES: [&[&str]; 11] = [
    &["alertname=Down"],
    &["alertname!=Down", "severity=warning"],
    &["cluster=~prod"],
    &["cluster=~prod.*"],
    &["cluster=~a|b"],
    &["cluster!~a|b", "alertname=~.+"],
    &["zone=", "alertname=Slow"],
    &["zone!=", "severity=critical"],
    &["zone!~.+", "severity=~warning|info"],
    &["note=\"a \\\"quoted\\\" \\\\ line\""],
    &["cluster=prod-eu-1.x"],
];

fn incident(labels: &[(&str, &str)]) -> Incident {
    let labels = Labels::from_pairs(labels.iter().copied());
    let (fingerprint, severity) = (labels.fingerprint(), Severity::Warning);
    Incident {
        fingerprint,
        episode: 1,
        state: IncidentState::Firing,
        group: "g".to_owned(),
        alert: labels.get("alertname").unwrap_or_default().to_owned(),
        severity,
        labels,
        annotations: BTreeMap::new(),
        value: 1.0,
        active_since_ms: 0,
        fired_ms: 0,
        changed_ms: 0,
        reason: None,
        silenced_by: None,
    }
}

/// The labels as one text, to find an alert again.
fn name_of(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// Which alerts each silence silences, and which are inhibited, as Alertmanager says.
async fn asked(server: &Alertmanager, silences: &[String]) -> (Vec<BTreeSet<String>>, BTreeSet<String>) {
    let mut silenced = vec![BTreeSet::new(); silences.len()];
    let mut inhibited = BTreeSet::new();
    for alert in server.active().await {
        let labels = serde_json::from_value(alert["labels"].clone()).expect("labels");
        for (n, id) in silences.iter().enumerate() {
            if alert["status"]["silencedBy"].as_array().is_some_and(|by| by.iter().any(|by| by == id)) {
                silenced[n].insert(name_of(&labels));
            }
        }
        if alert["status"]["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty()) {
            inhibited.insert(name_of(&labels));
        }
    }
    (silenced, inhibited)
}

/// The same as we say it, with these inhibit rules.
fn ours_of(rules: &str) -> (Vec<BTreeSet<String>>, BTreeSet<String>) {
    let incidents: Vec<Incident> = ALERTS.iter().map(|labels| incident(labels)).collect();
    let text = |incident: &Incident| {
        name_of(&incident.labels.iter().map(|l| (l.name.to_string(), l.value.to_string())).collect())
    };
    let config: AlertConfig = toml::from_str(rules).expect("valid");
    // Without those that are shipped.
    let shipped = Routes::new(&AlertConfig::default(), &[]).expect("valid").inhibit.len();
    let rules = Routes::new(&config, &[]).expect("valid").inhibit.split_off(shipped);
    let speakers = Speakers::new(&rules, &incidents.iter().collect::<Vec<_>>(), START_MS);
    let inhibited: BTreeSet<String> =
        incidents.iter().filter(|incident| speakers.inhibitor(incident).is_some()).map(text).collect();
    let silenced: Vec<BTreeSet<String>> = SILENCES
        .iter()
        .map(|matchers| {
            let silence = Silence {
                id: "1".to_owned(),
                matchers: matchers.iter().map(|text| (*text).to_owned()).collect(),
                starts_ms: 0,
                ends_ms: 10,
                author: String::new(),
                comment: String::new(),
            };
            silence.check().unwrap_or_else(|error| panic!("{matchers:?}: {error}"));
            let silences = Silences::new([silence]);
            incidents.iter().filter(|i| silences.silencer(&i.labels, 5).is_some()).map(text).collect()
        })
        .collect();
    (silenced, inhibited)
}

#[tokio::test]
async fn inhibition_and_silences_mean_what_they_mean_there() {
    let list = |texts: &[&str]| json!(texts).to_string();
    let (mut theirs, mut ours) = ("inhibit_rules:\n".to_owned(), String::new());
    for (source, target, equal) in RULES {
        let (source, target, equal) = (list(source), list(target), list(equal));
        theirs += &format!("- {{source_matchers: {source}, target_matchers: {target}, equal: {equal}}}\n");
        ours += &format!("[[inhibit]]\nsource = {source}\ntarget = {target}\nequal = {equal}\n");
    }
    let server = Alertmanager::start_with(&theirs).await;
    let now = chrono::Utc::now();
    let ends = (now + Duration::from_secs(3600)).to_rfc3339();
    let alerts: Vec<Value> = ALERTS
        .iter()
        .map(|labels| json!({ "labels": labels.iter().copied().collect::<BTreeMap<_, _>>(), "endsAt": ends }))
        .collect();
    server.post("alerts", &json!(alerts)).await;
    let mut ids = Vec::new();
    for matchers in SILENCES {
        let matchers: Vec<Value> = matchers
            .iter()
            .map(|text| {
                let matcher = etcd_monitor::alert::parse_matcher(text).expect("a matcher");
                let is_regex = matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex);
                let is_equal = matches!(matcher.op, MatchOp::Regex | MatchOp::Equal);
                json!({ "name": matcher.name, "value": matcher.value, "isRegex": is_regex, "isEqual": is_equal })
            })
            .collect();
        let body = json!({
            "matchers": matchers, "startsAt": now.to_rfc3339(), "endsAt": ends, "createdBy": "test", "comment": "test",
        });
        ids.push(server.post("silences", &body).await["silenceID"].as_str().expect("an id").to_owned());
    }

    let (silenced, inhibited) = ours_of(&ours);
    assert!(!inhibited.is_empty() && inhibited.len() < ALERTS.len(), "{inhibited:?}");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let theirs = asked(&server, &ids).await;
        if theirs == (silenced.clone(), inhibited.clone()) {
            break;
        }
        if Instant::now() >= deadline {
            assert_eq!(theirs.1, inhibited, "inhibited there, here");
            for (n, matchers) in SILENCES.iter().enumerate() {
                assert_eq!(theirs.0[n], silenced[n], "{matchers:?}: silenced there, here");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
