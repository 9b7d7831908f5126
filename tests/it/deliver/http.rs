//! A recording HTTP server, and what is particular to webhooks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Answer, Receiver, START_MS, Story};

#[derive(Default)]
pub struct Log {
    answers: VecDeque<Answer>,
    /// Head and body of each accepted request.
    pub accepted: Vec<(String, String)>,
}

pub struct Hook {
    pub port: u16,
    pub log: Arc<Mutex<Log>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver for Hook {
    async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let log = Arc::new(Mutex::new(Log { answers: answers.iter().copied().collect(), ..Log::default() }));
        let shared = Arc::clone(&log);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, log, server }
    }

    fn toml(&self) -> String {
        format!(
            "type = \"webhook\"\nurl = \"http://user:hunter2@127.0.0.1:{}/hook/t0ken\"\ntimeout = \"500ms\"\n\
             allow-private = true\nhmac-secret = {{ env = \"HMAC\" }}\nheaders = {{ X-Team = \"db\" }}",
            self.port
        )
    }

    fn accepted(&self) -> Vec<String> {
        // Slack's first message is repainted beside each reply; that tells nobody anything new.
        let log = self.log.lock().expect("no panic");
        let told = log.accepted.iter().filter(|(head, _)| !head.contains("/chat.update "));
        told.map(|(_, body)| body.clone()).collect()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Log>>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut bytes).await.expect("readable") == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_none_or(|length| length.parse().is_ok_and(|length: usize| body.len() >= length)) {
            break (head, body.to_owned());
        }
    };
    let answer = log.lock().expect("no panic").answers.pop_front().unwrap_or(Answer::Accept);
    let status = match answer {
        Answer::Accept => {
            log.lock().expect("no panic").accepted.push((head, body));
            // What Slack's API says; the others look at the status only.
            let said = r#"{"ok":true,"channel":"C1","ts":"1764000000.1"}"#;
            let answer = format!(
                "HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
                said.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            return;
        }
        Answer::Garbage => {
            let _ = stream.write_all(b"\x00\xff 220 what is HTTP?\r\n\r\n").await;
            return;
        }
        Answer::Unauthorized => "401 Unauthorized".to_owned(),
        Answer::Redirect => "307 Temporary Redirect\r\nlocation: /elsewhere".to_owned(),
        Answer::Busy(None) => "500 Internal Server Error".to_owned(),
        Answer::Busy(Some(seconds)) => format!("429 Too Many Requests\r\nretry-after: {seconds}"),
        Answer::Refuse => "404 Not Found".to_owned(),
        Answer::Hang => {
            // Until the client gives up.
            let _ = stream.read_buf(&mut bytes).await;
            return;
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}

#[tokio::test]
async fn a_signed_payload_that_alertmanagers_receivers_read() {
    let hook = Hook::start(&[]).await;
    let story = Story::new(hook.config());
    story.down(START_MS).await;
    let (head, body) = hook.log.lock().expect("no panic").accepted[0].clone();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret of HMAC");
    let seconds = START_MS / 1000;
    let tag: String = ring::hmac::sign(&key, format!("{seconds}.{body}").as_bytes())
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert!(head.contains(&format!("x-etcd-monitor-signature: t={seconds},sha256={tag}")), "{head}");
    assert!(head.contains("x-team: db") && head.contains("idempotency-key: "), "{head}");
    let payload: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let pretty = serde_json::to_string_pretty(&payload).expect("serialises");
    insta::assert_snapshot!("webhook_payload", pretty);

    // The same keys as Alertmanager sends.
    let sample = include_str!("../../data/alertmanager/webhook-v4.json");
    let sample: serde_json::Value = serde_json::from_str(sample).expect("JSON");
    let keys =
        |value: &serde_json::Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&payload), keys(&sample));
    assert_eq!(keys(&payload["alerts"][0]), keys(&sample["alerts"][0]));
}

#[tokio::test]
async fn the_wished_wait_is_kept_and_a_long_one_is_left_to_a_later_sweep() {
    let hook = Hook::start(&[Answer::Busy(Some(1)), Answer::Accept]).await;
    let started = Instant::now();
    assert_eq!(Story::new(hook.config()).down(START_MS).await.accepted.len(), 1);
    assert!(started.elapsed() >= Duration::from_secs(1));

    let hook = Hook::start(&[Answer::Busy(Some(3_600)), Answer::Accept]).await;
    let story = Story::new(hook.config());
    let report = story.down(START_MS).await;
    assert_eq!((report.accepted.len(), report.undelivered), (0, 1));
    assert_eq!(story.down(START_MS + 60_000).await.accepted.len(), 0, "as it asked for");
    assert_eq!(story.down(START_MS + 3_601_000).await.accepted.len(), 1);
}

#[tokio::test]
async fn errors_hold_no_secrets() {
    let hook = Hook::start(&[Answer::Refuse]).await;
    let refused = Story::new(hook.config()).down(START_MS).await;
    let config = hook.config();
    drop(hook);
    let unreachable = Story::new(config).down(START_MS).await;
    for report in [refused, unreachable] {
        let text = format!("{report:?}");
        assert!(!report.failures.is_empty(), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("t0ken"), "{text}");
    }
}
