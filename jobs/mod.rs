//! What runs, and when: one file per job. This is the list, nothing else.

use crate::run::JobSpec;

mod advise;
mod backup;
mod bench;
mod collect;
mod compact;
mod deliver;
mod discover;
mod disk;
mod evaluate;
mod forecast;
mod inspect;
mod report;
mod verify;
mod watch;

/// All jobs, in alphabetical order.
pub const ALL: &[&JobSpec] = &[
    &advise::JOB,
    &backup::JOB,
    &bench::JOB,
    &collect::JOB,
    &compact::JOB,
    &deliver::JOB,
    &discover::JOB,
    &disk::JOB,
    &evaluate::JOB,
    &forecast::JOB,
    &inspect::JOB,
    &report::JOB,
    &verify::JOB,
    &watch::JOB,
];
