//! The nouns of the product and the one interface to time series.
//!
//! Owns: names, labels, samples, readings, events, findings, incidents, job runs, units, and the
//! [`SeriesSource`] trait that the PromQL evaluator reads from.
//! Refuses: I/O, async, the clock, the environment. Every time is an argument, in milliseconds since
//! the Unix epoch (UTC).

mod advice;
mod backup_state;
mod bench_run;
pub mod catalogue;
mod cause;
mod check;
mod csv;
mod disk_run;
mod event;
mod finding;
mod incident;
mod job_run;
mod labels;
mod matcher;
pub mod membership;
mod name;
pub mod pattern;
mod preflight;
mod reading;
mod samples;
mod schedule;
mod secret;
mod series;
mod structure;
pub mod support;
pub mod unit;

pub use advice::{
    ADVICE_FORMAT, Advice, AdviceArea, AdviceRow, AdviceState, Confidence, Effort, Evidence, HealthScore,
    Help, HelpVerdict, LostPoints, PassedRule, Recommendation, ScoreTerm, UnknownRule,
};
pub use backup_state::{BackupCopy, BackupRow, BackupStanding, BackupState};
pub use bench_run::{
    BENCH_FORMAT, BenchCleanUp, BenchClient, BenchFailure, BenchHash, BenchKeys, BenchLatency, BenchMember,
    BenchOutcome, BenchPart, BenchRow, BenchRun, BenchSecond, BenchServer, BenchStanding,
};
pub use cause::chain;
pub use check::{Check, Level};
pub use csv::csv_cell;
pub use disk_run::{
    DISK_FORMAT, DiskDevice, DiskFlow, DiskKind, DiskLatency, DiskPattern, DiskRow, DiskRun, DiskStanding,
    DiskTest, DiskVerdict,
};
pub use event::{Event, EventKind, Severity};
pub use finding::{Finding, FindingState};
pub use incident::{Incident, IncidentState};
pub use job_run::{JobRun, Outcome};
pub use labels::{Label, Labels, LabelsError, METRIC_NAME};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use name::{ClusterId, ClusterName, Instance, MemberId, NameError};
pub use preflight::{PeerTrip, Preflight};
pub use reading::{
    Alarm, ClockOffset, EndpointHealth, ErrorKind, MemberReading, MemberStatus, NodeScrape, ReadProbe,
    Reading, ReadingError, ReadingRow, Role, Scrape, StatusSource,
};
pub use samples::{Samples, SeriesList, TargetSeries};
pub use schedule::{CronSchedule, ScheduleError};
pub use secret::SecretRef;
pub use series::{
    Joined, STALE_MARKER_BITS, Selection, Series, SeriesSet, SeriesSource, SourceError, is_stale_marker,
    stale_marker,
};
pub use structure::Structure;
