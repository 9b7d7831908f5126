//! The one way to connect to etcd.
//!
//! Owns: endpoints, TLS and mTLS (PEM files are read again when they change), user and password, a deadline
//! on every call, the pace per member ([`Pace`]), the breaker, and errors that say what to do.
//! Refuses: knowing what the answers mean for health (that is `probe`), and reading the environment. What changes
//! a cluster goes through a [`Pipe`] only, which is there for the load of benchmarks.
//!
//! Every [`Member`] has a connection of its own: a balancing client would ask whichever member it likes.

mod config;
mod error;
mod login;
mod member;
mod membership;
mod overrides;
mod pace;
mod served;
mod tls;
pub mod wire;

pub use config::{AuthConfig, ClusterConfig, Login, TimeoutConfig, TlsConfig};
pub use error::EtcdError;
pub(crate) use error::transport as explain_transport;
pub use member::{Answer, DatabaseStream, Inflow, Member, Method, Outbox, Pipe, frame, range_end};
pub use membership::{Found as FoundMember, members};
pub use overrides::{BackupOverrides, ScrapeOverrides, WatchOverrides};
pub use pace::Pace;
pub use served::served_certificates;
pub use tls::file_problems;

/// Makes `ring` the process's TLS provider. Call it before the first connection; more calls do nothing.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
