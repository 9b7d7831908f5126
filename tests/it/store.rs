//! The store against real backends, real DuckDB and real kills.

mod compaction;
mod conformance;
mod disk_full;
mod faults;
mod fixtures;
mod retention;
mod rows;
mod size;
