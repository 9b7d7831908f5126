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

/// An answer of the function: its path (`response` or `error`) and body.
type Answer = (String, Value);

#[derive(Clone)]
struct Api {
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
        ("lambda-runtime-deadline-ms", "4102444800000"),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-1:123456789012:function:etcd-monitor-compact",
        ),
        ("content-type", "application/json"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
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
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let expected = events.len();
    let api = Api { events: Arc::new(Mutex::new(events.into())), answers: sender };
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
