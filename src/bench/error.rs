//! Why there is no result.

use tonic::Status;

use crate::etcd::{EtcdError, Member};

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An option makes no sense.
    #[error("--{name}: {problem}")]
    Option { name: &'static str, problem: String },
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// A call before or after the load.
    #[error("{what} at {endpoint}: {message}")]
    Refused { what: &'static str, endpoint: String, message: String },
    /// It would be wrong to begin.
    #[error("{0}")]
    Unfit(String),
    #[error("a sending thread cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("this is a bug: {0}")]
    Bug(&'static str),
}

impl BenchError {
    pub(super) fn option(name: &'static str, problem: impl Into<String>) -> Self {
        Self::Option { name, problem: problem.into() }
    }

    pub(super) fn refused(what: &'static str, member: &Member, status: &Status) -> Self {
        let message = match status.message() {
            "" => format!("{:?}", status.code()),
            message => message.to_owned(),
        };
        Self::Refused { what, endpoint: member.url().to_owned(), message }
    }
}
