//! etcd-monitor: scheduled jobs that watch etcd clusters, keep the history as Parquet in object storage,
//! evaluate alert rules, notify people and publish a static report site.
//!
//! `jobs/` says what runs and when; the modules here say how. They meet in the store only.
//! `docs/architecture.md` has the map, the direction of dependencies and the walkthroughs.

pub mod advise;
pub mod alert;
pub mod backup;
pub mod bench;
pub mod capacity;
pub mod cli;
pub mod compare;
pub mod config;
pub mod correlate;
pub mod deliver;
pub mod discover;
pub mod disk;
pub mod etcd;
pub mod inspect;
pub mod model;
pub mod preflight;
pub mod probe;
pub mod promql;
pub mod report;
pub mod rules;
pub mod run;
pub mod store;
pub mod survey;
pub mod watch;

#[path = "../jobs/mod.rs"]
pub mod jobs;
