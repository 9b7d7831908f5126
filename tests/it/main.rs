//! The integration tests: one binary, real servers, free ports.

mod etcd_auth;
mod etcd_cluster;
mod etcd_faults;
mod etcd_probe;
mod proxy;
mod tls;
