//! run
pub mod clock;
pub mod exit_code;
mod schedule;
pub mod telemetry;
pub use schedule::{CronSchedule, ScheduleError};
