//! What all channels over HTTP share: the client, and what an answer means for the message.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};

use super::SendError;
use super::address::PublicOnly;

/// More of an answer is not read.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// A client of one service. Redirects are not followed: they would carry credentials elsewhere.
pub(super) struct Http {
    client: Client,
    /// How messages call the other side: "the webhook".
    name: &'static str,
}

impl Http {
    /// `allow_private`: names may lead to addresses that the Internet cannot reach.
    pub(super) fn new(name: &'static str, allow_private: bool) -> Result<Self, String> {
        // The one TLS provider of the program; that it is installed already is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder().redirect(redirect::Policy::none());
        if !allow_private {
            builder = builder.dns_resolver(Arc::new(PublicOnly));
        }
        let client = builder.build().map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { client, name })
    }

    pub(super) fn post(&self, url: Url) -> RequestBuilder {
        self.client.post(url)
    }

    /// Sends it once, and returns the start of an answer that accepts it.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, SendError> {
        let failed = |error| SendError::transient(cause(self.name, error));
        let answer = request.send().await.map_err(failed)?;
        judge(self.name, answer.status(), answer.headers())?;
        start_of(answer).await.map_err(failed)
    }
}

async fn start_of(mut answer: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = ANSWER_MAX_BYTES.saturating_sub(bytes.len());
        bytes.extend(chunk.iter().take(room));
        if bytes.len() >= ANSWER_MAX_BYTES {
            break;
        }
    }
    Ok(bytes)
}

/// The innermost cause, without the URL, whose path may hold a token.
fn cause(name: &str, error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("cannot reach {name}: {innermost}")
}

fn judge(name: &str, status: StatusCode, headers: &HeaderMap) -> Result<(), SendError> {
    let code = status.as_u16();
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        let reason = format!("{name} answered {code}, and redirects are not followed; correct the url");
        return Err(SendError::Permanent { reason });
    }
    let mut reason = format!("{name} answered {code}");
    match status {
        // They say nothing of the message, which is sent once the credentials are right.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => reason.push_str("; check its credentials"),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {}
        _ if status.is_server_error() => {}
        _ => return Err(SendError::Permanent { reason }),
    }
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(SendError::Transient { reason, retry_after: seconds.map(Duration::from_secs) })
}

/// `application/x-www-form-urlencoded`.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse("http://form.invalid/") else { return String::new() };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// One outcome for several requests of one message: what can pass is tried again, and with it all of them.
pub(super) fn all_of(outcomes: Vec<Result<(), SendError>>) -> Result<(), SendError> {
    let mut errors: Vec<SendError> = outcomes.into_iter().filter_map(Result::err).collect();
    errors.sort_by_key(|error| matches!(error, SendError::Permanent { .. }));
    errors.into_iter().next().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn status_codes_say_whether_to_try_again() {
        for (status, retry_after, again) in [
            (200, None, None),
            (202, None, None),
            (302, None, Some(false)),
            (400, None, Some(false)),
            (401, None, Some(true)),
            (403, None, Some(true)),
            (404, None, Some(false)),
            (408, None, Some(true)),
            (429, Some("7"), Some(true)),
            (500, None, Some(true)),
            (503, Some("garbage"), Some(true)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(seconds) = retry_after {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
            }
            let judged = judge("it", StatusCode::from_u16(status).expect("a status"), &headers);
            let found = judged.as_ref().err().map(|error| matches!(error, SendError::Transient { .. }));
            assert_eq!(found, again, "{status}");
            if let Err(SendError::Transient { retry_after: wait, .. }) = judged {
                assert_eq!(wait.is_some(), retry_after == Some("7"), "{status}");
            }
        }
    }

    #[test]
    fn one_that_can_pass_has_all_tried_again() {
        let permanent = || Err(SendError::Permanent { reason: "no".to_owned() });
        let transient = || Err(SendError::transient("later".to_owned()));
        assert_eq!(all_of(vec![permanent(), Ok(()), transient()]), transient());
        assert_eq!(all_of(vec![permanent(), Ok(())]), permanent());
        assert_eq!(all_of(vec![Ok(())]), Ok(()));
    }

    #[test]
    fn forms_keep_what_they_are_given() {
        assert_eq!(form(&[("To", "+49 1&2"), ("Body", "a=b\r\nc")]), "To=%2B49+1%262&Body=a%3Db%0D%0Ac");
    }
}
