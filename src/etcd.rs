//! The one way to connect to etcd: one client per member, TLS, login, a deadline on every call, a rate
//! limit and a breaker.
//!
//! Owns: connection configuration, errors with endpoint and kind, and what etcd-client lacks.
//! Refuses: deciding what to ask and when (`probe`), and resolving secrets (`config`).

mod config;
mod error;
mod http;
mod limits;
mod member;
mod tls;

pub use config::{AuthConfig, ClusterConfig, TlsConfig};
pub use error::EtcdError;
pub use http::{Health, HttpClient};
pub use limits::{Breaker, TokenBucket};
pub use member::{Answer, Connection, ListedMember, MemberClient, MemberList, StatusAnswer};
pub use tls::{TlsMaterial, install_crypto_provider};
