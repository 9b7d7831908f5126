//! The Lambda adapter: the real binary against a small Lambda Runtime API.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::etcd_cluster::{EtcdCluster, Options};

/// An answer of the function: its path (`response` or `error`) and body.
pub type Answer = (String, Value);

#[derive(Clone)]
struct Api {
    deadline_ms: String,
    events: Arc<Mutex<VecDeque<Value>>>,
    answers: mpsc::UnboundedSender<Answer>,
}

/// GET …/invocation/next: an event, or a wait without end, as Lambda freezes an idle function.
async fn next(State(api): State<Api>) -> impl IntoResponse {
    let event = api.events.lock().expect("not poisoned").pop_front();
    let Some(event) = event else { std::future::pending().await };
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-1:123456789012:function:etcd-monitor-compact",
        ),
        ("content-type", "application/json"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("lambda-runtime-deadline-ms", api.deadline_ms.parse().expect("digits"));
    (StatusCode::OK, headers, event.to_string())
}

async fn answered(
    State(api): State<Api>,
    Path((_, kind)): Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    api.answers.send((kind, body)).expect("the test listens");
    StatusCode::ACCEPTED
}

/// Runs the binary as the function `job` over `store` for the given events; returns its answers.
async fn invoke(job: &str, store: &str, events: Vec<Value>) -> Vec<Answer> {
    invoke_until(job, store, events, 4_102_444_800_000, None, &[]).await
}

/// [`invoke`] with a configuration file and variables of its own.
pub async fn invoke_with(
    job: &str,
    store: &str,
    events: Vec<Value>,
    config: &std::path::Path,
    environment: &[(&str, &str)],
) -> Vec<Answer> {
    invoke_until(job, store, events, 4_102_444_800_000, Some(config), environment).await
}

/// [`invoke`] with a deadline, ms since the epoch, and a configuration file.
async fn invoke_until(
    job: &str,
    store: &str,
    events: Vec<Value>,
    deadline_ms: u128,
    config: Option<&std::path::Path>,
    environment: &[(&str, &str)],
) -> Vec<Answer> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let expected = events.len();
    let api = Api {
        events: Arc::new(Mutex::new(events.into())),
        answers: sender,
        deadline_ms: deadline_ms.to_string(),
    };
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(answered))
        .with_state(api);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let mut function = Command::new(env!("CARGO_BIN_EXE_etcd-monitor"))
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", format!("etcd-monitor-{job}"))
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "test")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "test")
        .env("ETCD_MONITOR_JOB", job)
        .env("ETCD_MONITOR__STORE__URL", store)
        .envs(config.map(|path| ("ETCD_MONITOR_CONFIG", path)))
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut answers = Vec::new();
    for _ in 0..expected {
        let answer = tokio::time::timeout(Duration::from_secs(60), receiver.recv()).await;
        answers.push(answer.expect("an answer within a minute").expect("the server is up"));
    }
    function.kill().await.expect("the function ends");
    server.abort();
    answers
}

#[tokio::test]
async fn a_repeated_event_finds_its_slot_done() {
    let store = tempfile::tempdir().expect("temp folder");
    let event = json!({ "job": "compact", "scheduled_time": "2026-11-23T12:10:00Z" });
    let answers = invoke("compact", &store.path().display().to_string(), vec![event.clone(), event]).await;
    assert_eq!(answers[0].0, "response", "{answers:?}");
    assert_eq!(answers[0].1["outcome"], "done", "{answers:?}");
    assert_eq!(answers[0].1["host"], "lambda");
    assert_eq!(answers[0].1["slot_ms"], 1_795_435_800_000_i64);
    assert_eq!(answers[1], answers[0], "the second delivery reports the first run and does nothing");
}

#[tokio::test]
async fn a_failed_run_is_an_error_of_the_invocation() {
    let folder = tempfile::tempdir().expect("temp folder");
    let event = json!({ "scheduled_time": "2026-11-23T12:10:00Z" });
    let store = folder.path().join("store");
    // A table file that is none: compaction cannot read it.
    let bad = store.join("data/job_runs/level=hour/dt=2026-11-22");
    std::fs::create_dir_all(&bad).expect("folder");
    std::fs::write(bad.join("h22-part-0000.parquet"), "no parquet").expect("file");
    let answers = invoke("compact", &store.display().to_string(), vec![event]).await;
    assert_eq!(answers[0].0, "error", "{answers:?}");
}

/// The files below `folder`, as paths.
fn files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => found.push(path.display().to_string()),
            }
        }
    }
    found
}

fn now_ms() -> u128 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()
}

/// Two shifts of `watch`, the second within the first: both end by themselves before their deadlines, and only
/// the older one writes samples.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_runs_in_shifts_of_which_one_writes_samples() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let (store, config) = (folder.path().join("store"), folder.path().join("c.toml"));
    let text = format!(
        "[[cluster]]\nname = 'a'\nendpoints = [{:?}]\n[watch]\nscrape-interval = '2s'\nflush-interval = '3s'\n",
        cluster.endpoints()[0]
    );
    std::fs::write(&config, text).expect("written");
    let url = store.display().to_string();
    let shift = |seconds: u128, time: &'static str| {
        let (url, config) = (url.clone(), config.clone());
        let event = json!({ "scheduled_time": time });
        async move {
            let deadline_ms = now_ms() + seconds * 1000;
            let answers = invoke_until("watch", &url, vec![event], deadline_ms, Some(&config), &[]).await;
            (answers, now_ms() < deadline_ms)
        }
    };
    let first = tokio::spawn(shift(28, "2026-11-23T12:00:00Z"));
    let beats = |least: usize| files(&store.join("state/watch")).len() >= least;
    for _ in 0..200 {
        if beats(1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(beats(1), "the first shift beats");
    let second = tokio::spawn(shift(12, "2026-11-23T12:10:00Z"));
    for shift in [second, first] {
        let (answers, in_time) = shift.await.expect("ends");
        assert_eq!(answers[0].0, "response", "{answers:?}");
        assert_eq!((&answers[0].1["outcome"], in_time), (&json!("done"), true), "{answers:?}");
    }
    assert!(!beats(1), "a shift that ended takes its heartbeats with it");
    let segments = files(&store.join("data/samples"));
    let writers: std::collections::BTreeSet<&str> =
        segments.iter().filter_map(|path| path.rsplit('-').nth(1)).collect();
    assert!(segments.len() >= 3, "{segments:?}");
    assert_eq!(writers.len(), 1, "{segments:?}");
}
