//! A real Prometheus over series written by a test: the reference that results are compared with.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_monitor::model::{METRIC_NAME, SeriesSet};
use serde_json::Value as Json;
use tempfile::TempDir;

const HOW_TO_GET: &str = "run `make test-deps` (Debian package prometheus, which brings promtool)";

/// What it takes for the address that people reach it at.
pub const EXTERNAL_URL: &str = "https://prometheus.example.com/in/front";

/// A running server; dropping it ends the process and removes its data.
pub struct Prometheus {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts a server whose database holds exactly `series` (times in multiples of 1/8 s, which the text
    /// format's decimal seconds carry without rounding; no stale markers).
    pub fn over(series: &SeriesSet) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let text = dir.path().join("series.om");
        std::fs::write(&text, open_metrics(series)).expect("write the series");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("create the data directory");
        let blocks = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&text, &data])
            .output()
            .unwrap_or_else(|error| panic!("promtool does not start: {error}; {HOW_TO_GET}"));
        assert!(blocks.status.success(), "promtool: {}", String::from_utf8_lossy(&blocks.stderr));
        let config = dir.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").expect("write the configuration");
        Self::run(dir, &config, &data)
    }

    /// Starts a server without data that evaluates `rules` every second.
    pub fn evaluating(rules: &str, external_labels: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("rules.yaml"), rules).expect("write the rules");
        let labels: String =
            external_labels.iter().map(|(name, value)| format!("    {name}: {value:?}\n")).collect();
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global:\n  evaluation_interval: 1s\n  external_labels:\n{labels}rule_files: [rules.yaml]\n"
        );
        std::fs::write(&config, text).expect("write the configuration");
        let data = dir.path().join("data");
        Self::run(dir, &config, &data)
    }

    fn run(dir: TempDir, config: &Path, data: &Path) -> Self {
        // Another test may take the port between its choice and its use.
        for _ in 0..5 {
            let (mut child, port) = start(config, data);
            if wait_until_ready(&mut child, port) {
                return Self { child, port, _dir: dir };
            }
        }
        panic!("prometheus does not become ready")
    }

    /// `(status, data or error message)` of an instant query.
    pub fn instant(&self, query: &str, at_ms: i64) -> Result<Json, String> {
        self.query("query", &[("query", query), ("time", &seconds(at_ms))])
    }

    /// The same for a range query.
    pub fn range(&self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Json, String> {
        let (start, end, step) = (seconds(start_ms), seconds(end_ms), seconds(step_ms));
        self.query("query_range", &[("query", query), ("start", &start), ("end", &end), ("step", &step)])
    }

    /// The alerts as they are now.
    pub fn alerts(&self) -> Json {
        let answer = exchange(self.port, "GET /api/v1/alerts HTTP/1.0\r\n\r\n").expect("prometheus answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let mut answer: Json = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {body}"));
        answer["data"]["alerts"].take()
    }

    fn query(&self, kind: &str, form: &[(&str, &str)]) -> Result<Json, String> {
        let body: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let body = body.join("&");
        let request = format!(
            "POST /api/v1/{kind} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(self.port, &request).expect("prometheus answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let mut answer: Json = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {body}"));
        if answer["status"] == "success" {
            return Ok(answer["data"].take());
        }
        Err(answer["error"].as_str().unwrap_or("no message").to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(config: &Path, data: &Path) -> (Child, u16) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg("--storage.tsdb.retention.time=100y")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args([&format!("--web.external-url={EXTERNAL_URL}"), "--web.route-prefix=/"])
        .args(["--log.level=error", "--enable-feature=promql-negative-offset,promql-at-modifier"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("prometheus does not start: {error}; {HOW_TO_GET}"));
    (child, port)
}

fn wait_until_ready(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        match exchange(port, "GET /-/ready HTTP/1.0\r\n\r\n") {
            Ok(answer) if answer.contains(" 200 ") => return true,
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// One HTTP/1.0 exchange: the server closes the connection after its answer.
fn exchange(port: u16, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = if byte.is_ascii_alphanumeric() {
            write!(out, "{}", char::from(byte))
        } else {
            write!(out, "%{byte:02X}")
        };
        out
    })
}

fn open_metrics(series: &SeriesSet) -> String {
    let mut text = String::new();
    for series in series.iter() {
        let (name, labels) = (series.labels.metric_name(), series.labels.without(&[METRIC_NAME]));
        for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
            let value =
                if value.is_nan() { "NaN".to_owned() } else { format!("{value:?}").replace("inf", "Inf") };
            let _ = writeln!(text, "{name}{{{}}} {value} {}", labels.canonical(), seconds(*ts_ms));
        }
    }
    text + "# EOF\n"
}
