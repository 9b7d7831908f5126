//! A real Alertmanager takes what is forwarded.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").expect("written");
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
