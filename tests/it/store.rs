//! The store against real backends, real DuckDB and real kills.

mod compaction;
mod conformance;
mod disk_full;
mod faults;
mod fixtures;
mod rows;
mod size;
