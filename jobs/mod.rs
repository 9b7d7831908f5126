//! What runs, and when: one file per job. This is the list, nothing else.

use crate::run::JobSpec;

mod collect;
mod compact;
mod deliver;
mod discover;
mod evaluate;
mod forecast;
mod inspect;
mod report;
mod watch;

/// All jobs, in alphabetical order.
pub const ALL: &[&JobSpec] = &[
    &collect::JOB,
    &compact::JOB,
    &deliver::JOB,
    &discover::JOB,
    &evaluate::JOB,
    &forecast::JOB,
    &inspect::JOB,
    &report::JOB,
    &watch::JOB,
];
