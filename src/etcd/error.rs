//! What goes wrong with a member, by endpoint, call and kind.

use std::error::Error;

use crate::model::{ErrorKind, ReadingError};

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call} at {endpoint}: {message}")]
pub struct EtcdError {
    pub endpoint: String,
    /// `status`, `member-list`, `alarms`, `linearizable-read`, `metrics`, `health`, `connect`.
    pub call: &'static str,
    pub kind: ErrorKind,
    pub message: String,
}

impl EtcdError {
    pub fn new(endpoint: &str, call: &'static str, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { endpoint: endpoint.to_owned(), call, kind, message: message.into() }
    }

    /// The deadline passed.
    pub fn timeout(endpoint: &str, call: &'static str, limit: std::time::Duration) -> Self {
        let limit = crate::model::unit::format_duration(limit);
        Self::new(endpoint, call, ErrorKind::Timeout, format!("no answer within {limit}"))
    }

    /// From etcd-client: a gRPC status, or what happened below it.
    pub fn of_client(endpoint: &str, call: &'static str, error: &etcd_client::Error) -> Self {
        let (kind, message) = match error {
            etcd_client::Error::GRpcStatus(status) => of_status(endpoint, status),
            other => of_transport(endpoint, &chain(other)),
        };
        Self::new(endpoint, call, kind, message)
    }

    /// From an HTTP request.
    pub fn of_http(endpoint: &str, call: &'static str, error: &reqwest::Error) -> Self {
        let text = chain(error);
        let (kind, message) = if error.is_timeout() {
            (ErrorKind::Timeout, "no answer in time".to_owned())
        } else {
            of_transport(endpoint, &text)
        };
        Self::new(endpoint, call, kind, message)
    }

    /// As the reading keeps it. `right` is what the user would need, in etcd's words.
    pub fn for_reading(&self, right: Option<&str>) -> ReadingError {
        ReadingError {
            kind: self.kind,
            during: self.call.to_owned(),
            message: self.to_string(),
            missing_right: right.filter(|_| self.kind == ErrorKind::Denied).map(ToOwned::to_owned),
        }
    }
}

/// A gRPC status as etcd gives it. Versions differ in the code of a missing right (Unknown up to 3.5), so the
/// text decides too.
fn of_status(endpoint: &str, status: &tonic::Status) -> (ErrorKind, String) {
    use tonic::Code;
    let text = status.message();
    let kind = match status.code() {
        Code::PermissionDenied => ErrorKind::Denied,
        _ if text.contains("permission denied") => ErrorKind::Denied,
        _ if text.contains("user name is empty") || text.contains("user name not found") => ErrorKind::Auth,
        _ if text.contains("authentication failed") || text.contains("invalid auth token") => ErrorKind::Auth,
        Code::Unauthenticated => ErrorKind::Auth,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::Unimplemented => ErrorKind::Malformed,
        Code::OutOfRange | Code::ResourceExhausted => ErrorKind::TooLarge,
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
            return match std::error::Error::source(status) {
                Some(source) => of_transport(endpoint, &chain(source)),
                None if text.contains("timed out") || text.contains("Timeout") => {
                    (ErrorKind::Timeout, text.to_owned())
                }
                None => of_transport(endpoint, text),
            };
        }
        _ => ErrorKind::Other,
    };
    let message = match kind {
        ErrorKind::Malformed => "it speaks gRPC but not etcd's API: is this an etcd client port?".to_owned(),
        _ => text.to_owned(),
    };
    (kind, message)
}

/// From the text of the error chain: the libraries below give no better handle.
fn of_transport(endpoint: &str, text: &str) -> (ErrorKind, String) {
    let has = |needle: &str| text.contains(needle);
    let tls = |message: &str| (ErrorKind::Tls, message.to_owned());
    let https = endpoint.starts_with("https://");
    if has("UnknownIssuer") {
        return tls("the server's certificate is not signed by the configured CA (unknown issuer)");
    }
    if has("Expired") || has("certificate expired") || has("certificate has expired") {
        return tls("the server's certificate has expired");
    }
    if has("NotValidForName") || has("certificate not valid for name") {
        return (
            ErrorKind::Tls,
            format!("the server's certificate is for another name: {}", last_clause(text)),
        );
    }
    if has("CertificateRequired")
        || has("BadCertificate")
        || has("bad certificate")
        || has("certificate required")
    {
        return tls("the server wants a client certificate that its CA signed; none or another was sent");
    }
    if https && (has("InvalidContentType") || has("corrupt message") || has("InvalidMessage")) {
        return tls("the server does not speak TLS on this port; is it an http:// endpoint?");
    }
    if has("certificate") || has("alert") || has("handshake") || has("tls") && https {
        return (ErrorKind::Tls, format!("TLS handshake failed: {}", last_clause(text)));
    }
    if has("Connection refused") {
        return (ErrorKind::Unreachable, "connection refused".to_owned());
    }
    if has("dns error") || has("failed to lookup") || has("Name or service not known") {
        return (ErrorKind::Unreachable, "the host name does not resolve".to_owned());
    }
    if has("timed out") || has("KeepAliveTimedOut") || has("deadline has elapsed") || has("Timeout expired") {
        return (ErrorKind::Timeout, "no answer in time".to_owned());
    }
    if https && has("connection closed") {
        // In TLS 1.3 a server refuses a client after the handshake, by closing.
        return tls(
            "the server closed the connection: perhaps it wants a client certificate that its CA signed",
        );
    }
    if !https
        && (has("connection closed")
            || has("frame with invalid size")
            || has("connection reset")
            || has("operation was canceled"))
    {
        let hint =
            "the connection was closed; does the port want TLS (https://), or is it no etcd client port?";
        return (ErrorKind::Unreachable, hint.to_owned());
    }
    if has("http2 error") || has("protocol error") || has("invalid HTTP") || has("invalid compression flag") {
        return (ErrorKind::Malformed, "what answers there is no etcd client port".to_owned());
    }
    (ErrorKind::Unreachable, last_clause(text).to_owned())
}

/// An error with its sources, outermost first.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn last_clause(text: &str) -> &str {
    text.rsplit(": ").next().unwrap_or(text)
}
