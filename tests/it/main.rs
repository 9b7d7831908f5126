//! The integration tests: one binary, real servers, free ports.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "clippy's leave for tests does not reach the functions that tests share"
)]

mod etcd_auth;
mod etcd_cluster;
mod etcd_faults;
mod etcd_probe;
mod proxy;
mod tls;
