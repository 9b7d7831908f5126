//! What can go wrong on the way to a member, with what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{ClusterName, ErrorKind, ReadingError, chain};

/// Why a member did not answer as asked. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The configuration of a cluster does not fit together.
    #[error("cluster {cluster}: {key}: {problem}")]
    Config { cluster: ClusterName, key: &'static str, problem: String },
    /// A certificate or key file cannot be used.
    #[error("{key}: {} {problem}", path.display())]
    TlsFile { key: &'static str, path: PathBuf, problem: String },
    /// The call got no usable answer.
    #[error("{call} at {endpoint}: {message}")]
    Call {
        endpoint: String,
        call: &'static str,
        kind: ErrorKind,
        message: String,
        #[source]
        source: Option<Box<tonic::Status>>,
    },
    /// The call was not sent: the member failed repeatedly and is being left alone for a while.
    /// `last` is what it failed with.
    #[error("{call} at {endpoint}: {last}; not tried for another {} s", .wait.as_secs_f64().ceil())]
    Resting { endpoint: String, call: &'static str, kind: ErrorKind, last: String, wait: Duration },
}

impl EtcdError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config { .. } => ErrorKind::Other,
            Self::TlsFile { .. } => ErrorKind::Tls,
            Self::Call { kind, .. } | Self::Resting { kind, .. } => *kind,
        }
    }

    /// Whether the member itself answered, if only with a refusal.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Call { kind: ErrorKind::Denied | ErrorKind::Auth, source: Some(_), .. })
    }

    /// As an error inside a reading; `missing_right` names what a refused call needs.
    pub fn to_reading_error(&self, during: &str, missing_right: &str) -> ReadingError {
        let kind = self.kind();
        let message = match self {
            // Calls of one reading overtake each other: which of them were sent before the breaker opened is
            // chance, and the reason is the same.
            Self::Resting { endpoint, call, last, .. } => format!("{call} at {endpoint}: {last}"),
            other => other.to_string(),
        };
        ReadingError {
            kind,
            during: during.to_owned(),
            message,
            missing_right: (kind == ErrorKind::Denied).then(|| missing_right.to_owned()),
        }
    }

    /// What went wrong, without the call and the endpoint.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Call { message, .. } => message.clone(),
            Self::Resting { last, .. } => last.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn timeout(endpoint: &str, call: &'static str, after: Duration) -> Self {
        Self::Call {
            endpoint: endpoint.to_owned(),
            call,
            kind: ErrorKind::Timeout,
            message: format!("no answer within {} s", after.as_secs_f64()),
            source: None,
        }
    }

    pub(super) fn of_status(endpoint: &str, call: &'static str, status: tonic::Status) -> Self {
        let (kind, message) = explain(endpoint, &status);
        Self::Call { endpoint: endpoint.to_owned(), call, kind, message, source: Some(Box::new(status)) }
    }
}

/// Kind and sentence of a gRPC status, those that the transport made up included.
fn explain(endpoint: &str, status: &tonic::Status) -> (ErrorKind, String) {
    use tonic::Code;
    let words = status.message();
    if let Some(source) = std::error::Error::source(status) {
        return transport(endpoint, &chain(source));
    }
    match status.code() {
        _ if words.contains("permission denied") => {
            (ErrorKind::Denied, format!("{words} (user lacks a right)"))
        }
        Code::PermissionDenied => (ErrorKind::Denied, words.to_owned()),
        _ if words.contains("user name is empty") => {
            (ErrorKind::Auth, "this cluster wants a login; configure auth.user and auth.password".to_owned())
        }
        _ if words.contains("user name not found") => {
            (ErrorKind::Auth, format!("{words} (with client certificates etcd takes the CN as user name)"))
        }
        _ if words.contains("invalid user ID or password") => {
            (ErrorKind::Auth, "wrong user name or password".to_owned())
        }
        Code::Unauthenticated => (ErrorKind::Auth, words.to_owned()),
        _ if words.contains("invalid auth token") => (ErrorKind::Auth, words.to_owned()),
        // Users or roles changed since the login; a new one is all it takes.
        _ if words.contains("auth store is old") => (ErrorKind::Auth, words.to_owned()),
        Code::DeadlineExceeded => (ErrorKind::Timeout, words.to_owned()),
        _ if words.contains("request timed out") || words.contains("no leader") => {
            (ErrorKind::Timeout, format!("{words}: the member reaches no quorum"))
        }
        Code::Cancelled if words.contains("Timeout expired") => {
            (ErrorKind::Timeout, "no answer in time".to_owned())
        }
        Code::Unimplemented => {
            (ErrorKind::Malformed, "the endpoint speaks gRPC but is no etcd member".to_owned())
        }
        Code::Unknown | Code::Internal
            if words.contains("mapped from HTTP") || words.contains("content-type") =>
        {
            (ErrorKind::Malformed, format!("the endpoint is no etcd member ({words})"))
        }
        _ => transport_or_other(endpoint, words),
    }
}

fn transport_or_other(endpoint: &str, words: &str) -> (ErrorKind, String) {
    match transport(endpoint, words) {
        (ErrorKind::Other, _) => (ErrorKind::Other, words.to_owned()),
        known => known,
    }
}

