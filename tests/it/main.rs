//! Integration tests: real servers, real tools, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, reads its environment, and prints what it measured"
)]

mod ack_link;
mod advise;
mod alert_test;
mod azure;
mod backup_database;
mod backup_destinations;
mod backup_inspect;
mod backup_keep;
mod backup_kills;
mod backup_lock;
mod backup_restore;
mod backup_save;
mod backup_state;
mod backup_workloads;
mod bad_input;
mod bench;
mod cadence;
mod capacity;
mod catalogue;
mod commands;
mod compare;
mod compatibility;
mod config;
mod correlate;
mod cut_proxy;
mod daemon;
mod daemon_faults;
mod daemon_s3;
mod dead_man;
mod deliver;
mod discover;
mod disk;
mod etcd_auth;
mod etcd_cluster;
mod etcd_faults;
mod etcd_members;
mod etcd_probe;
mod events;
mod faults;
mod first_contact;
mod headroom;
mod help;
mod host;
mod incidents;
mod inspect;
mod lambda;
mod netns;
mod panics;
mod partition;
mod pipeline;
mod precision;
mod preflight;
mod program;
mod progress;
mod prometheus;
mod promql;
mod proxy;
mod recorded;
mod reload;
mod report;
mod rules;
mod s3;
mod store;
mod templates;
mod tidy;
mod time_to_page;
mod tls;
mod two_watches;
mod uploads;
