//! The store: object storage as the only database, behind one handle.
//!
//! Owns: every key ([`key`]), write-once objects, create-only [`sequence`]s, the run [`ledger`], the
//! Parquet tables, their compaction, retention and verification.
//! Refuses: editing an object (the report site alone is overwritten, whole), leases, coordination by wall
//! clock, and knowing what the rows mean.
//!
//! One rule carries the rest: an object is created once ([`Store::create`]), and a race for a key has one
//! winner on every supported backend. `docs/storage-format.md` is the contract for other readers.

pub mod advice;
mod backend;
pub mod backups;
pub mod bench_runs;
mod blob;
mod bucket;
mod columns;
pub mod compact;
mod config;
pub mod disk_runs;
mod error;
pub mod events;
mod file;
pub mod heartbeat;
pub mod job_runs;
pub mod key;
pub mod ledger;
mod merge;
mod object;
mod reader;
pub mod readings;
pub mod samples;
mod scan;
pub mod sequence;
pub mod table;
mod tally;
mod verify;
pub mod views;
mod visible;
mod writer;

pub use blob::{Unfinished, Upload};
pub use bucket::{LockConfig, LockMode};
pub use config::{RetentionConfig, S3Config, StoreConfig};
pub use error::StoreError;
pub use file::FORMAT;
pub use key::Key;
pub use object::{Create, Entry, Store};
pub use tally::ReadTotals;
pub use verify::{Listed, Problem, Verified, listing, verify, verify_with};
pub use writer::Writer;