/// What each text in a transport's error chain means. The first that fits wins.
const TRANSPORT: [(&str, ErrorKind, &str); 28] = [
    ("UnknownIssuer", ErrorKind::Tls, "the server's certificate is not signed by a trusted CA; check tls.ca"),
    ("certificate expired", ErrorKind::Tls, "the server's certificate has expired"),
    ("Expired", ErrorKind::Tls, "the server's certificate has expired"),
    ("not valid yet", ErrorKind::Tls, "the server's certificate is not valid yet; check the clocks"),
    ("NotValidForName", ErrorKind::Tls, "the server's certificate is for another name; set tls.server-name"),
    (
        "not valid for name",
        ErrorKind::Tls,
        "the server's certificate is for another name; set tls.server-name",
    ),
    ("CaUsedAsEndEntity", ErrorKind::Tls, "the server presents a CA certificate as its own"),
    (
        "CertificateRequired",
        ErrorKind::Tls,
        "the server wants a client certificate; set tls.cert and tls.key",
    ),
    ("UnknownCA", ErrorKind::Tls, "the server does not trust the CA of the client certificate"),
    ("CertificateExpired", ErrorKind::Tls, "the client certificate has expired"),
    (
        "BadCertificate",
        ErrorKind::Tls,
        "the server refuses the client certificate, or misses one; check tls.cert",
    ),
    ("CertificateUnknown", ErrorKind::Tls, "the server refuses the client certificate"),
    ("InvalidContentType", ErrorKind::Tls, "the server does not speak TLS on this port; is it http:// ?"),
    (
        "received corrupt message",
        ErrorKind::Tls,
        "the server does not speak TLS on this port; is it http:// ?",
    ),
    ("invalid peer certificate", ErrorKind::Tls, "the server's certificate is not acceptable"),
    ("received fatal alert", ErrorKind::Tls, "the server ended the TLS handshake"),
    (
        "handshake eof",
        ErrorKind::Tls,
        "the server closed the connection in the TLS handshake; is it http:// ?",
    ),
    ("Timeout expired", ErrorKind::Timeout, "no answer in time"),
    ("HandshakeTimedOut", ErrorKind::Timeout, "the TLS handshake did not end in time"),
    ("KeepAliveTimedOut", ErrorKind::Timeout, "the member stopped answering"),
    ("keep-alive timed out", ErrorKind::Timeout, "the member stopped answering"),
    ("deadline has elapsed", ErrorKind::Timeout, "no connection in time"),
    ("timed out", ErrorKind::Timeout, "no connection in time"),
    ("Connection refused", ErrorKind::Unreachable, "connection refused; is etcd running?"),
    ("lookup", ErrorKind::Unreachable, "the host name cannot be resolved"),
    ("unreachable", ErrorKind::Unreachable, "no route to the host"),
    ("frame with invalid", ErrorKind::Malformed, "the endpoint speaks no gRPC; it is no etcd client port"),
    ("http2 error", ErrorKind::Unreachable, "the connection broke off"),
];

/// Kind and sentence of a failure below gRPC, from the texts of its causes.
pub(crate) fn transport(endpoint: &str, causes: &str) -> (ErrorKind, String) {
    // When the certificate was looked at, to the second: as long as the cause is the same the message is.
    let causes = causes.split(": verification time").next().unwrap_or(causes);
    if let Some((_, kind, meaning)) = TRANSPORT.iter().find(|(text, _, _)| causes.contains(text)) {
        return (*kind, format!("{meaning} ({causes})"));
    }
    let broken =
        ["connection closed", "reset", "broken pipe", "closed connection", "error trying to connect", "eof"];
    let lower = causes.to_ascii_lowercase();
    if broken.iter().any(|text| lower.contains(text)) {
        let hint = if endpoint.starts_with("http://") {
            "the server closed the connection; does this port want https, and is it an etcd client port?"
        } else {
            "the server closed the connection"
        };
        return (ErrorKind::Unreachable, format!("{hint} ({causes})"));
    }
    (ErrorKind::Other, causes.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_kinds() {
        let table = [
            (tonic::Status::permission_denied("etcdserver: permission denied"), ErrorKind::Denied),
            (tonic::Status::unknown("auth: permission denied"), ErrorKind::Denied),
            (tonic::Status::invalid_argument("etcdserver: user name is empty"), ErrorKind::Auth),
            (tonic::Status::unauthenticated("etcdserver: invalid auth token"), ErrorKind::Auth),
            (tonic::Status::invalid_argument("etcdserver: revision of auth store is old"), ErrorKind::Auth),
            (tonic::Status::unavailable("etcdserver: no leader"), ErrorKind::Timeout),
            (tonic::Status::unimplemented("unknown service"), ErrorKind::Malformed),
            (tonic::Status::cancelled("Timeout expired"), ErrorKind::Timeout),
            (tonic::Status::internal("something else"), ErrorKind::Other),
        ];
        for (status, kind) in table {
            assert_eq!(EtcdError::of_status("http://a:1", "status", status.clone()).kind(), kind, "{status}");
        }
    }

    #[test]
    fn an_expired_certificate_is_told_in_the_same_words_every_second() {
        let causes = |now: u32| {
            format!("invalid peer certificate: certificate expired: verification time {now} (UNIX), but ...")
        };
        let said = [1, 2].map(|now| transport("https://a:1", &causes(now)).1);
        assert_eq!(said[0], said[1]);
        assert!(said[0].starts_with("the server's certificate has expired ("), "{}", said[0]);
    }

    #[test]
    fn a_plain_connection_that_is_closed_hints_at_https() {
        let (kind, text) = transport("http://a:1", "connection closed before message completed");
        assert_eq!(kind, ErrorKind::Unreachable);
        assert!(text.contains("https"), "{text}");
    }
}
