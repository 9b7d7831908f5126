//! `/metrics` and `/health` over HTTP, with a deadline and a cap on what is read.

use std::time::{Duration, Instant};

use super::clock::http_date_ms;
use crate::etcd::{EtcdError, Member};
use crate::model::{ErrorKind, ReadingError};

/// A decoded body.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) success: bool,
    /// Its `Date`, and how long after the question the head of the answer was there.
    pub(super) date: Option<(i64, Duration)>,
}

/// Fetches `url` with the member's TLS settings (compressed where the server can) within `timeout`.
pub(super) async fn fetch(
    member: &Member,
    url: &str,
    what: &'static str,
    timeout: Duration,
    max_bytes: u64,
) -> Result<Body, ReadingError> {
    let error = |kind, message: String| ReadingError {
        kind,
        during: what.to_owned(),
        message: format!("{what} at {url}: {message}"),
        missing_right: None,
    };
    let client = member.http().await.map_err(|e: EtcdError| e.to_reading_error(what, ""))?;
    let start = Instant::now();
    let whole = async {
        let request =
            client.get(url).header("accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1").timeout(timeout);
        let mut response = request.send().await.map_err(|e| of_http(url, &e, start.elapsed()))?;
        let status = response.status();
        let date = response.headers().get("date").and_then(|date| http_date_ms(date.to_str().ok()?));
        let date = date.map(|date_ms| (date_ms, start.elapsed()));
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| of_http(url, &e, start.elapsed()))? {
            if bytes.len() as u64 + chunk.len() as u64 > max_bytes {
                return Err((ErrorKind::TooLarge, format!("the body is larger than {max_bytes} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        match status.as_u16() {
            401 | 403 => Err((ErrorKind::Denied, format!("HTTP {status}"))),
            // A sick member says so with 503, and why in the body.
            503 if what != "metrics" => Ok(Body { bytes, success: false, date }),
            _ if !status.is_success() => Err((ErrorKind::Malformed, format!("HTTP {status}"))),
            _ => Ok(Body { bytes, success: true, date }),
        }
    };
    whole.await.map_err(|(kind, message)| error(kind, message))
}

fn of_http(url: &str, e: &reqwest::Error, after: Duration) -> (ErrorKind, String) {
    let causes = crate::model::chain(e);
    if e.is_timeout() {
        return (ErrorKind::Timeout, format!("no answer within {:.1} s", after.as_secs_f64()));
    }
    if e.is_decode() {
        return (ErrorKind::Malformed, causes);
    }
    match crate::etcd::explain_transport(url, &causes) {
        (ErrorKind::Other, text) if e.is_connect() => (ErrorKind::Unreachable, text),
        (ErrorKind::Other, text) => (ErrorKind::Malformed, text),
        known => known,
    }
}
